"""Tensors of numbers that are known beforehand: made once for each device, and kept.

A tensor of Python numbers is made on the host and then copied. On a GPU each such copy waits for
all that was asked for before; a frame of the small network held ninety of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

KEPT = 1024
"""Of each kind; a network needs some dozens."""

Make = TypeVar("Make", bound=Callable[..., Tensor])


def constant(values: Sequence[float], like: Tensor) -> Tensor:
    """(N,) numbers in the dtype and on the device of another tensor; never write to it."""
    return _made(tuple(values), like.dtype, like.device)


def numbers(values: Sequence[int], device: torch.device) -> Tensor:
    """(N,) int64 on a device, to pick rows by; never write to it."""
    return _made(tuple(values), torch.int64, device)


def picked(x: Tensor, dim: int, chosen: Sequence[int]) -> Tensor:
    """Some of the entries along a dimension, by number; ``x`` itself where all are, in order."""
    if tuple(chosen) == tuple(range(x.shape[dim])):
        return x
    return x.index_select(dim, numbers(chosen, x.device))


def kept(make: Make) -> Make:
    """Make a function of Python numbers, and at last of a tensor to be like, compute only once.

    Its result depends on the tensor's dtype and device alone, and is never to be written to.
    """
    @lru_cache(maxsize=KEPT)
    def once(arguments: tuple[Any, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        with torch.inference_mode(False), torch.no_grad():  # to be used in training, too
            return make(*arguments, torch.empty((), dtype=dtype, device=device))

    @wraps(make)
    def call(*arguments: Any) -> Tensor:
        *first, like = arguments
        return once(tuple(first), like.dtype, like.device)

    return cast(Make, call)


@lru_cache(maxsize=KEPT)
def _made(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)
