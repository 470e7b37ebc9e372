"""A piece of training in two processes of torch's own making."""

from __future__ import annotations

import faulthandler
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from aqr_perception.training.distributed import leave


def in_two_processes(part: Callable[..., None], folder: Path, *arguments: Any) -> None:
    """Call ``part(*arguments)`` in two gloo processes of one thread each.

    Args:
        part: Of a module, so that another process finds it.
        folder: Where the two find each other: by a file, since a port that is free now may be
            somebody's a moment later, and the process that serves it may be the first to end.
        arguments: Of the part.
    """
    mp.spawn(_process, (folder / "meeting_point", part, arguments), nprocs=2)


def _process(rank: int, meeting: Path, part: Callable[..., None], arguments: tuple[Any, ...]
             ) -> None:
    faulthandler.enable()
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    part(*arguments)
    leave()
