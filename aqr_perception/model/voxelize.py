"""From points to the cells of a grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from aqr_perception.model.config import DetectorConfig
from aqr_perception.model.constants import constant


@dataclass(frozen=True)
class Grid:
    """Cells in the model frame.

    Attributes:
        low: x, y, z where the first cell begins [m].
        size: x, y, z of a cell [m].
        shape: Cells along z, y, x.
    """

    low: tuple[float, float, float]
    size: tuple[float, float, float]
    shape: tuple[int, int, int]

    def low_xy(self, like: Tensor) -> Tensor:
        """(2,) x, y of the start, in the dtype and on the device of ``like``."""
        return constant(self.low[:2], like)

    def size_xy(self, like: Tensor) -> Tensor:
        """(2,) x, y of a cell."""
        return constant(self.size[:2], like)


def grid_of(config: DetectorConfig) -> Grid:
    """The voxel grid of a network with a LiDAR branch."""
    assert config.lidar is not None
    return Grid(low=(config.detection_range[0], config.detection_range[1],
                     config.detection_range[2]),
                size=config.lidar.voxel_size, shape=config.lidar.grid)


def cell_index(points: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Find the cell of each point.

    Args:
        points: (N, 3 or more) x, y, z [m].
        grid: The cells.

    Returns:
        (N, 3) int64 z, y, x, meaningful where the second result, (N,) bool, is True: the point is
        finite and inside the grid.
    """
    place, inside = _place(points, grid)
    return place.masked_fill(~inside[:, None], 0.0).long().flip(1), inside


def pillar_index(points: Tensor, point_frame: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """(N,) int64 index of each point's pillar among all frames' pillars, and (N,) bool inside."""
    place, inside = _place(points, grid)
    rows, columns = grid.shape[1:]
    # One number a point, exact in single precision, instead of three that are then converted.
    cell = (place[:, 1] * columns + place[:, 0]).masked_fill(~inside, 0.0).long()
    return point_frame * (rows * columns) + cell, inside


def _place(points: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """(N, 3) x, y, z counted in cells, whole numbers; and (N,) bool finite and inside."""
    low, size = constant(grid.low, points), constant(grid.size, points)
    place = ((points[:, :3] - low) / size).floor_()
    limits = constant(grid.shape[::-1], points)
    return place, ((place >= 0) & (place < limits)).all(dim=1)  # False for NaN


def voxel_means(points: Tensor, point_frame: Tensor, frames: int, grid: Grid, max_points: int,
                max_voxels: int) -> tuple[Tensor, Tensor]:
    """Average the points of each voxel, as mmdet3d's hard voxelisation and HardSimpleVFE do.

    A voxel keeps its first ``max_points`` points, a frame its first ``max_voxels`` voxels, in the
    order of the points; unlike spconv's hash table on a GPU that is the same in every run.

    Args:
        points: (N, D), x, y, z first.
        point_frame: (N,) int64.
        frames: How many.
        grid: The voxels.
        max_points: A voxel.
        max_voxels: A frame.

    Returns:
        means (M, D) and coordinates (M, 4) int64 frame, z, y, x of the M voxels with points, in
        ascending order of those.
    """
    cells, inside = cell_index(points, grid)
    depth, rows, columns = grid.shape
    index = ((point_frame * depth + cells[:, 0]) * rows + cells[:, 1]) * columns + cells[:, 2]
    points, index = points[inside], index[inside]
    index, order = index.sort(stable=True)  # points of a voxel stay in their order
    voxels, counts = index.unique_consecutive(return_counts=True)
    first = counts.cumsum(0) - counts
    voxel = torch.repeat_interleave(torch.arange(len(voxels), device=index.device), counts)
    kept = torch.arange(len(index), device=index.device) - first[voxel] < max_points
    sums = points.new_zeros(len(voxels), points.shape[1])
    sums.index_add_(0, voxel[kept], points[order[kept]])
    means = sums / counts.clamp(max=max_points)[:, None]
    frame = torch.div(voxels, depth * rows * columns, rounding_mode="floor")
    if max_voxels < math.prod(grid.shape):
        chosen = _earliest(frame, order[first], frames, max_voxels)
        means, voxels = means[chosen], voxels[chosen]
    return means, _coordinates(voxels, grid.shape)


def _earliest(frame: Tensor, appeared: Tensor, frames: int, count: int) -> Tensor:
    """(M,) bool: whether a voxel is among the first ``count`` of its frame to appear."""
    order = appeared.argsort()
    order = order[frame[order].argsort(stable=True)]
    per_frame = torch.bincount(frame, minlength=frames)
    start = per_frame.cumsum(0) - per_frame
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device) - start[frame[order]]
    return rank < count


def _coordinates(index: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """(M,) linear index → (M, 4) frame, z, y, x."""
    depth, rows, columns = shape
    x, rest = index % columns, torch.div(index, columns, rounding_mode="floor")
    y, rest = rest % rows, torch.div(rest, rows, rounding_mode="floor")
    return torch.stack([torch.div(rest, depth, rounding_mode="floor"), rest % depth, y, x], dim=1)
