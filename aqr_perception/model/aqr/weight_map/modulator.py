"""From maps of weights to one factor on every token's feature."""

from __future__ import annotations

from torch import Tensor

ADAPTIVE_SHARE = 0.7
"""Share of the cell's own weight in ``adaptive``; the rest is the map's mean."""


def combine(weights: Tensor, modulation: str) -> Tensor:
    """What of a map acts on a cell.

    Args:
        weights: (B, M, H, W).
        modulation: ``element_wise``, ``channel_wise`` or ``adaptive``.

    Returns:
        (B, M, H, W).
    """
    if modulation == "element_wise":
        return weights
    mean = weights.mean(dim=(-2, -1), keepdim=True)
    if modulation == "channel_wise":
        return mean.expand_as(weights)
    return ADAPTIVE_SHARE * weights + (1 - ADAPTIVE_SHARE) * mean


def gain(weights: Tensor, residual: Tensor | float) -> Tensor:
    """The report's r·F + (1 - r)·F·W as a factor on F: 1 where the weight is 1."""
    return 1 + (1 - residual) * (weights - 1)
