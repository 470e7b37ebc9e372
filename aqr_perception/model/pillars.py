"""From points to pillars: what all points of a cell of the ground say, in one row of features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aqr_perception.model.config import LidarConfig
from aqr_perception.model.constants import constant
from aqr_perception.model.precision import single_precision
from aqr_perception.model.voxelize import Grid, pillar_index

NORM_EPS = 1e-3
"""Of the batch norms of the LiDAR branch, as in SECOND and PointPillars."""
CHUNK = 16_384
"""Points whose 32 features are 2 MB."""


class _HighestInGroup(torch.autograd.Function):
    """Largest of each group, channel by channel; the gradient goes to whoever holds it.

    ``scatter_reduce`` does the same, but its own backward pass takes five times as long on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, group: Tensor, groups: int) -> Tensor:
        """(N, C) ≥ 0 in groups 0..groups-1 → (groups, C); 0 for an empty group."""
        highest = values.new_zeros(groups, values.shape[1]).scatter_reduce(
            0, group[:, None].expand_as(values), values, "amax")
        ctx.save_for_backward(values, group, highest)
        return highest

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Hand the gradient of each group on."""
        values, group, highest = ctx.saved_tensors
        lower = highest.index_select(0, group) != values
        # In place: a cloud's worth of fresh memory costs a CPU more than the arithmetic.
        return gradients[0].index_select(0, group).masked_fill_(lower, 0.0), None, None


class _HighestProjection(torch.autograd.Function):
    """Largest w·x of each group of points x, for each row w of a matrix.

    Linear layer and maximum in one, chunk by chunk: what all points give for all channels is three
    times as large as the points themselves, and would go through a CPU's memory a dozen times on
    its way forward and back. The points get no gradient.
    """

    @staticmethod
    def forward(ctx: Any, points: Tensor, weight: Tensor, group: Tensor, groups: int) -> Tensor:
        """(N, D), (C, D), (N,) in groups 0..groups-1, of which none is empty → (groups, C)."""
        highest = weight.new_full((groups, len(weight)), -torch.inf)
        for chunk, own in _HighestProjection.chunks(points, group):
            highest.scatter_reduce_(0, own[:, None].expand(-1, len(weight)), chunk @ weight.T,
                                    "amax")
        ctx.save_for_backward(points, weight, group, highest)
        return highest

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, None, None]:
        """Whoever holds the largest of a group gets its gradient."""
        points, weight, group, highest = ctx.saved_tensors
        of_weight = torch.zeros_like(weight)
        for chunk, own in _HighestProjection.chunks(points, group):
            holds = chunk @ weight.T == highest.index_select(0, own)
            of_weight += (gradients[0].index_select(0, own) * holds).T @ chunk
        return None, of_weight, None, None

    @staticmethod
    def chunks(points: Tensor, group: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Parts that a CPU's cache holds; a GPU gets everything at once."""
        size = CHUNK if points.device.type == "cpu" else max(1, len(points))
        return zip(points.split(size), group.split(size))


class PillarEncoder(nn.Module):
    """Each point is encoded by itself and beside its pillar's others; a pillar keeps the largest.

    After PointPillars (Lang et al., 2019), with any number of points a pillar (dynamic
    voxelisation), so that nothing is dropped or padded.
    """

    def __init__(self, config: LidarConfig, grid: Grid) -> None:
        super().__init__()
        self.grid = grid
        self.point = nn.Linear(11, config.sparse_channels[-1], bias=False)
        self.norm = nn.BatchNorm1d(config.sparse_channels[-1], NORM_EPS, config.norm_momentum)

    def forward(self, points: Tensor, point_frame: Tensor, frames: int) -> Tensor:
        """Encode points.

        Args:
            points: (N, 5).
            point_frame: (N,) their frames.
            frames: Number of those.

        Returns:
            (frames, width, rows, columns).
        """
        rows, columns = self.grid.shape[1:]
        cells, width = frames * rows * columns, self.point.out_features
        index, inside = pillar_index(points, point_frame, self.grid)
        kept = inside.nonzero()[:, 0]
        points, index = points.index_select(0, kept), index.index_select(0, kept)
        canvas = points.new_zeros(cells, width)
        if len(points):
            pillars, group, count = _occupied(index, cells)
            described = self._describe(points, group, count.to(points.dtype))
            if type(self.norm) is nn.BatchNorm1d or not self.norm.training:
                with single_precision(described):
                    features = self._highest(described, group, len(pillars))
            else:  # statistics over many processes
                features = _HighestInGroup.apply(
                    F.relu(self.norm(self.point(described)), inplace=True), group, len(pillars))
            canvas = canvas.index_copy(0, pillars, features.to(canvas.dtype))
        return canvas.view(frames, rows, columns, width).permute(0, 3, 1, 2)

    def _highest(self, described: Tensor, group: Tensor, groups: int) -> Tensor:
        """(groups, width): the largest normalised features of each group's points.

        Batch norm and ReLU keep the order of each channel (or turn it round), so they may come
        after the maximum; mean and variance of a linear layer follow from those of what enters it.
        """
        norm, matrix = self.norm, self.point.weight
        described = described.to(matrix.dtype)
        sign = torch.where(norm.weight.detach() < 0, -1.0, 1.0).to(matrix.dtype)
        highest = sign * _HighestProjection.apply(described, sign[:, None] * matrix, group, groups)
        if norm.training:
            middle = described.mean(dim=0)
            apart = described - middle
            mean = matrix @ middle
            variance = ((matrix @ (apart.T @ apart / len(apart))) * matrix).sum(dim=1)
            _follow(norm, mean.detach(), variance.detach(), len(described))
        else:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            mean, variance = norm.running_mean, norm.running_var
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        return F.relu((highest - mean) * scale + norm.bias)

    def _describe(self, points: Tensor, group: Tensor, count: Tensor) -> Tensor:
        """(N, 11): x, y, z, intensity, dt; offsets to the pillar's mean and centre; its count.

        Args:
            points: (N, 5).
            group: (N,) their pillars.
            count: (groups,) points of each pillar.
        """
        sums = points.new_zeros(len(count), 3).index_add_(0, group, points[:, :3])
        of_pillar = torch.cat([sums / count[:, None], count.log1p()[:, None] * 0.3], dim=1)
        own = of_pillar.index_select(0, group)
        from_mean = points[:, :3] - own[:, :3]
        place = (points[:, :2] - self.grid.low_xy(points)) / self.grid.size_xy(points)
        from_center = place - place.floor() - 0.5
        scale = constant([1 / 54, 1 / 54, 0.5, 1.0, 1.0], points)
        return torch.cat([points * scale, from_mean, from_center, own[:, 3:]], dim=1)


def _occupied(index: Tensor, cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """What `torch.unique` says, without sorting: there are few cells.

    Args:
        index: (N,) int64 cell of each point.
        cells: How many there are.

    Returns:
        (P,) cells with points, ascending; (N,) which of these each point is in; and (P,) how many
        each holds.
    """
    count = torch.bincount(index, minlength=cells)
    occupied = count.nonzero()[:, 0]
    rank = torch.zeros_like(count).index_copy(
        0, occupied, torch.arange(len(occupied), device=index.device))
    return occupied, rank.index_select(0, index), count.index_select(0, occupied)


@torch.no_grad()
def _follow(norm: nn.BatchNorm1d, mean: Tensor, variance: Tensor, count: int) -> None:
    """Update running statistics as the norm itself would."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(variance * (count / max(1, count - 1)), norm.momentum)
    norm.num_batches_tracked += 1
