"""Does the cloud lie where the one before says that it must?

Cells of the bird's-eye view are moved by the car's own motion into the view before, and compared
with what was there. A cloud that turned or grew old meanwhile is alike somewhere else: to a
degree or half a metre, mostly, where cameras can only tell some degrees or metres. It tells of the
moment in which it moves; from then on all is alike again, wherever it lies.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from aqr_perception.model.aqr.agreement import SensorMaps
from aqr_perception.model.aqr.alignment import Alignment
from aqr_perception.model.aqr.places import bev_coordinates
from aqr_perception.model.aqr.plane import after, between, of_places, undone
from aqr_perception.model.aqr.temporal import TemporalMemory

CELLS = 256
"""So many cells are compared, those that hold most points."""

NEAREST = 3.0
"""What is nearer [m] is the car itself, and moves with it."""

LEAST_SHARE = 0.1
"""A place must win this share of what the cloud lacks to be just like the one before. In the first
frame noise, fog, few beams and a narrow view win up to 0.12, and hardly any agreement; a cloud
turned by 5 degrees wins 0.24 and more, an old one 0.35 and more (four validation drives)."""

STILL = 2.0
"""Places that differ by the way driven since, give or take this [m], are those of a cloud that
repeats itself. So do ghosts, dirt and cars that drive alongside, which are a part of it."""

SURE_SHARE = 0.45
"""An old place that wins this share needs no picture to bear it out; a sound one won 0.37 once."""

REPEATED_SHARE = 0.65
"""And this where the cloud would repeat itself, which it does to 0.9 and more."""

LEAST_LENGTH = 1e-12
"""Keeps the division defined outside the view, where there is nothing."""


@dataclass(frozen=True)
class Won:
    """What a cloud wins by lying at so many places, (B, H) each.

    Attributes:
        likeness: 0 if too little; where the cloud was believed to lie it may also lose.
        sure: Bool: no part of the cloud could have won it.
        repeats: Bool: the cloud would repeat itself there, or a part of it, see `STILL`.
    """

    likeness: Tensor
    sure: Tensor
    repeats: Tensor

    def believed(self, agrees: Tensor, none: Tensor, told: Tensor) -> Tensor:
        """(B, H) what counts of it; what is not sure the pictures must bear out.

        Args:
            agrees: (B, H) agreement with the pictures there, see `fitting.fit`.
            none: (B, 1) as the cloud came.
            told: (B,) bool: the pictures tell something.
        """
        return self.likeness * (self.sure | (told[:, None] & (~self.repeats | (agrees > none))))


@dataclass(frozen=True)
class CloudBefore:
    """What clouds are compared with.

    Attributes:
        view: (B, c, H, W) the bird's-eye view before.
        cells: (B, c, K) what is compared with it.
        points: (B, K, 2) where they lie [m], as the cloud came.
        weight: (B, K) 1 for cells that count, else 0; 0 throughout where there is no cloud before.
        before_from_now: (B, 3) turn [rad], x, y [m].
        driven: (B,) by the car since [m].
        path: See `Alignment`.
        detection_range: Of both views.
    """

    view: Tensor
    cells: Tensor
    points: Tensor
    weight: Tensor
    before_from_now: Tensor
    driven: Tensor
    path: Tensor
    detection_range: tuple[float, ...]

    def at(self, places: Tensor) -> Tensor:
        """(B, H) mean correlation, if the cloud lay at places (B, H, 3), see `Alignment.place`."""
        moved = after(self.before_from_now[:, None], undone(of_places(places, self.path)))
        sine, cosine = moved[..., :1].sin(), moved[..., :1].cos()
        x, y = self.points[:, None].unbind(-1)
        points = torch.stack([cosine * x - sine * y + moved[..., 1:2],
                              sine * x + cosine * y + moved[..., 2:]], dim=-1)
        coordinates = bev_coordinates(points, self.detection_range)
        there = F.grid_sample(self.view, coordinates.to(self.view.dtype), align_corners=False)
        # Between cells the mean of both is shorter than either: no place is to look worse for that.
        length = (self.cells.shape[1] * there.square().sum(1)).clamp(min=LEAST_LENGTH).sqrt()
        same = (there * self.cells[:, :, None]).sum(1) / length
        weight = self.weight[:, None] * (coordinates.abs() <= 1).all(-1)
        return (same * weight).sum(-1) / weight.sum(-1).clamp(min=1.0)

    def won(self, places: Tensor, prior: Alignment) -> Won:
        """What the cloud wins by lying there, over lying where it should.

        Args:
            places: (B, H, 3), see `Alignment.place`.
            prior: What is believed so far.
        """
        lidar = prior.lidar[:, None, None]
        known = torch.cat([torch.zeros_like(prior.place)[:, None], prior.place[:, None] * lidar], 1)
        alike = self.at(torch.cat([known, places], dim=1))
        gained = alike[:, 2:] - alike[:, :1]
        believed = (places == prior.place[:, None]).all(-1, keepdim=True) & lidar
        further = places[..., 1] - known[:, 1:, 1]
        repeats = (further != 0) & ((further - self.driven[:, None]).abs() <= STILL)
        share = gained / (1 - alike[:, :1]).clamp(min=LEAST_LENGTH)
        enough = (share >= LEAST_SHARE) & (places[..., 1] >= 0)  # no cloud shows what is to come
        needed = SURE_SHARE * (further != 0) + (REPEATED_SHARE - SURE_SHARE) * repeats
        return Won(torch.where(believed[..., 0], alike[:, 1:2] - alike[:, :1], gained * enough),
                   (share >= needed) | believed[..., 0], repeats)


def cloud_before(maps: SensorMaps, before: TemporalMemory, prior: Alignment,
                 detection_range: tuple[float, ...]) -> CloudBefore:
    """Choose what is compared.

    Args:
        maps: Of the frames, their clouds moved back as ``prior`` has it.
        before: The frames before.
        prior: What is believed so far; of these frames, see `alignment.carried`.
        detection_range: Of the bird's-eye view.
    """
    height, width = maps.bev.shape[-2:]
    most, chosen = maps.occupancy.flatten(1).topk(min(CELLS, height * width), dim=1)
    low, high = detection_range[:2], detection_range[3:5]
    x = (chosen % width + 0.5) * ((high[0] - low[0]) / width) + low[0]
    y = (chosen // width + 0.5) * ((high[1] - low[1]) / height) + low[1]
    motion, _ = between(before.fixed_from_model, prior.fixed_from_model)
    came = (before.alignment or prior).fixed_from_model
    driven = between(came, prior.fixed_from_model)[0][:, 1:].norm(dim=1)
    valid = prior.follows & before.maps.present[:, 0] & maps.present[:, 0]
    weight = (most > 0) & (x.square() + y.square() > NEAREST ** 2) & valid[:, None]
    done = prior.done[:, None]
    points = after(done, torch.stack([torch.zeros_like(x), x, y], dim=-1))[..., 1:]
    cells = maps.bev.flatten(2).gather(2, chosen[:, None].expand(-1, maps.bev.shape[1], -1))
    return CloudBefore(before.maps.bev, cells, points, weight.to(cells.dtype), motion, driven,
                       prior.path, detection_range)
