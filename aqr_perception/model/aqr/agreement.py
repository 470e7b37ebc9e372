"""Do the sensors tell the same story?

Each image column is one vertical plane through the world. Two descriptors of it are made: one from
the picture (what stands in the column, cut into a few parts from top to bottom) and one from the
bird's-eye view (what lies along the column's ray, at a number of depths). Where both sensors tell
the truth they point the same way; training makes them so. The same descriptors compare cameras with
each other where they overlap, and everything with the frame before, moved by the car's own motion.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aqr_perception.model.aqr.config import GateConfig
from aqr_perception.model.aqr.places import bev_coordinates, project, sample, widened
from aqr_perception.model.aqr.routing import Scene
from aqr_perception.model.constants import constant, numbers
from aqr_perception.model.position import inverse

GROUPS = 8
"""Parts of a descriptor that are compared one by one, so that a kind of mismatch has a name."""

SHIFTS = (-2, -1, 0, 1, 2)
"""Columns by which a picture is moved against the bird's-eye view: a turned camera shows here."""

NEAREST = 2.0
"""First depth along a column's ray [m]."""

OVERLAP_DEPTH = 15.0
"""Two cameras are compared at points this far [m] from the first."""


@dataclass(frozen=True)
class SensorMaps:
    """Narrow maps of all sensors of the rig, also of those without tokens (they hold zeros).

    Attributes:
        bev: (B, c, H, W), each cell a vector of length √c.
        images: (B, V, c, H, W), likewise, V the rig's cameras.
        columns: (B, V, W, E) unit descriptors of the image columns.
        occupancy: (B, 1, H, W) log(1 + points) in each cell of the bird's-eye view.
        rays: (B, V, W, D, 3) points behind each image column [m].
        middle: (B, V, W, 3) one of them, at `OVERLAP_DEPTH`.
        image_from_model: (B, V, 4, 4).
        present: (B, S) bool.
    """

    bev: Tensor
    images: Tensor
    columns: Tensor
    occupancy: Tensor
    rays: Tensor
    middle: Tensor
    image_from_model: Tensor
    present: Tensor


@dataclass(frozen=True)
class Edge:
    """How well two sets of sensors agree.

    Attributes:
        values: (..., GROUPS) mean agreement over the shared places, -1..1; 0 where there are none.
        overlap: (...) share of places that are shared, 0..1.
    """

    values: Tensor
    overlap: Tensor

    @property
    def features(self) -> Tensor:
        """(..., GROUPS + 1)."""
        return torch.cat([self.values, self.overlap[..., None]], dim=-1)


class Descriptors(nn.Module):
    """Narrow maps and column descriptors; everything learned in this file."""

    def __init__(self, channels: int, config: GateConfig) -> None:
        super().__init__()
        narrow, wide = config.channels, config.descriptor
        self.narrow, self.rows, self.depths = narrow, config.row_bins, config.depth_bins
        self.lidar_map = nn.Linear(channels, narrow)
        self.image_map = nn.Linear(channels, narrow)
        self.of_image = _mlp(config.row_bins * narrow, wide)
        self.of_lidar = _mlp(config.depth_bins * narrow, wide)

    def forward(self, scene: Scene, occupancy: Tensor) -> SensorMaps:
        """Look at a frame's tokens; nothing flows back into them."""
        memory = scene.memory
        count, views = len(memory.tokens), memory.present.shape[1] - 1
        tokens = widened(memory.tokens.detach())
        cells = memory.bev_shape[0] * memory.bev_shape[1]
        bev = tokens.new_zeros(count, self.narrow, 1, 1)
        if cells:
            bev = _unit(self.lidar_map(tokens[:, :cells])).transpose(1, 2)
            bev = bev.unflatten(2, memory.bev_shape) * memory.present[:, :1, None, None]
        images = tokens.new_zeros(count, views, self.narrow, 1, 1)
        if memory.views:
            shown = _unit(self.image_map(tokens[:, cells:])).transpose(1, 2)
            shown = shown.unflatten(2, (len(memory.views), *memory.image_shape)).transpose(1, 2)
            images = tokens.new_zeros(count, views, self.narrow, *memory.image_shape)
            images = images.index_copy(1, numbers(memory.views, images.device), shown)
            images = images * memory.present[:, 1:, None, None, None]
        cameras = scene.batch.image_from_lidar.to(tokens.dtype)
        depths = torch.linspace(NEAREST, scene.detection_range[3], self.depths,
                                device=tokens.device, dtype=tokens.dtype)
        rays = column_rays(cameras, scene.image_size, images.shape[-1],
                           torch.cat([depths, constant([OVERLAP_DEPTH], depths)]))
        return SensorMaps(bev, images, self.image_columns(images), occupancy, rays[..., :-1, :],
                          rays[..., -1, :], cameras, memory.present)

    def image_columns(self, images: Tensor) -> Tensor:
        """(B, V, c, H, W) → (B, V, W, E) unit descriptors."""
        width = images.shape[-1]
        pooled = nn.functional.adaptive_avg_pool2d(images.flatten(0, 1), (self.rows, width))
        pooled = pooled.unflatten(0, images.shape[:2]).permute(0, 1, 4, 2, 3).flatten(3)
        return nn.functional.normalize(self.of_image(pooled), dim=-1)

    def lidar_columns(self, bev: Tensor, points: Tensor, detection_range: tuple[float, ...]
                      ) -> Tensor:
        """Describe what the bird's-eye view holds along rays.

        Args:
            bev: (B, c, H, W).
            points: (B, V, W, D, 3) [m] in the model frame of that view.
            detection_range: Its extent.

        Returns:
            (B, V, W, E) unit descriptors.
        """
        coordinates = bev_coordinates(points, detection_range).flatten(1, 3)
        along = sample(bev, coordinates).unflatten(1, points.shape[1:4])
        return nn.functional.normalize(self.of_lidar(along.flatten(3)), dim=-1)


def _unit(features: Tensor) -> Tensor:
    """Features of mean 0 and mean square 1, so that products of them are correlations."""
    return nn.functional.layer_norm(features, features.shape[-1:])


def _mlp(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width))


def column_rays(image_from_model: Tensor, image_size: tuple[int, int], columns: int,
                depths: Tensor) -> Tensor:
    """Points behind the middle of each image column.

    Args:
        image_from_model: (B, V, 4, 4).
        image_size: Height and width [px].
        columns: W.
        depths: (D,) [m] along the optical axis.

    Returns:
        (B, V, W, D, 3) [m] in the model frame. With an upright camera, x and y do not depend on
        the row, so that the middle one stands for the column.
    """
    height, width = image_size
    u = (torch.arange(columns, device=depths.device, dtype=depths.dtype) + 0.5) * (width / columns)
    pixel = torch.stack([u, torch.full_like(u, height / 2), torch.ones_like(u)], dim=-1)
    points = pixel[:, None] * depths[:, None]  # (W, D, 3)
    points = nn.functional.pad(points, (0, 1), value=1.0)
    return torch.einsum("bvij,wdj->bvwdi", inverse(image_from_model), points)[..., :3]


def agreement(first: Tensor, second: Tensor) -> Tensor:
    """(..., E) unit descriptors, twice → (..., GROUPS), each group's part of the cosine, scaled to
    -1..1 on average.
    """
    return GROUPS * (first * second).unflatten(-1, (GROUPS, -1)).sum(-1)


def pooled(values: Tensor, shared: Tensor) -> Edge:
    """Mean of agreements (..., N, GROUPS) over the places that are shared (..., N)."""
    weight = shared.to(values.dtype)[..., None]
    return Edge((values * weight).sum(-2) / weight.sum(-2).clamp(min=1.0),
                weight.mean(-2).squeeze(-1))


def shift_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Mean cosine of two rows of columns (..., W, E), one moved by each of `SHIFTS`: (..., 5)."""
    width = first.shape[-2]
    scores = []
    for shift in SHIFTS:
        kept = max(width - abs(shift), 0)
        left, right = max(shift, 0), max(-shift, 0)
        product = first[..., left:left + kept, :] * second[..., right:right + kept, :]
        scores.append(product.sum(-1).sum(-1) / max(kept, 1))
    return torch.stack(scores, dim=-1)


def cameras_against_cameras(columns: Tensor, points: Tensor, other_columns: Tensor,
                            other_from_model: Tensor, other_present: Tensor,
                            image_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Compare each camera's columns with what other cameras see in the same direction.

    Args:
        columns: (B, V, W, E).
        points: (B, V, W, 3) one point a column [m], in the frame that ``other_from_model`` takes.
        other_columns: (B, V', W', E).
        other_from_model: (B, V', 4, 4) projections.
        other_present: (B, V') bool.
        image_size: Height and width [px].

    Returns:
        (B, V, V', W, GROUPS) agreement and (B, V, V', W) which columns both see.
    """
    views, width = columns.shape[1:3]
    flat = points.flatten(1, 2)[:, None]  # (B, 1, V·W, 3)
    places, visible = project(flat, other_from_model, image_size)  # (B, V', V·W, 2)
    places = torch.stack([places[..., 0], torch.zeros_like(places[..., 0])], dim=-1)
    rows = other_columns.transpose(2, 3)[..., None, :].flatten(0, 1)  # (B·V', E, 1, W')
    seen = sample(rows, places.flatten(0, 1))
    seen = seen.unflatten(0, other_columns.shape[:2]).unflatten(2, (views, width))
    seen = seen.transpose(1, 2)  # (B, V, V', W, E)
    visible = visible & other_present[..., None]
    shared = visible.unflatten(2, (views, width)).transpose(1, 2)
    return agreement(columns[:, :, None], seen) * shared[..., None], shared
