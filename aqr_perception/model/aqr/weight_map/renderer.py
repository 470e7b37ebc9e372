"""From the weights of queries to maps over the tokens of each sensor.

A map is neutral (1) where no query is near, and the mean of the queries' weights elsewhere:

    W(cell) = 1 + Σ_q (w_q - 1)·k(cell - place_q) / (Σ_q k(cell - place_q) + ε)

with a kernel k of peak 1. Each query is splatted over its four nearest cells (so that gradients
reach its position), and the kernel is then applied to the whole map: a Gaussian is separable,
hence two small matrix products; a disc takes a Fourier transform. The number of kernels launched
does not depend on the number of queries, frames or views.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from aqr_perception.model.aqr.config import RendererConfig

PRIOR = 0.1
"""ε: how many queries' worth the neutral weight counts in every cell."""

NEGLIGIBLE = 40.0
"""Exponents of a Gaussian beyond count as infinite: numbers that small make products slow."""

_FAR_BELOW = -1e9
"""Stands where no query is, below every weight."""


class WeightRenderer(nn.Module):
    """Renders any number of per-query values over the maps of one modality.

    Attributes:
        sigma: Radius of the Gaussian [cells] instead of the trained one; None for the latter.
    """

    def __init__(self, config: RendererConfig) -> None:
        super().__init__()
        self.config = config
        self.sigma: float | None = None
        log_sigma = torch.tensor(math.log(config.gaussian_sigma))
        self.log_sigma = nn.Parameter(log_sigma, requires_grad=config.learnable_sigma)

    def forward(self, values: Tensor, neutral: Tensor, places: Tensor, visible: Tensor,
                height: int, width: int) -> Tensor:
        """Render.

        Args:
            values: (B, Q, F) numbers of each query, e.g. its weight and its residual weight.
            neutral: (F,) what each is where no query is near.
            places: (B, M, Q, 2) row and column in each of M maps (1 for the bird's-eye view, V for
                the cameras) in cells, finite; a cell's centre has whole coordinates.
            visible: (B, M, Q) bool, False where the query has no place in that map.
            height: Rows of a map.
            width: Columns.

        Returns:
            (B, M, F, height, width).
        """
        batch, maps, queries = visible.shape
        excess = (values - neutral).transpose(1, 2)[:, None].expand(batch, maps, -1, queries)
        if self.config.method == "direct":
            return neutral[:, None, None] + _largest(excess, places, visible, height, width)
        presence = torch.ones_like(excess[:, :, :1])
        splatted = splat(torch.cat([excess, presence], dim=2), places, visible, height, width)
        rendered = self._spread(splatted)
        return (neutral[:, None, None]
                + rendered[:, :, :-1] / (rendered[:, :, -1:] + PRIOR))

    def _spread(self, impulses: Tensor) -> Tensor:
        """Apply the kernel to maps (..., H, W)."""
        if self.config.method == "gaussian":
            sigma = (self.log_sigma.exp() if self.sigma is None
                     else torch.full_like(self.log_sigma, self.sigma))
            height, width = impulses.shape[-2:]
            rows = gaussian_band(height, sigma)
            columns = rows if width == height else gaussian_band(width, sigma)
            return rows @ impulses @ columns
        if self.config.method == "distance_weighted":
            return _convolve(impulses, disc_kernel(impulses, self.config.distance_decay))
        return impulses


def splat(values: Tensor, places: Tensor, visible: Tensor, height: int, width: int) -> Tensor:
    """Add values to the four cells around each place, by their bilinear weights.

    Args:
        values: (B, M, F, Q).
        places: (B, M, Q, 2) row, column [cells]; finite, also where not visible.
        visible: (B, M, Q) bool.
        height: Rows of a map.
        width: Columns.

    Returns:
        (B, M, F, height, width); what falls outside a map is lost.
    """
    values = values * visible[:, :, None]
    rows, columns = (_nearest_two(places[..., axis], size)
                     for axis, size in ((0, height), (1, width)))
    flat = values.new_zeros(*values.shape[:3], height * width)
    for row, row_share in rows:
        for column, column_share in columns:
            index = (row * width + column)[:, :, None].expand_as(values)
            flat = flat.scatter_add(3, index, values * (row_share * column_share)[:, :, None])
    return flat.unflatten(3, (height, width))


def _nearest_two(place: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    """The two cells that a place along one axis lies between, and its share in each.

    A cell outside has share 0 and the index of one inside.
    """
    place = place.contiguous()
    corner = place.detach().floor()
    fraction = place - corner
    nearest = []
    for side, share in ((0, 1 - fraction), (1, fraction)):
        cell = corner.long() + side
        kept = cell.clamp(0, size - 1)
        nearest.append((kept, share * (kept == cell)))
    return nearest


def _largest(values: Tensor, places: Tensor, visible: Tensor, height: int, width: int) -> Tensor:
    """The largest of the values (B, M, F, Q) in the nearest cell; 0 where there is none.

    Piecewise constant in the positions, so no gradient reaches them.
    """
    cell = places.detach().where(visible[..., None], places.new_zeros(())).round().long()
    inside = (visible & (cell >= 0).all(-1)
              & (cell[..., 0] < height) & (cell[..., 1] < width))
    index = (cell[..., 0].clamp(0, height - 1) * width + cell[..., 1].clamp(0, width - 1))
    values = values.masked_fill(~inside[:, :, None], _FAR_BELOW)
    flat = values.new_full((*values.shape[:3], height * width), _FAR_BELOW)
    index = index[:, :, None].expand_as(values)
    flat = flat.scatter_reduce(3, index, values, "amax")
    flat = flat.where(flat > _FAR_BELOW / 2, flat.new_zeros(()))
    return flat.unflatten(3, (height, width))


def gaussian_band(length: int, sigma: Tensor) -> Tensor:
    """(length, length) matrix that convolves a row of cells with a Gaussian of peak 1."""
    distance = torch.arange(length, device=sigma.device, dtype=sigma.dtype)
    exponent = distance ** 2 / (2 * sigma ** 2)
    far = exponent > NEGLIGIBLE
    return toeplitz(torch.exp(-exponent.masked_fill(far, 0.0)).masked_fill(far, 0.0))


def toeplitz(profile: Tensor) -> Tensor:
    """(n,) values by distance → (n, n) symmetric matrix of them by distance from the diagonal."""
    both_sides = torch.cat([profile.flip(0), profile[1:]])
    return both_sides.unfold(0, len(profile), 1).flip(0)


def disc_kernel(like: Tensor, decay: float) -> Tensor:
    """(2n + 1, 2n + 1) kernel exp(-d / (R·decay)) within R = 0.2·min(H, W) cells, else 0.

    Args:
        like: (..., H, W) maps that it is for.
        decay: See above.
    """
    radius = 0.2 * min(like.shape[-2:])
    reach = int(radius)
    cell = torch.arange(-reach, reach + 1, device=like.device, dtype=like.dtype)
    distance = torch.hypot(cell[:, None], cell[None, :])
    return torch.exp(-distance / (radius * decay)) * (distance <= radius)


def _convolve(maps: Tensor, kernel: Tensor) -> Tensor:
    """Convolve maps (..., H, W) with an odd kernel, zeros around, by Fourier transform."""
    height, width = maps.shape[-2:]
    reach = kernel.shape[-1] // 2
    size = (height + 2 * reach, width + 2 * reach)
    spectrum = torch.fft.rfft2(maps, s=size) * torch.fft.rfft2(kernel, s=size)
    full = torch.fft.irfft2(spectrum, s=size)
    return full[..., reach:reach + height, reach:reach + width]
