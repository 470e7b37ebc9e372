"""Plain facts about each sensor that need no learning: how many points, how dark a picture."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from aqr_perception.model.aqr.places import widened
from aqr_perception.model.aqr.routing import PlainFacts, Scene
from aqr_perception.model.constants import constant

NARROW, WIDE = 5, 15
"""Sides of the windows [cells] in which the LiDAR's points are counted."""

PIXEL_FACTS = 3
"""Numbers of `pixel_statistics`."""

PIXEL_STRIDE = 2
"""Rows between the ones that are looked at: the facts need no more."""


def plain_facts(scene: Scene) -> PlainFacts:
    """Those that the scene has, or count them."""
    return scene.facts or PlainFacts(occupancy(scene), pixel_statistics(scene.batch.images))


def occupancy(scene: Scene) -> Tensor:
    """(B, 1, H, W) log(1 + points) in each cell of the bird's-eye view; one cell without tokens."""
    batch, count = scene.batch, len(scene.memory.present)
    height, width = scene.memory.bev_shape if all(scene.memory.bev_shape) else (1, 1)
    low = constant(scene.detection_range[:2], batch.points)
    high = constant(scene.detection_range[3:5], batch.points)
    place = (batch.points[:, :2] - low) / (high - low)
    inside = ((place >= 0) & (place < 1)).all(-1)
    column = (place[:, 0] * width).long().clamp(0, width - 1)
    row = (place[:, 1] * height).long().clamp(0, height - 1)
    index = (batch.point_frame * height + row) * width + column
    counts = batch.points.new_zeros(count * height * width)
    counts = counts.index_add(0, index * inside, inside.to(counts.dtype))
    counts = counts.view(count, 1, height, width) * scene.memory.present[:, :1, None, None]
    return counts.log1p()


def windowed(occupied: Tensor) -> Tensor:
    """(B, 1, H, W) → (B, 2, H, W): means over the narrow and the wide window."""
    return torch.cat([F.avg_pool2d(occupied, side, stride=1, padding=side // 2)
                      for side in (NARROW, WIDE)], dim=1)


def pixel_statistics(images: Tensor) -> Tensor:
    """Mean, spread and sharpness of pictures.

    Args:
        images: (B, V, 3, H, W); the middle colour is looked at.

    Returns:
        (B, V, 3) mean, standard deviation, mean absolute difference of neighbouring pixels.
    """
    grey = widened(images[:, :, 1, ::PIXEL_STRIDE])
    mean = grey.mean((-2, -1))
    spread = (grey.square().mean((-2, -1)) - mean.square()).clamp(min=0).sqrt()
    sharpness = (grey[..., 1:] - grey[..., :-1]).abs().mean((-2, -1))
    return torch.stack([mean, spread, sharpness], dim=-1)


def map_statistics(maps: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean and spread of maps over their cells.

    Args:
        maps: (..., c, H, W).
        weight: (..., 1, H, W) how much each cell counts; None counts all alike.

    Returns:
        (..., 2c).
    """
    if weight is None:
        mean, square = maps.mean((-2, -1)), maps.square().mean((-2, -1))
    else:
        total = weight.sum((-2, -1)).clamp(min=1.0)
        mean = (maps * weight).sum((-2, -1)) / total
        square = (maps.square() * weight).sum((-2, -1)) / total
    variance = (square - mean.square()).clamp(min=0)
    return torch.cat([mean, (variance + 1e-6).sqrt()], dim=-1)
