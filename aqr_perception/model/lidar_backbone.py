"""The LiDAR branch: points → bird's-eye view map (voxels or pillars) → 2D trunk → tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aqr_perception.model.config import DetectorConfig, LidarConfig
from aqr_perception.model.pillars import NORM_EPS, PillarEncoder
from aqr_perception.model.precision import single_precision
from aqr_perception.model.sparse_conv import from_cells, sparse_stages
from aqr_perception.model.voxelize import Grid, grid_of, pillar_index, voxel_means


class VoxelEncoder(nn.Module):
    """Means of voxels, sparse 3D convolutions, and the layers of height laid side by side."""

    def __init__(self, config: LidarConfig, grid: Grid) -> None:
        super().__init__()
        self.config, self.grid = config, grid
        self.stages = sparse_stages(5, config.sparse_channels, NORM_EPS, config.norm_momentum)

    def forward(self, points: Tensor, point_frame: Tensor, frames: int) -> Tensor:
        """Encode points.

        Args:
            points: (N, 5).
            point_frame: (N,) their frames.
            frames: Number of those.

        Returns:
            (frames, width·layers, rows, columns) at an eighth of the grid; channel c of the height
            layer z is channel c·layers + z.
        """
        means, coordinates = voxel_means(points, point_frame, frames, self.grid,
                                         self.config.max_points, self.config.max_voxels)
        return self.encode(means, coordinates, frames)

    def encode(self, means: Tensor, coordinates: Tensor, frames: int) -> Tensor:
        """The same from voxels (M, 5) at (M, 4) frame, z, y, x."""
        cells = from_cells(means, coordinates, self.grid.shape, frames)
        return self.stages(cells).dense().flatten(1, 2)


class Second(nn.ModuleList):
    """Two blocks of 3×3 convolutions, the second at half the resolution (Yan et al., 2018)."""

    def __init__(self, entering: int, config: LidarConfig, first_stride: int) -> None:
        blocks = []
        for width, extra, stride in zip(config.trunk_channels, config.trunk_layers,
                                        (first_stride, 2)):
            layers: list[nn.Module] = []
            for number in range(1 + extra):
                layers += [nn.Conv2d(entering, width, 3, stride if number == 0 else 1, 1,
                                     bias=False),
                           nn.BatchNorm2d(width, NORM_EPS, config.norm_momentum),
                           nn.ReLU(inplace=True)]
                entering = width
            blocks.append(nn.Sequential(*layers))
        super().__init__(blocks)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) → the maps of both blocks.

        The first one in single precision: in float16 it costs more boxes than all other layers of
        both trunks together.
        """
        with single_precision(x):
            fine = self[0](x)
        return fine, self[1](fine)


class SecondNeck(nn.ModuleList):
    """Brings both maps to the resolution of the finer one and concatenates them."""

    def __init__(self, entering: tuple[int, int], leaving: tuple[int, int],
                 momentum: float) -> None:
        convs = (nn.Conv2d(entering[0], leaving[0], 1, bias=False),
                 nn.ConvTranspose2d(entering[1], leaving[1], 2, 2, bias=False))
        super().__init__(
            nn.Sequential(conv, nn.BatchNorm2d(width, NORM_EPS, momentum),
                          nn.ReLU(inplace=True)) for conv, width in zip(convs, leaving))

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Two maps → (B, sum of both widths, H, W)."""
        return torch.cat([self[0](fine), self[1](coarse)], dim=1)


class SharedConv(nn.Sequential):
    """From the neck's width to the decoder's; ends in a ReLU, so that empty cells are often 0."""

    def __init__(self, entering: int, leaving: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(entering, leaving, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(leaving)
        self.relu = nn.ReLU(inplace=True)


def output_height(layers: int) -> int:
    """Layers of height that the sparse stages leave of so many: 41 → 2."""
    layers = (layers - 1) // 2 + 1
    layers = (layers - 1) // 2 + 1
    layers = (layers - 3) // 2 + 1
    return (layers - 3) // 2 + 1


class LidarBranch(nn.Module):
    """Points → one map of tokens."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        lidar = config.lidar
        assert lidar is not None
        grid = grid_of(config)
        self.encoder: PillarEncoder | VoxelEncoder
        if lidar.encoder == "pillars":
            self.encoder = PillarEncoder(lidar, grid)
            entering, first_stride = lidar.sparse_channels[-1], lidar.stride
        else:
            self.encoder = VoxelEncoder(lidar, grid)
            height = output_height(grid.shape[0])
            entering, first_stride = lidar.sparse_channels[-1] * height, 1
        self.trunk = Second(entering, lidar, first_stride)
        self.neck = SecondNeck(lidar.trunk_channels, (lidar.neck_channels, lidar.neck_channels),
                               lidar.norm_momentum)
        self.shared: nn.Module = nn.Identity()
        if lidar.shared_kernel:
            self.shared = SharedConv(2 * lidar.neck_channels, config.decoder.channels,
                                     lidar.shared_kernel)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, points: Tensor, point_frame: Tensor, frames: int) -> Tensor:
        """(N, 5) points of ``frames`` frames → (frames, C, rows, columns)."""
        with single_precision(points):  # as published
            x = self.encoder(points, point_frame, frames)
        return self.shared(self.neck(*self.trunk(x)))


def tallest_cells(points: Tensor, point_frame: Tensor, frames: int, grid: Grid, stride: int,
                  count: int) -> Tensor:
    """Choose the tokens worth a look: those with points, the greatest spread of heights first.

    Args:
        points: (N, 5) of all frames.
        point_frame: (N,).
        frames: B.
        grid: Of the voxels.
        stride: Cells of it a token.
        count: How many tokens a frame.

    Returns:
        (B, count) int64 numbers of tokens, row by row.
    """
    coarse = Grid(grid.low, (grid.size[0] * stride, grid.size[1] * stride, grid.size[2]),
                  (1, grid.shape[1] // stride, grid.shape[2] // stride))
    index, inside = pillar_index(points, point_frame, coarse)
    cells, z = coarse.shape[1] * coarse.shape[2], points[:, 2]
    index = torch.where(inside, index, frames * cells)  # one more cell, for those outside
    empty = torch.full((frames * cells + 1,), -1.0, dtype=z.dtype, device=z.device)
    top = empty.scatter_reduce(0, index, z, "amax", include_self=False)
    low = empty.scatter_reduce(0, index, z, "amin", include_self=False)
    occupied = empty.scatter(0, index, 0.0)
    return (occupied + top - low)[:-1].view(frames, cells).topk(count, dim=1).indices
