"""From points to the cells of a grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from aqr_perception.model.config import DetectorConfig


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
        return like.new_tensor(self.low[:2])

    def size_xy(self, like: Tensor) -> Tensor:
        """(2,) x, y of a cell."""
        return like.new_tensor(self.size[:2])


def grid_of(config: DetectorConfig) -> Grid:
    """The voxel grid of a network with a LiDAR branch."""
    assert config.lidar is not None
    return Grid(low=(config.detection_range[0], config.detection_range[1],
                     config.detection_range[2]),
                size=config.lidar.voxel_size, shape=config.lidar.grid)


def token_grid(grid: Grid, stride: int) -> Grid:
    """One layer of cells as large as tokens, ``stride`` of the grid's along x and along y."""
    depth, rows, columns = grid.shape
    return Grid(grid.low, (grid.size[0] * stride, grid.size[1] * stride, grid.size[2] * depth),
                (1, rows // stride, columns // stride))


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
    low, size = points.new_tensor(grid.low), points.new_tensor(grid.size)
    place = ((points[:, :3] - low) / size).floor_()
    limits = points.new_tensor(grid.shape[::-1])
    return place, ((place >= 0) & (place < limits)).all(dim=1)  # False for NaN


@dataclass(frozen=True)
class Sorted:
    """Points in the cells of a grid of one layer, for whatever is asked about these.

    Attributes:
        points: (N, 5) x, y, z [m], intensity, age [s].
        index: (N,) int64 cell of each among all frames' cells; their number for points outside.
        frames: B.
        grid: Of one layer.
    """

    points: Tensor
    index: Tensor
    frames: int
    grid: Grid

    @staticmethod
    def of(points: Tensor, point_frame: Tensor, frames: int, grid: Grid) -> Sorted:
        """Sort the points of B frames, (N, 5) and (N,)."""
        index, inside = pillar_index(points, point_frame, grid)
        cells = frames * grid.shape[1] * grid.shape[2]
        return Sorted(points, torch.where(inside, index, cells), frames, grid)

    @property
    def cells(self) -> int:
        """Of all frames."""
        return self.frames * self.grid.shape[1] * self.grid.shape[2]

    @cached_property
    def lowest(self) -> Tensor:
        """(cells,) lowest z [m]; infinite where no point is."""
        return self._extreme("amin", math.inf)

    @cached_property
    def highest(self) -> Tensor:
        """(cells,) highest z [m]; minus infinity where no point is."""
        return self._extreme("amax", -math.inf)

    def _extreme(self, reduce: str, nowhere: float) -> Tensor:
        z = self.points[:, 2]
        start = z.new_full((self.cells + 1,), nowhere)  # one more, for points outside
        return start.scatter_reduce(0, self.index, z, reduce)[:-1]


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
