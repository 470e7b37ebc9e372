"""Where autocast is kept out.

Voxels and pillars, the first block of the LiDAR's trunk, the heat and the decoder always run in
single precision; the rest as autocast says. `benchmark --parts half` tells which boxes stay.
"""

from __future__ import annotations

import torch
from torch import Tensor


def has_half(device: torch.device) -> bool:
    """Whether half precision saves time there: on GPUs, and on CPUs with AVX-512.

    Others convert number by number: a step of training takes four times as long as in single
    precision.
    """
    return device.type != "cpu" or torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def single_precision(like: Tensor) -> torch.autocast:
    """Context without autocast; inputs that come from it must be brought to float inside."""
    return torch.autocast(like.device.type, enabled=False)
