"""The frame before, seen from now: what separates a sensor that lies from one that is lied about.

A sensor that is frozen shows its old picture where it was, not where the car's motion has taken it;
a healthy one agrees with all sensors of the frame before once that frame is moved by the motion.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aqr_perception.model.aqr.agreement import (
    GROUPS,
    Descriptors,
    Edge,
    SensorMaps,
    agreement,
    cameras_against_cameras,
    pooled,
)
from aqr_perception.model.aqr.config import GateConfig
from aqr_perception.model.aqr.places import bev_coordinates, sample
from aqr_perception.model.aqr.routing import Scene
from aqr_perception.model.position import inverse

if TYPE_CHECKING:
    from aqr_perception.model.aqr.alignment import Alignment

HEIGHT = -1.0
"""Height [m] in the model frame at which cells are moved: about that of a car's middle."""


@dataclass(frozen=True)
class TemporalMemory:
    """What is kept of a frame for the next one; nothing in it carries a gradient.

    Attributes:
        maps: Its narrow maps and calibrations.
        fixed_from_model: (B, 4, 4) float64 pose; NaN where unknown.
        valid: (B,) bool, False where there is no frame before.
        trust: (B, S) 0 to 1, what the gate thought of each sensor: who began to lie shows when it
            begins, and hardly later, when a frozen sensor agrees with its own past.
        alignment: How its sensors were put right; None where nothing is.
    """

    maps: SensorMaps
    fixed_from_model: Tensor
    valid: Tensor
    trust: Tensor
    alignment: Alignment | None = None

    def take(self, index: Tensor, valid: Tensor | None = None) -> TemporalMemory:
        """Reorder frames, for batches whose frames follow each other in some other order.

        Args:
            index: (B',) int64 which entry becomes the memory of each frame.
            valid: (B',) bool, False for frames without one.
        """
        maps = SensorMaps(**{part.name: getattr(self.maps, part.name)[index]
                             for part in fields(SensorMaps)})
        kept = self.valid[index] if valid is None else self.valid[index] & valid
        alignment = None if self.alignment is None else self.alignment.take(index)
        return TemporalMemory(maps, self.fixed_from_model[index], kept, self.trust[index],
                              alignment)


def trust_before(maps: SensorMaps, before: TemporalMemory | None, config: GateConfig) -> Tensor:
    """(B, S) what was thought of the sensors in the frame before; 1 where nothing was."""
    if before is None or not config.time:
        return torch.ones_like(maps.present, dtype=maps.bev.dtype)
    there = before.valid[:, None]
    return before.trust.to(maps.bev.dtype).where(there, torch.ones_like(before.trust))


def remember(maps: SensorMaps, scene: Scene, trust: Tensor) -> TemporalMemory:
    """Keep a frame.

    Args:
        maps: Of its sensors.
        scene: The frame.
        trust: (B, S) what is thought of each sensor.
    """
    detached = SensorMaps(**{part.name: getattr(maps, part.name).detach()
                             for part in fields(SensorMaps)})
    pose = scene.batch.fixed_from_model
    there = torch.ones(len(pose), dtype=torch.bool, device=pose.device)
    return TemporalMemory(detached, pose, there, trust.detach())


@dataclass(frozen=True)
class TemporalEvidence:
    """Agreement of this frame's sensors with the last frame's; 0 and masked where there is none.

    Attributes:
        valid: (B,) bool.
        motion: (B, 3) how far the car moved [m], its turn [rad] and 1 where valid.
        moved: Edge (B, S, S): this frame's sensor (row) against the last one's (column), moved.
        still: Edge (B, S): each sensor against its own last frame, not moved: near 1 if frozen.
        bev: (B, GROUPS, H, W) agreement in each cell of the bird's-eye view, moved.
        columns: (B, V, W, GROUPS) agreement in each image column with the same camera, moved.
    """

    valid: Tensor
    motion: Tensor
    moved: Edge
    still: Edge
    bev: Tensor
    columns: Tensor


def compare(scene: Scene, maps: SensorMaps, before: TemporalMemory | None, config: GateConfig,
            descriptors: Descriptors) -> TemporalEvidence:
    """Compare a frame with the one before.

    Args:
        scene: This frame.
        maps: Its maps.
        before: The last frame's memory; None where there is none.
        config: The gate's.
        descriptors: Describes rays through the bird's-eye view.
    """
    if before is None or not config.time:
        return _nothing(maps)
    before_from_now, valid, motion = _motion(scene, before, config, maps.bev)
    then = before.maps
    usable = maps.present[:, :, None] & then.present[:, None, :] & valid[:, None, None]
    cells, lidar = _moved_bev(scene, maps, then, before_from_now)
    to_lidar = _against_lidar(maps.columns, _move(maps.rays, before_from_now), then.bev, scene,
                              descriptors)
    now_from_before = inverse(before_from_now)
    from_lidar = _against_lidar(then.columns, _move(then.rays, now_from_before), maps.bev, scene,
                                descriptors)
    values, shared = cameras_against_cameras(
        maps.columns, _move(maps.middle, before_from_now), then.columns, then.image_from_model,
        then.present[:, 1:], scene.image_size)
    moved = _edges(lidar, from_lidar, to_lidar, pooled(values, shared), usable)
    own = torch.diagonal(usable, dim1=1, dim2=2)
    columns = torch.diagonal(values, dim1=1, dim2=2).permute(0, 3, 1, 2)
    return TemporalEvidence(valid, motion, moved, _still(maps, then, own),
                            cells * own[:, 0, None, None, None], columns * own[:, 1:, None, None])


def _nothing(maps: SensorMaps) -> TemporalEvidence:
    """There is no frame before."""
    count, sensors = maps.present.shape
    zeros = maps.bev.new_zeros
    return TemporalEvidence(
        torch.zeros_like(maps.present[:, 0]), zeros(count, 3),
        Edge(zeros(count, sensors, sensors, GROUPS), zeros(count, sensors, sensors)),
        Edge(zeros(count, sensors, GROUPS), zeros(count, sensors)),
        zeros(count, GROUPS, *maps.bev.shape[-2:]), zeros(*maps.columns.shape[:3], GROUPS))


def _motion(scene: Scene, before: TemporalMemory, config: GateConfig, like: Tensor
            ) -> tuple[Tensor, Tensor, Tensor]:
    """before_from_now (B, 4, 4), which are valid, and the size of the motion (B, 3)."""
    now, then = scene.batch.fixed_from_model, before.fixed_from_model
    known = before.valid & now.isfinite().all(-1).all(-1) & then.isfinite().all(-1).all(-1)
    identity = torch.eye(4, dtype=now.dtype, device=now.device)
    matrix = (inverse(then.where(known[:, None, None], identity))
              @ now.where(known[:, None, None], identity))
    distance = matrix[:, :3, 3].norm(dim=1)
    valid = known & (distance <= config.max_motion)
    matrix = matrix.where(valid[:, None, None], identity)
    turn = torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0]).abs()
    motion = torch.stack([distance * valid, turn, valid.to(distance.dtype)], dim=1)
    return matrix.to(like.dtype), valid, motion.to(like.dtype)


def _move(points: Tensor, dst_from_src: Tensor) -> Tensor:
    """Points (B, ..., 3) by one transform (B, 4, 4) a frame."""
    flat = points.flatten(1, -2)
    moved = flat @ dst_from_src[:, :3, :3].transpose(1, 2) + dst_from_src[:, None, :3, 3]
    return moved.view_as(points)


def _moved_bev(scene: Scene, maps: SensorMaps, then: SensorMaps, before_from_now: Tensor
               ) -> tuple[Tensor, Edge]:
    """(B, GROUPS, H, W) agreement of each cell with the one that the motion has brought there, and
    the mean over the cells with points.
    """
    height, width = maps.bev.shape[-2:]
    low, high = scene.detection_range[:2], scene.detection_range[3:5]
    x, y = (torch.linspace(0, 1, 2 * n + 1, device=maps.bev.device, dtype=maps.bev.dtype)[1::2]
            * (high[axis] - low[axis]) + low[axis] for axis, n in ((0, width), (1, height)))
    cells = torch.stack([x.expand(height, width), y[:, None].expand(height, width),
                         torch.full_like(x, HEIGHT).expand(height, width)], dim=-1).flatten(0, 1)
    coordinates = bev_coordinates(_move(cells.expand(len(maps.bev), -1, -1), before_from_now),
                                  scene.detection_range)
    old = sample(torch.cat([then.bev, then.occupancy], dim=1), coordinates)
    old = old.transpose(1, 2).unflatten(2, (height, width))
    inside = (coordinates.abs() <= 1).all(-1).unflatten(1, (height, width))
    return _compared(maps.bev, old[:, :-1], maps.occupancy[:, 0], old[:, -1], inside)


def _compared(bev: Tensor, old: Tensor, points: Tensor, old_points: Tensor, inside: Tensor
              ) -> tuple[Tensor, Edge]:
    """Correlation (B, GROUPS, H, W) of two bird's-eye views, and its mean where either has points.

    Args:
        bev: (B, c, H, W).
        old: Likewise.
        points: (B, H, W) of the first; 0 where there is none.
        old_points: Of the second.
        inside: (B, H, W) bool: cells that the second has.
    """
    same = (bev * old).unflatten(1, (GROUPS, -1)).mean(2)
    weight = (inside & ((points > 0) | (old_points > 0))).to(same.dtype)[:, None]
    total = weight.sum((2, 3))
    mean = (same * weight).sum((2, 3)) / total.clamp(min=1.0)
    return same * inside[:, None], Edge(mean, total[:, 0] / weight[0, 0].numel())


def _against_lidar(columns: Tensor, points: Tensor, bev: Tensor, scene: Scene,
                   descriptors: Descriptors) -> Edge:
    """Edge (B, V) of image columns against a bird's-eye view along their rays."""
    along = descriptors.lidar_columns(bev, points, scene.detection_range)
    values = agreement(columns, along)
    return pooled(values, torch.ones_like(values[..., 0], dtype=torch.bool))


def _edges(lidar: Edge, lidar_to_cameras: Edge, cameras_to_lidar: Edge, cameras: Edge,
           usable: Tensor) -> Edge:
    """Put the four blocks of (B, S, S) together; rows are this frame's sensors."""
    def block(name: str) -> Tensor:
        parts = [getattr(edge, name) for edge in (lidar, lidar_to_cameras, cameras_to_lidar,
                                                  cameras)]
        top = torch.cat([parts[0][:, None], parts[1]], dim=1)[:, None]
        below = torch.cat([parts[2][:, :, None], parts[3]], dim=2)
        return torch.cat([top, below], dim=1)
    return Edge(block("values") * usable[..., None], block("overlap") * usable)


def _still(maps: SensorMaps, then: SensorMaps, usable: Tensor) -> Edge:
    """Edge (B, S) of each sensor against its own last frame, place by place."""
    count, views = maps.columns.shape[:2]
    lidar = Edge(maps.bev.new_zeros(count, GROUPS), maps.bev.new_zeros(count))
    if maps.bev.shape == then.bev.shape:
        everywhere = torch.ones_like(maps.occupancy[:, 0], dtype=torch.bool)
        _, lidar = _compared(maps.bev, then.bev, maps.occupancy[:, 0], then.occupancy[:, 0],
                             everywhere)
    cameras = Edge(maps.bev.new_zeros(count, views, GROUPS), maps.bev.new_zeros(count, views))
    if maps.columns.shape == then.columns.shape:
        same = agreement(maps.columns, then.columns)
        cameras = pooled(same, torch.ones_like(same[..., 0], dtype=torch.bool))
    return Edge(torch.cat([lidar.values[:, None], cameras.values], 1) * usable[..., None],
                torch.cat([lidar.overlap[:, None], cameras.overlap], 1) * usable)
