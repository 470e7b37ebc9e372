"""Evidence on one scale: a few hundredths of a cosine may separate a lie from the truth."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

SEEN_AT_MOST = 20_000.0
"""Entries that what was gathered counts as: after that it follows the last ones slowly."""

LEAST_SPREAD = 1e-3
LARGEST = 3.0
"""In units of the spread; values beyond count as this."""


class Standard(nn.Module):
    """Numbers less their mean, in units of their spread, each kind of entry by itself.

    Both are gathered in training, over all that is judged, and are used as gathered in training
    too: what is thought of a frame does not depend on the others of its batch.

    Args:
        kinds: How many kinds of entries there are.
        numbers: In each entry.
    """

    mean: Tensor
    square: Tensor
    seen: Tensor

    def __init__(self, kinds: int, numbers: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(kinds, numbers))
        self.register_buffer("square", torch.ones(kinds, numbers))
        self.register_buffer("seen", torch.zeros(kinds))

    def forward(self, values: Tensor, kind: Tensor, there: Tensor) -> Tensor:
        """Standardise.

        Args:
            values: (B, ..., n).
            kind: (...) int64, 0 to kinds - 1.
            there: (B, ...) bool; the others count nothing and become 0.

        Returns:
            (B, ..., n).
        """
        if self.training and torch.is_grad_enabled():
            self._gather(values.detach(), kind.expand(there.shape), there)
        mean = self.mean.to(values.dtype)
        spread = (self.square.to(values.dtype) - mean.square()).clamp(min=LEAST_SPREAD ** 2).sqrt()
        scaled = (values - mean[kind]) / spread[kind]
        return scaled.clamp(-LARGEST, LARGEST) * there[..., None]

    @torch.no_grad()
    def _gather(self, values: Tensor, kind: Tensor, there: Tensor) -> None:
        of = F.one_hot(kind.flatten(), len(self.seen)).to(self.mean.dtype) * there.reshape(-1, 1)
        flat = values.flatten(0, -2).to(self.mean.dtype)
        sums = torch.cat([of.sum(0)[:, None], of.T @ flat, of.T @ flat.square()], dim=1)
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(sums)
        count, total, squares = sums.split([1, flat.shape[1], flat.shape[1]], dim=1)
        share = count / (self.seen[:, None] + count).clamp(min=1.0)
        self.mean.lerp_(total / count.clamp(min=1.0), share)
        self.square.lerp_(squares / count.clamp(min=1.0), share)
        self.seen.add_(count[:, 0]).clamp_(max=SEEN_AT_MOST)
