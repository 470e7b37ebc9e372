"""Where cloud and cameras fit together: places that are tried, and which is believed."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from aqr_perception.model.aqr.agreement import Descriptors, SensorMaps
from aqr_perception.model.aqr.alignment import Alignment
from aqr_perception.model.aqr.likeness import CloudBefore
from aqr_perception.model.aqr.plane import after, of_places, undone
from aqr_perception.model.aqr.routing import Scene
from aqr_perception.model.constants import constant

TURNS = (-2.5, 2.5, *(5.0 * step for step in range(-9, 10) if step))
"""Turns that are tried [degrees]."""

DISTANCES = (1.0, 2.0, 3.5, 5.0, 7.0, 9.0, 12.0, 15.0, 19.0, 23.0, 28.0)
"""Distances that are tried [m], both ways along the car's path."""

SIDES = (-3.0, -2.0, -1.0, 1.0, 2.0, 3.0)
"""Distances to the side that are tried [m], to the right."""

FINER = ((-0.5, -0.25, 0.25, 0.5), (-0.12, -0.06, 0.06, 0.12), (-0.03, -0.015, 0.015, 0.03))
"""Around the best of those, in three rounds, in parts of 5 degrees, three tenths of the distance
and 1 m to the side."""

TURNED_TOO = (-3.0, -1.5, -0.75, 0.75, 1.5, 3.0)
"""Turns that are tried on top of what was found [degrees]."""

LEAST_GAIN = 0.035
"""What a place must win to be believed: agreement (mean cosine), of which none won 0.02 on a
hundred sound frames, and likeness to the cloud before. Once believed it stays until another is."""

LEAST_FIT = 0.42
"""Agreement that it must have, where the cloud is not more like the one before. Sound sensors agree
by 0.58 to 0.73 in simulated frames, by 0.51 in a real one of nuScenes, and by 0.3 on a car whose
sensors the gate does not know: there it is not to be believed. Nor where pictures are swapped or
four of 32 beams are left (0.41 at most anywhere).
"""

LEAST_TOLD = 0.32
"""How much the columns of the pictures must differ, 1 less the square of their mean: 0.05 in black
ones, 0.20 to 0.29 in dark ones, which agree with any place; 0.35 and more otherwise."""

LEAST_CHANGE = 0.02
"""What it must win over the place of the frame before, to take its place."""

TRIED = tuple(number for place in (
    *((math.radians(turn), 0.0, 0.0) for turn in TURNS),
    *((0.0, sign * way, 0.0) for way in DISTANCES for sign in (1, -1)),
    *((0.0, 0.0, side) for side in SIDES)) for number in place)
"""All of them, place by place."""

HOLDS = (0.01, 0.3, 0.2)
"""A turn [rad] and distances [m] that differ less from those of the frame before stay."""


def fit(maps: SensorMaps, moved: Tensor, descriptors: Descriptors,
        detection_range: tuple[float, ...]) -> Tensor:
    """How well cloud and cameras agree if the cloud lay so: (B, H) mean cosine over the columns.

    Args:
        maps: Of the frames.
        moved: (B, H, 3) motions of what their rays hit.
        descriptors: Of the gate.
        detection_range: Of the bird's-eye view.
    """
    batch, views, width, depths = maps.rays.shape[:4]
    points = maps.rays[..., :2].flatten(1, 3)[:, None]  # (B, 1, N, 2)
    sine, cosine = moved[..., :1].sin(), moved[..., :1].cos()
    x = cosine * points[..., 0] - sine * points[..., 1] + moved[..., 1:2]
    y = sine * points[..., 0] + cosine * points[..., 1] + moved[..., 2:3]
    points = torch.stack([x, y], dim=-1).view(batch, -1, width, depths, 2)
    along = descriptors.lidar_columns(maps.bev, points, detection_range)
    same = (along.unflatten(1, (-1, views)) * maps.columns[:, None]).sum(-1).mean(-1)
    there = maps.present[:, None, 1:].to(same.dtype)
    return (same * there).sum(-1) / there.sum(-1).clamp(min=1.0)


def agreed(maps: SensorMaps, along: Tensor) -> Tensor:
    """`fit` as things are: (B,); ``along`` (B, V, W, E) describes the rays."""
    same = (maps.columns * along).sum(-1).mean(-1)
    there = maps.present[:, 1:].to(same.dtype)
    return (same * there).sum(-1) / there.sum(-1).clamp(min=1.0)


def telling(maps: SensorMaps) -> Tensor:
    """(B,) bool: the pictures show enough for a place to be found."""
    differ = 1 - maps.columns.mean(dim=2).square().sum(-1)
    there = maps.present[:, 1:].to(differ.dtype)
    return (differ * there).sum(1) >= LEAST_TOLD * there.sum(1).clamp(min=1.0)


def jumped(cloud: CloudBefore, prior: Alignment) -> Tensor:
    """(B,) bool: the cloud is more like the one before somewhere else than where it should lie."""
    won = cloud.won(_tried(prior), prior).likeness
    return won[:, 2:].amax(1) >= won[:, 1] + LEAST_CHANGE


def search(scene: Scene, maps: SensorMaps, prior: Alignment, told: Tensor,
           cloud: CloudBefore | None, descriptors: Descriptors) -> tuple[Tensor, Tensor, Tensor]:
    """Find the place where cloud and cameras, and the cloud and the one before, fit best.

    Args:
        scene: The frames, put right by ``prior``.
        maps: Theirs.
        prior: What is believed so far.
        told: (B,) bool: the pictures tell something, see `telling`.
        cloud: Tells whether the cloud moved; None: nothing came before.
        descriptors: Of the gate.

    Returns:
        (B, 3) the place, the agreement there (B,), and (B,) bool: it is the cloud that moved there,
        for it is like the one before.
    """
    def agreement(places: Tensor) -> Tensor:
        moved = after(undone(prior.done)[:, None], after(of_places(places, prior.path),
                                                         undone(prior.motion)[:, None]))
        return fit(maps, moved, descriptors, scene.detection_range) * told[:, None]

    def judged(places: Tensor) -> tuple[Tensor, Tensor]:
        agrees = agreement(places)
        if cloud is None:
            return agrees, torch.zeros_like(agrees)
        return agrees, cloud.won(places, prior).believed(agrees, none, told)

    def scores(places: Tensor) -> Tensor:
        return torch.add(*judged(places))

    places = _tried(prior)
    none = agreement(places[:, :1])
    found = scores(places)
    best, score = _best(places, found)
    reach = torch.stack([(best[..., 0] != 0) * math.radians(5.0), best[..., 1] * 0.3,
                         (best[..., 2] != 0).to(best.dtype)], dim=-1)
    turned = constant([math.radians(turn) for turn in TURNED_TOO], best)
    steps = [constant(parts, best)[None, :, None] * reach for parts in FINER]
    for more in (*steps, F.pad(turned[None, :, None], (0, 2))):
        near = best + more
        best, score = _best(torch.cat([best, near], dim=1), torch.cat([score, scores(near)], dim=1))
    agrees, won = judged(best)
    wins = (score - found[:, :1] >= LEAST_GAIN) & ((won > 0) | (agrees >= LEAST_FIT))
    best, score = best * wins[..., None], torch.where(wins, score, found[:, :1])
    stays = score < found[:, 1:2] + LEAST_CHANGE
    best = torch.where(stays[..., None], prior.place[:, None], best)
    place, (agrees, won) = best[:, 0], judged(best)
    holds = ((place - prior.place).abs() < constant(HOLDS, place)).all(-1) & (
        (place != 0) == (prior.place != 0)).all(-1)
    return torch.where(holds[:, None], prior.place, place), agrees[:, 0], won[:, 0] > 0


def _tried(prior: Alignment) -> Tensor:
    """(B, H, 3) places: none, what was believed before, and all that are tried."""
    tried = constant(TRIED, prior.place).view(1, -1, 3).expand(len(prior.place), -1, -1)
    return torch.cat([torch.zeros_like(tried[:, :1]), prior.place[:, None], tried], dim=1)


def _best(places: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 1, 3) and (B, 1): the first of the highest."""
    score, at = scores.max(dim=1, keepdim=True)
    return places.gather(1, at[..., None].expand(-1, -1, 3)), score
