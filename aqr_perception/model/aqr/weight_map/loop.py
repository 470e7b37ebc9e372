"""The yardstick of the benchmark: Gaussian maps drawn query by query, as the published code does.

Nothing runs this but the benchmark and a test. It waits for the device three times a query, which
is where the published training time went.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aqr_perception.model.aqr.config import RendererConfig
from aqr_perception.model.aqr.weight_map.published import THRESHOLD


@torch.no_grad()
def render_by_loop(config: RendererConfig, weights: Tensor, places: Tensor, maps: int, height: int,
                   width: int) -> Tensor:
    """Draw the maps that `published.render_bev` and `published.render_cameras` compute at once.

    Args:
        config: Sigma and largest value; the method is ``gaussian``.
        weights: (B, Q).
        places: (B, Q, 3) map, row, column of each query; the map is 0 for the bird's-eye view.
        maps: Number of maps.
        height: Rows of a map.
        width: Columns.

    Returns:
        (B, maps, height, width).
    """
    kernel = _kernel(config.gaussian_sigma, weights)
    reach = len(kernel) // 2
    drawn = weights.new_zeros(len(weights), maps, height, width)
    for b in range(len(weights)):
        for q in range(weights.shape[1]):
            weight = weights[b, q].item()
            view, row, column = (int(place.item()) for place in places[b, q])
            if weight < THRESHOLD or not (0 <= row < height and 0 <= column < width):
                continue
            top, left = max(row - reach, 0), max(column - reach, 0)
            bottom, right = min(row + reach + 1, height), min(column + reach + 1, width)
            part = kernel[top - row + reach:bottom - row + reach,
                          left - column + reach:right - column + reach]
            drawn[b, view, top:bottom, left:right] += weight * part
    drawn[drawn < THRESHOLD] = 0
    return drawn.clamp(0, config.max_weight_clamp)


def _kernel(sigma: float, like: Tensor) -> Tensor:
    """The published kernel: int(6σ + 1) taps a side, one more where that is even, and sum 1."""
    reach = int(6 * sigma + 1) // 2
    offset = torch.arange(-reach, reach + 1, device=like.device, dtype=like.dtype)
    kernel = torch.exp(-(offset[:, None] ** 2 + offset[None, :] ** 2) / (2 * sigma ** 2))
    return kernel / kernel.sum()
