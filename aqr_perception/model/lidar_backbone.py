"""The LiDAR branch: points → bird's-eye view map (voxels or pillars) → 2D trunk → tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aqr_perception.model.config import DetectorConfig, LidarConfig
from aqr_perception.model.precision import single_precision
from aqr_perception.model.sparse_conv import from_cells, sparse_stages
from aqr_perception.model.voxelize import Grid, grid_of, pillar_index, voxel_means

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
        scale = points.new_tensor([1 / 54, 1 / 54, 0.5, 1.0, 1.0])
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
