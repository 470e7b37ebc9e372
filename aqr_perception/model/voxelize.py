"""From points to the cells of a grid."""

from __future__ import annotations

from dataclasses import dataclass

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


def cell_index(points: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Find the cell of each point.

    Args:
        points: (N, 3 or more) x, y, z [m].
        grid: The cells.

    Returns:
        (N, 3) int64 z, y, x, meaningful where the second result, (N,) bool, is True: the point is
        finite and inside the grid.
    """
    low, size = points.new_tensor(grid.low), points.new_tensor(grid.size)
    place = ((points[:, :3] - low) / size).floor()
    limits = points.new_tensor(grid.shape[::-1])
    inside = ((place >= 0) & (place < limits)).all(dim=1)  # False for NaN
    return place.masked_fill(~inside[:, None], 0.0).long().flip(1), inside


def pillar_index(points: Tensor, point_frame: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """(N,) int64 index of each point's pillar among all frames' pillars, and (N,) bool inside."""
    cells, inside = cell_index(points, grid)
    rows, columns = grid.shape[1:]
    return (point_frame * rows + cells[:, 1]) * columns + cells[:, 2], inside


