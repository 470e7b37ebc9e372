"""Attention that starts where the query is: a Gaussian of distance on the logits.

After SMCA (Gao et al., 2021), which multiplies attention by a Gaussian around each query and
trains ten times faster. Here the Gaussian is exact in a few appended columns, since
-|q - k|²/2σ² = (q·k - |q|²/2 - |k|²/2) / σ² factors into a part of the query and one of the token.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from aqr_perception.model.attention import Columns, Reading
from aqr_perception.model.config import DetectorConfig
from aqr_perception.model.constants import constant
from aqr_perception.model.memory import Memory
from aqr_perception.model.position import (
    Cameras,
    bev_cell_centers,
    pixel_grid,
    project,
    range_limits,
    ray_points,
)

VIEW_DEPTH = 25.0
"""Depth [m] at which the ray of a pixel is turned into a direction seen from the model's origin.
Query and token use the same one, so that they agree exactly on one pixel whatever the parallax."""

METERS = (0.7, 1.5, 4.0, 10.0)
DEGREES = (2.0, 4.0, 8.0, 20.0)
"""σ of the heads at the start, in turn: on the ground and in direction."""


class FourierPosition(nn.Module):
    """Position embedding of networks with `Locality`: linear in sines, cheap, learns quickly.

    Places are embedded from x, y and z, tokens of cameras and what queries see from directions. The
    shortest wave along x and along y is as long as a token, so that a query can tell where in one
    it stands; each further one is twice as long.
    """

    GROUND_WAVES = 8
    VIEW_WAVES = 24
    ground_waves: Tensor
    view_waves: Tensor

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        channels = config.decoder.channels
        rows, columns = config.lidar.bev_shape if config.lidar else (64, 64)
        halvings = 2.0 ** -torch.arange(self.GROUND_WAVES)
        cycles = torch.stack([torch.cat([columns * halvings, 0 * halvings]),
                              torch.cat([0 * halvings, rows * halvings])])
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("ground_waves", 2 * math.pi * cycles)
        self.register_buffer("view_waves", 4 * torch.randn(3, self.VIEW_WAVES, generator=generator))
        self.ground = nn.Linear(4 * self.GROUND_WAVES, channels)
        self.height = nn.Linear(1, channels)
        self.view = nn.Linear(2 * self.VIEW_WAVES, channels)

    def bev(self, rows: int, columns: int, like: Tensor) -> Tensor:
        """(rows·columns, C) of the cells of the bird's-eye view."""
        return self.ground(self._waves(bev_cell_centers(rows, columns, like), self.ground_waves))

    def images(self, directions: Tensor) -> Tensor:
        """(B, V, rows·columns, C) of the tokens of each camera, see `token_directions`."""
        return self.view(self._waves(directions, self.view_waves))

    def queries(self, reference_points: Tensor, directions: Tensor) -> Tensor:
        """(B, Q, C) of queries at (B, Q, 3) in [0, 1] of the range, see `query_directions`."""
        seen = directions.square().sum(dim=-1, keepdim=True) > 0
        view = self.view(self._waves(directions, self.view_waves))
        return (self.ground(self._waves(reference_points[..., :2], self.ground_waves))
                + self.height(reference_points[..., 2:] - 0.5) + view.masked_fill(~seen, 0.0))

    def _waves(self, places: Tensor, waves: Tensor) -> Tensor:
        angle = places @ waves
        return torch.cat([angle.sin(), angle.cos()], dim=-1)


class Locality(nn.Module):
    """How far each head of each layer looks around its query, and where that found something.

    A token knows where in it an object is; a query must know where the token is to make use of it,
    yet values carry no position, in CMT as in DETR. So the mean place that each head attended to
    comes back with the values, relative to the query.
    """

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        layers, heads = config.decoder.layers, config.decoder.heads
        self.log_meters = nn.Parameter(_by_head(METERS, heads).log().repeat(layers, 1))
        self.log_radians = nn.Parameter(_by_head(DEGREES, heads).deg2rad().log().repeat(layers, 1))
        self.told = nn.ModuleList(nn.Linear(7 * heads, config.decoder.channels)
                                  for _ in range(layers))

    def keys(self, memory: Memory, directions: Tensor | None) -> Tensor:
        """(B, T, 8) the tokens' part of the bias.

        Args:
            memory: The tokens.
            directions: (B, len(views), N, 3) of those of cameras, see `token_directions`; None
                where there are none.

        Tokens of the bird's-eye view have x, y [m], -r²/2, 1 and then zeros; those of cameras
        zeros and then the unit direction of their middle and 1.
        """
        tokens = memory.tokens
        parts = [tokens.new_zeros(len(tokens), 0, 8)]
        if memory.bev_shape[0]:
            low, high = range_limits(self.config, tokens)
            xy = bev_cell_centers(*memory.bev_shape, tokens) * (high - low)[:2] + low[:2]
            half = -xy.square().sum(dim=-1, keepdim=True) / 2
            ground = torch.cat([xy, half, torch.ones_like(half), xy.new_zeros(len(xy), 4)], dim=-1)
            parts.append(ground.expand(len(tokens), -1, -1))
        if directions is not None:
            direction = directions.flatten(1, 2)
            ones = torch.ones_like(direction[..., :1])
            parts.append(torch.cat([direction.new_zeros(*direction.shape[:-1], 4), direction, ones],
                                   dim=-1))
        return torch.cat(parts, dim=1)

    def forward(self, layer: int, reference_points: Tensor, directions: Tensor, keys: Tensor
                ) -> tuple[Columns, Reading]:
        """The bias of one layer, and what its attention is to report back.

        Args:
            layer: 0-based.
            reference_points: (B, Q, 3) in [0, 1] of the detection range.
            directions: (B, Q, 3) see `query_directions`.
            keys: (B, T, 8) of all tokens, see `keys`.
        """
        low, high = range_limits(self.config, reference_points)
        xy = (reference_points * (high - low) + low)[..., :2]
        ones = torch.ones_like(xy[..., :1])
        half = -xy.square().sum(dim=-1, keepdim=True) / 2
        ground = torch.cat([xy, ones, half], dim=-1)[:, None]
        view = torch.cat([directions, -ones], dim=-1)[:, None]
        meters = self.log_meters[layer].exp()[:, None, None]
        radians = self.log_radians[layer].exp()[:, None, None]
        columns = Columns(torch.cat([ground / meters.square(), view / radians.square()], dim=-1),
                          keys)

        def read(seen: Tensor) -> Tensor:
            """How far off the query its heads looked, in their σ, and how much at which kind."""
            on_ground, in_view = seen[..., 3:4], seen[..., 7:8]
            offset = (seen[..., :2] - on_ground * xy[:, None]) / meters.detach()
            turn = (seen[..., 4:7] - in_view * directions[:, None]) / radians.detach()
            told = torch.cat([offset, on_ground, turn, in_view], dim=-1)
            return self.told[layer](told.transpose(1, 2).flatten(2))

        return columns, Reading(keys, read)


def token_directions(config: DetectorConfig, cameras: Cameras, rows: int, columns: int) -> Tensor:
    """(B, V, rows·columns, 3) unit direction of the middle of each camera token."""
    image = config.image
    assert image is not None
    stride_v, stride_u = image.height / rows, image.width / columns
    pixels = pixel_grid(rows, columns, stride_v, stride_u, cameras.image_from_lidar)
    middle = pixels + constant([(stride_u - 1) / 2, (stride_v - 1) / 2, 0.0], pixels)
    return _direction(middle, cameras.model_from_image)


def query_directions(config: DetectorConfig, reference_points: Tensor, cameras: Cameras) -> Tensor:
    """(B, Q, 3) unit direction in which the usable cameras see a query (their mean); 0 if none do.

    Args:
        config: Of the network.
        reference_points: (B, Q, 3) in [0, 1] of the detection range.
        cameras: Of the batch.
    """
    image = config.image
    if image is None or not cameras.usable.shape[1]:
        return torch.zeros_like(reference_points)
    low, high = range_limits(config, reference_points)
    pixels, visible = project(reference_points * (high - low) + low, cameras.image_from_lidar,
                              image.width, image.height)
    seen = (visible & cameras.usable[..., None])[..., None]
    pixels = pixels.where(seen, constant([0.0, 0.0, 1.0], pixels))  # else they may be far out
    total = (_direction(pixels, cameras.model_from_image) * seen).sum(dim=1)
    return total / total.norm(dim=-1, keepdim=True).clamp(min=1e-6)


def _direction(pixels: Tensor, model_from_image: Tensor) -> Tensor:
    """(..., P, 3) unit vectors from the model's origin to where the pixels' rays are at 25 m."""
    points = ray_points(pixels, model_from_image, constant([VIEW_DEPTH], pixels))[..., 0, :]
    return points / points.norm(dim=-1, keepdim=True)


def _by_head(values: tuple[float, ...], heads: int) -> Tensor:
    repeats = math.ceil(heads / len(values))
    return torch.tensor((values * repeats)[:heads])
