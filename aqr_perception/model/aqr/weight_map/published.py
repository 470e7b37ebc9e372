"""The maps as the published code renders them, so that its result can be studied.

Differences from the trainable renderer: Gaussian kernels have sum 1, contributions add up instead
of being averaged, weights below 0.01 do not count, weights of the bird's-eye view are cut to
[0, 1], and no gradient passes. The published loop takes about a thousand times as many steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from aqr_perception.model.aqr.config import RendererConfig
from aqr_perception.model.aqr.weight_map.modulator import combine
from aqr_perception.model.aqr.weight_map.renderer import toeplitz

THRESHOLD = 0.01
"""Weights and map values below are nothing."""

_CONSTANT = 1e-8
"""A map that spans less than this has no contrast to stretch."""


@torch.no_grad()
def render_bev(config: RendererConfig, weights: Tensor, cells: Tensor, height: int, width: int,
               clamp: bool = True, kernel: Tensor | None = None) -> Tensor:
    """Render the bird's-eye view.

    Args:
        config: Method, sigma, decay and largest value.
        weights: (B, Q) any; cut to [0, 1].
        cells: (B, Q, 2) row and column; whole numbers where the published generator made them.
        height: Rows.
        width: Columns.
        clamp: False leaves values above `config.max_weight_clamp`.
        kernel: (n, n) the Gaussian that a published file carries; None computes it from sigma.

    Returns:
        (B, height, width).
    """
    weights = weights.clamp(0, 1)
    if config.method == "distance_weighted":
        rendered = _disc_sum(weights, cells, height, width, config.distance_decay)
    elif config.method == "bilinear":
        rendered = _bilinear_sum(weights, cells, height, width)
    else:
        rendered = _whole_cells(config, weights, cells.long(), (1, height, width), kernel)[:, 0]
    return _finish(rendered, config, clamp)


@torch.no_grad()
def render_cameras(config: RendererConfig, weights: Tensor, places: Tensor, views: int,
                   height: int, width: int, clamp: bool = True, kernel: Tensor | None = None
                   ) -> Tensor:
    """Render one map a camera; ``bilinear`` and ``distance_weighted`` give zeros, as published.

    Args:
        config: Method, sigma and largest value.
        weights: (B, Q) any; not cut.
        places: (B, Q, 3) view, row, column; (0, 0, 0) for queries that no camera sees.
        views: V.
        height: Rows.
        width: Columns.
        clamp: False leaves values above `config.max_weight_clamp`.
        kernel: As in `render_bev`.

    Returns:
        (B, views, height, width).
    """
    if config.method in ("bilinear", "distance_weighted"):
        return weights.new_zeros(len(weights), views, height, width)
    rendered = _whole_cells(config, weights, places.long(), (views, height, width), kernel)
    return _finish(rendered, config, clamp)


def _finish(rendered: Tensor, config: RendererConfig, clamp: bool) -> Tensor:
    rendered = rendered.where(rendered >= THRESHOLD, rendered.new_zeros(()))
    return rendered.clamp(0, config.max_weight_clamp) if clamp else rendered


def _whole_cells(config: RendererConfig, weights: Tensor, places: Tensor,
                 shape: tuple[int, int, int], kernel: Tensor | None) -> Tensor:
    """``gaussian`` and ``direct``: weights (B, Q) at (B, Q, 2 or 3) whole cells → (B, *shape).

    Places are row and column, the view before them where there are several maps.
    """
    height, width = shape[1:]
    row, column = places[..., -2], places[..., -1]
    inside = ((row >= 0) & (row < height) & (column >= 0) & (column < width)
              & (weights >= THRESHOLD))
    index = row * width + column
    if places.shape[-1] == 3:
        index = index + places[..., 0] * (height * width)
    counted, index = weights * inside, index * inside
    flat = weights.new_zeros(len(weights), math.prod(shape))
    if config.method == "direct":
        return flat.scatter_reduce(1, index, counted, "amax").unflatten(1, shape)
    impulses = flat.scatter_add(1, index, counted).unflatten(1, shape)
    if kernel is not None:
        spread = F.conv2d(impulses.flatten(0, 1)[:, None], kernel[None, None].to(weights),
                          padding=len(kernel) // 2)
        return spread[:, 0].unflatten(0, impulses.shape[:2])
    rows, columns = (summed_gaussian_band(length, config.gaussian_sigma, weights.dtype,
                                          weights.device) for length in (height, width))
    return rows @ impulses @ columns


@lru_cache(maxsize=32)
def summed_gaussian_band(length: int, sigma: float, dtype: torch.dtype, device: torch.device
                         ) -> Tensor:
    """(length, length) matrix that convolves with the published kernel along one axis.

    The kernel has int(6σ + 1) taps, one more where that is even, and sum 1.
    """
    reach = int(6 * sigma + 1) // 2
    taps = torch.arange(reach + 1, device=device, dtype=dtype)
    kernel = torch.exp(-taps ** 2 / (2 * sigma ** 2))
    kernel = kernel / (2 * kernel.sum() - 1)
    return toeplitz(F.pad(kernel, (0, max(length - reach - 1, 0)))[:length])


def _bilinear_sum(weights: Tensor, cells: Tensor, height: int, width: int) -> Tensor:
    """Four neighbours by their bilinear share; a query in the last row or column is dropped."""
    corner = cells.floor()
    fraction = cells - corner
    corner = corner.long()
    kept = ((corner >= 0).all(-1) & (corner[..., 0] + 1 < height) & (corner[..., 1] + 1 < width)
            & (weights >= THRESHOLD))
    index = (corner[..., 0] * width + corner[..., 1]).where(kept, torch.zeros_like(corner[..., 0]))
    flat = weights.new_zeros(len(weights), height * width)
    for down in (0, 1):
        for right in (0, 1):
            share = ((fraction[..., 0] if down else 1 - fraction[..., 0])
                     * (fraction[..., 1] if right else 1 - fraction[..., 1]))
            offset = (down * width + right) * kept
            flat = flat.scatter_add(1, index + offset, weights * share * kept)
    return flat.unflatten(1, (height, width))


def _disc_sum(weights: Tensor, cells: Tensor, height: int, width: int, decay: float) -> Tensor:
    """w·exp(-d / (R·decay)) within R = 0.2·min(H, W) cells; d to the unrounded position.

    Takes B·Q·H·W numbers of memory (59 MB a frame at 900 queries and 128 × 128 cells).
    """
    radius = 0.2 * min(height, width)
    rows = torch.arange(height, device=cells.device, dtype=cells.dtype)
    columns = torch.arange(width, device=cells.device, dtype=cells.dtype)
    distance = torch.hypot(rows[:, None] - cells[..., 0, None, None],
                           columns - cells[..., 1, None, None])
    kernel = torch.exp(-distance / (radius * decay)) * (distance <= radius)
    counted = weights.where(weights >= THRESHOLD, weights.new_zeros(()))
    return torch.einsum("bq,bqhw->bhw", counted, kernel)


@dataclass(frozen=True)
class PublishedModulator:
    """The published feature modulator with all its options.

    Attributes:
        modulation: ``element_wise``, ``channel_wise`` or ``adaptive``.
        normalize: Stretch each map to [0, 1] first; a constant one becomes 0.5.
        residual: Add ``residual_weight`` times the feature.
        residual_weight: See there.
        scale: Factor on the map before the activation (learnable there).
        bias: Added to it.
        activation: ``none``, ``sigmoid``, ``tanh`` or ``relu``.
    """

    modulation: str = "element_wise"
    normalize: bool = True
    residual: bool = True
    residual_weight: float = 0.1
    scale: float = 1.0
    bias: float = 0.0
    activation: str = "none"

    def gain(self, weights: Tensor) -> Tensor:
        """Factor on the features: (B, M, H, W) of maps of that shape."""
        if self.normalize:
            low, high = weights.amin((-2, -1), keepdim=True), weights.amax((-2, -1), keepdim=True)
            spread = high - low
            flat = spread < _CONSTANT
            weights = ((weights - low) / spread.where(~flat, spread.new_ones(()))).where(
                ~flat, weights.new_full((), 0.5))
        weights = weights * self.scale + self.bias
        if self.activation != "none":
            weights = getattr(torch, self.activation)(weights)
        weights = combine(weights, self.modulation)
        return weights + self.residual_weight if self.residual else weights
