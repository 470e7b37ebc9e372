"""Where autocast is kept out.

Voxels and pillars, the first block of the LiDAR's trunk, the heat and the decoder always run in
single precision; the rest as autocast says where that is float16, which has eleven bits. bfloat16
has eight: fifty convolutions in a row lose two of a hundred boxes to its rounding, each a little,
and no single layer is to blame. So under bfloat16 only the early stages of image trunks run in it.
`benchmark --parts half` tells what stays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")


def single_precision(like: Tensor) -> torch.autocast:
    """Context without autocast; inputs that come from it must be brought to float inside."""
    return torch.autocast(like.device.type, enabled=False)


def not_in_bfloat16(call: Callable[..., Result], *inputs: Tensor) -> Result:
    """Call something, in single precision where autocast would use bfloat16."""
    kind = inputs[0].device.type
    if not (torch.is_autocast_enabled(kind)
            and torch.get_autocast_dtype(kind) == torch.bfloat16):
        return call(*inputs)
    with torch.autocast(kind, enabled=False):
        return call(*(x.float() for x in inputs))
