"""What half precision costs: which of the best boxes are still there under autocast."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.overrides import TorchFunctionMode

from aqr_perception.model.detector import Detector
from aqr_perception.types import CLASS_NAMES, Batch

DTYPES = (torch.bfloat16, torch.float16)
TOP = 300
SAME_PLACE = 0.1
"""Largest distance [m] between the centres of a box and itself in half precision. Detection scores
begin at 0.5 m; neighbouring queries are metres apart."""

_CONVOLUTIONS = (torch.conv2d, torch.conv_transpose2d)


@dataclass(frozen=True)
class HalfShares:
    """What stays of the best boxes.

    Attributes:
        kept: Share of the boxes that have a partner of their own among the best in half precision,
            of the same class and at the same place.
        same_query: Share of the (query, class) pairs that are among the best again. Where queries
            are placed, their numbers are ranks of peaks, and say nothing of boxes.
    """

    kept: float
    same_query: float


def half_precision_shares(detector: Detector, batch: Batch, dtype: torch.dtype, count: int = TOP
                          ) -> HalfShares:
    """Compare the best boxes of a frame in single precision with those under autocast.

    Args:
        detector: In evaluation mode.
        batch: One frame.
        dtype: ``float16`` or ``bfloat16``. On a CPU, which has no fast float16 convolution, these
            run on numbers rounded to float16, sum in single precision and round the result: what a
            GPU does.
        count: How many (query, class) pairs are the best.
    """
    single = _best(detector, batch, None, count)
    half = _best(detector, batch, dtype, count)
    return HalfShares(kept=_paired(single, half) / count,
                      same_query=len(set(single.pair) & set(half.pair)) / count)


@dataclass(frozen=True)
class _Best:
    """The best (query, class) pairs, their labels (N,) and centres (N, 3) [m]."""

    pair: list[int]
    label: Tensor
    center: Tensor


def _best(detector: Detector, batch: Batch, dtype: torch.dtype | None, count: int) -> _Best:
    kind = batch.images.device.type
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        if dtype is not None:
            stack.enter_context(torch.autocast(kind, dtype))
            if kind == "cpu" and dtype == torch.float16:
                stack.enter_context(_RoundedConvolutions())
        output = detector(batch)
    pair = output.logits[-1, 0].float().flatten().topk(count).indices
    classes = len(CLASS_NAMES)
    boxes = output.boxes[-1, 0].float()[torch.div(pair, classes, rounding_mode="floor")]
    return _Best(pair.tolist(), (pair % classes).cpu(), boxes[:, [0, 1, 4]].cpu())


def _paired(single: _Best, half: _Best) -> int:
    """How many boxes of one find partners in the other, one each."""
    near = torch.cdist(single.center, half.center) <= SAME_PLACE
    near &= single.label[:, None] == half.label
    rows, columns = linear_sum_assignment(near.numpy(), maximize=True)
    return int(near[rows, columns].sum())


class _RoundedConvolutions(TorchFunctionMode):
    """Convolutions under autocast in float16 as a GPU computes them."""

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (),
                           kwargs: Any = None) -> Any:
        if func not in _CONVOLUTIONS or not torch.is_autocast_enabled("cpu"):
            return func(*args, **(kwargs or {}))
        with torch.autocast("cpu", enabled=False):
            rounded = [x.half().float() if isinstance(x, Tensor) else x for x in args]
            return func(*rounded, **(kwargs or {})).half()
