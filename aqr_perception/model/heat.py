"""Where something seems to be, token by token: it teaches the trunks, and places queries.

Each token says for each class whether the centre of an object lies in it, and where in it; one of
an image also how deep. As a side task that gives every token of both trunks a target in every step,
where queries reach few of them (CMT starts from trunks that were trained elsewhere; a small network
that starts from nothing needs this). The peaks are also where the queries start (TransFusion, Bai
et al., 2022, over the bird's-eye view), and `model.seed` tells these what their token knows.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aqr_perception.model.config import DetectorConfig
from aqr_perception.model.constants import numbers, picked
from aqr_perception.model.memory import Memory
from aqr_perception.model.position import inverse, range_limits
from aqr_perception.model.precision import single_precision
from aqr_perception.model.seed import NOWHERE
from aqr_perception.types import CLASS_NAMES, Heat

PRIOR = -4.0
"""Initial logit: one token in fifty."""

HEIGHT = 0.5
"""Height at which placed queries start, in [0, 1] of the detection range: -1 m, the middle of a car
that stands on the ground."""

MIDDLE_DEPTH = 25.0
"""Depth [m], for a focal length of the image's width, that image tokens say at first."""

CROWDED = tuple(CLASS_NAMES.index(name) for name in ("pedestrian", "traffic_cone"))
"""Classes whose objects stand in neighbouring tokens, so that these do not suppress each other."""


class HeatHead(nn.Module):
    """Two linear layers for each kind of token: what, and where in it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bev = nn.Linear(channels, len(CLASS_NAMES))
        self.image = nn.Linear(channels, len(CLASS_NAMES))
        self.offset = nn.Linear(channels, 3)
        self.image_offset = nn.Linear(channels, 3)
        for layer in (self.bev, self.image):
            nn.init.constant_(layer.bias, PRIOR)
        for layer in (self.offset, self.image_offset):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.image_offset.bias[2] = math.log(MIDDLE_DEPTH)

    def forward(self, memory: Memory) -> Heat:
        """Tokens → logits; a map without tokens is empty.

        In single precision under autocast too: peaks are compared, and depths are exponents.
        """
        with single_precision(memory.tokens):
            memory = replace(memory, tokens=memory.tokens.to(self.bev.weight.dtype))
            return Heat(bev=self.bev(memory.bev), image=self.image(memory.images),
                        views=memory.views, offset=self.offset(memory.bev),
                        image_offset=self.image_offset(memory.images))


def place_queries(config: DetectorConfig, heat: Heat, image_from_lidar: Tensor, usable: Tensor,
                  learned: Tensor) -> tuple[Tensor, Tensor]:
    """Start queries at the peaks of the heat.

    The first `DecoderConfig.placed` start where the LiDAR sees something, the next
    `DecoderConfig.placed_by_images` where the cameras do; in a frame without LiDAR all of them do
    the latter. Queries of a sensor that is not there, or that has too few tokens, stay as learned;
    one with a gain above 0 says where queries start, however small its gain.

    Args:
        config: Of the network.
        heat: Of a batch.
        image_from_lidar: (B, V, 4, 4) projections, see `Batch`.
        usable: (B, S) bool: sensors that may say where queries start.
        learned: (B, Q, 3) learned reference points.

    Returns:
        (B, Q, 3) reference points, of which the placed ones carry no gradient; and (B, Q) int64
        the token of `Memory` that each was placed at, `NOWHERE` for the learned ones.
    """
    first, both = config.decoder.placed, config.decoder.placed + config.decoder.placed_by_images
    references = learned
    tokens = torch.full(learned.shape[:2], NOWHERE, dtype=torch.int64, device=learned.device)
    by_lidar = usable[:, :1]
    if heat.views and both > first:
        seen, token, there = _image_peaks(config, heat, image_from_lidar, usable[:, 1:], both)
        token = token + heat.bev.shape[1] * heat.bev.shape[2]
        # With a LiDAR the strongest of them go to the places behind its own.
        seen = torch.where(by_lidar[..., None], seen.roll(first, dims=1), seen)
        token = torch.where(by_lidar, token.roll(first, dims=1), token)
        there = torch.where(by_lidar, there.roll(first, dims=1), there)
        references = torch.cat([torch.where(there[..., None], seen, learned[:, :both]),
                                learned[:, both:]], dim=1)
        tokens[:, :both] = torch.where(there, token, NOWHERE)
    if heat.bev.shape[1] and first:
        seen, token = _ground_peaks(config, heat, first)
        references = torch.cat([torch.where(by_lidar[..., None], seen, references[:, :first]),
                                references[:, first:]], dim=1)
        tokens[:, :first] = torch.where(by_lidar, token, tokens[:, :first])
    return references, tokens


def unit_depth(image_from_lidar: Tensor, width: int) -> Tensor:
    """What the depths of a camera are multiplied by, to be those of a focal length of its width.

    The size of an object in pixels tells its depth over the focal length, and cameras of a rig
    differ in that. |row 0 × row 2| / |row 2|² of the projection is the focal length, whatever the
    principal point and the scale of the world.

    Args:
        image_from_lidar: (..., 4, 4).
        width: Of the image [px].

    Returns:
        (...).
    """
    across, ahead = image_from_lidar[..., 0, :3], image_from_lidar[..., 2, :3]
    focal = torch.linalg.cross(across, ahead).norm(dim=-1) / ahead.square().sum(dim=-1)
    return width / focal


def _peak_heights(scores: Tensor) -> Tensor:
    """(N, K, rows, columns) → (N, rows·columns) the highest peak in each token; none: -inf."""
    peaks = F.max_pool2d(scores, 3, 1, 1) == scores
    peaks.index_fill_(1, numbers(CROWDED, peaks.device), True)
    highest = scores.masked_fill(~peaks, -torch.inf).amax(dim=1)  # over the classes
    return highest.flatten(1)


def _ground_peaks(config: DetectorConfig, heat: Heat, count: int) -> tuple[Tensor, Tensor]:
    """The highest peaks over the bird's-eye view: (B, count, 3) in [0, 1], and their tokens."""
    rows, columns = heat.bev.shape[1:3]
    index = _peak_heights(heat.bev.detach().permute(0, 3, 1, 2)).topk(count, dim=1).indices
    y = (torch.div(index, columns, rounding_mode="floor") + 0.5) / rows
    x = (index % columns + 0.5) / columns
    middle = torch.stack([x, y, torch.full_like(x, HEIGHT)], dim=-1)
    offset = heat.offset.detach().flatten(1, 2).gather(1, index[..., None].expand(-1, -1, 3))
    low, high = range_limits(config, middle)
    return (middle + offset.to(middle.dtype) / (high - low)).clamp(0.0, 1.0), index


def _image_peaks(config: DetectorConfig, heat: Heat, image_from_lidar: Tensor, usable: Tensor,
                 count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The highest peaks over all images of a frame: (B, count, 3) in [0, 1], and their tokens.

    And (B, count) bool whether there are so many: one camera may have fewer tokens than that.
    """
    image = config.image
    assert image is not None
    rows, columns = heat.image.shape[2:4]
    highest = _peak_heights(heat.image.detach().flatten(0, 1).permute(0, 3, 1, 2))
    highest = highest.unflatten(0, heat.image.shape[:2])
    highest = highest.masked_fill(~picked(usable, 1, heat.views)[..., None],
                                  -torch.inf).flatten(1)
    best = highest.topk(min(count, highest.shape[1]), dim=1)
    missing = (0, count - best.indices.shape[1])
    index, there = F.pad(best.indices, missing), F.pad(best.values > -torch.inf, missing)
    projections = picked(image_from_lidar, 1, heat.views)
    said = heat.image_offset.detach().to(projections.dtype).flatten(1, 3)
    said = said.gather(1, index[..., None].expand(-1, -1, 3))
    view = torch.div(index, rows * columns, rounding_mode="floor")
    token = index % (rows * columns)
    u = (token % columns + 0.5 + said[..., 0]) * (image.width / columns)
    v = (torch.div(token, columns, rounding_mode="floor") + 0.5 + said[..., 1]) * (
        image.height / rows)
    depth = said[..., 2].clamp(max=6.0).exp() / unit_depth(projections, image.width).gather(1, view)
    back = inverse(projections)  # (B, views, 4, 4)
    back = back.gather(1, view[..., None, None].expand(-1, -1, 4, 4))
    pixel = torch.stack([u * depth, v * depth, depth, torch.ones_like(depth)], dim=-1)
    with single_precision(back):  # half precision would move a place by metres
        xyz = (back @ pixel[..., None])[..., :3, 0]
    low, high = range_limits(config, xyz)
    return ((xyz - low) / (high - low)).clamp(0.0, 1.0), index, there
