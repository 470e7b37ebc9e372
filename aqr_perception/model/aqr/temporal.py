"""The frame before, seen from now: what separates a sensor that lies from one that is lied about.

A sensor that is frozen shows its old picture where it was, not where the car's motion has taken it;
a healthy one agrees with all sensors of the frame before once that frame is moved by the motion.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from aqr_perception.model.aqr.agreement import (
    GROUPS,
    OVERLAP_DEPTH,
    Descriptors,
    Edge,
    SensorMaps,
    agreement,
    cameras_against_cameras,
    column_rays,
    pooled,
    ray_depths,
)
from aqr_perception.model.aqr.config import GateConfig
from aqr_perception.model.aqr.places import bev_coordinates, sample
from aqr_perception.model.aqr.routing import Scene


@dataclass(frozen=True)
class TemporalMemory:
    """What is kept of a frame for the next one; nothing in it carries a gradient.

    Attributes:
        maps: Its narrow maps and calibrations.
        fixed_from_model: (B, 4, 4) float64 pose; NaN where unknown.
        valid: (B,) bool, False where there is no frame before.
    """

    maps: SensorMaps
    fixed_from_model: Tensor
    valid: Tensor

    def take(self, index: Tensor, valid: Tensor | None = None) -> TemporalMemory:
        """Reorder frames, for batches whose frames follow each other in some other order.

        Args:
            index: (B',) int64 which entry becomes the memory of each frame.
            valid: (B',) bool, False for frames without one.
        """
        maps = SensorMaps(**{part.name: getattr(self.maps, part.name)[index]
                             for part in fields(SensorMaps)})
        kept = self.valid[index] if valid is None else self.valid[index] & valid
        return TemporalMemory(maps, self.fixed_from_model[index], kept)


def remember(maps: SensorMaps, scene: Scene) -> TemporalMemory:
    """Keep a frame."""
    detached = SensorMaps(**{part.name: getattr(maps, part.name).detach()
                             for part in fields(SensorMaps)})
    pose = scene.batch.fixed_from_model
    return TemporalMemory(detached, pose, torch.ones(len(pose), dtype=torch.bool,
                                                     device=pose.device))


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
    lidar_map, lidar_shared = _bev_agreement(scene, maps, then, before_from_now)
    still_map, still_shared = _bev_agreement(scene, maps, then, None)
    lidar = pooled(lidar_map.flatten(2).transpose(1, 2), lidar_shared.flatten(1))
    rays = column_rays(maps.image_from_model, scene.image_size, maps.columns.shape[2],
                       ray_depths(config, scene.detection_range, maps.bev))
    to_lidar = _against_lidar(maps.columns, _move(rays, before_from_now), then.bev, scene,
                              descriptors)
    then_rays = column_rays(then.image_from_model, scene.image_size, then.columns.shape[2],
                            ray_depths(config, scene.detection_range, maps.bev))
    now_from_before = torch.linalg.inv(before_from_now)
    from_lidar = _against_lidar(then.columns, _move(then_rays, now_from_before), maps.bev, scene,
                                descriptors)
    middle = column_rays(maps.image_from_model, scene.image_size, maps.columns.shape[2],
                         maps.bev.new_tensor([OVERLAP_DEPTH]))[:, :, :, 0]
    values, shared = cameras_against_cameras(
        maps.columns, _move(middle, before_from_now), then.columns, then.image_from_model,
        then.present[:, 1:], scene.image_size)
    moved = _edges(lidar, from_lidar, to_lidar, pooled(values, shared), usable)
    own = torch.diagonal(usable, dim1=1, dim2=2)
    still = _still(still_map, still_shared, maps, then, own)
    mask = valid[:, None, None, None]
    return TemporalEvidence(
        valid, motion, moved, still,
        lidar_map * usable[:, 0, 0, None, None, None],
        torch.diagonal(values, dim1=1, dim2=2).permute(0, 3, 1, 2)
        * own[:, 1:, None, None] * mask)


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
    matrix = (torch.linalg.inv(then.where(known[:, None, None], identity))
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


def _bev_agreement(scene: Scene, maps: SensorMaps, then: SensorMaps, before_from_now: Tensor | None
                   ) -> tuple[Tensor, Tensor]:
    """(B, GROUPS, H, W) agreement of the two bird's-eye views, and (B, H, W) where either has
    points. None moves nothing.
    """
    height, width = maps.bev.shape[-2:]
    low, high = scene.detection_range[:2], scene.detection_range[3:5]
    x, y = (torch.linspace(0, 1, 2 * n + 1, device=maps.bev.device, dtype=maps.bev.dtype)[1::2]
            * (high[axis] - low[axis]) + low[axis] for axis, n in ((0, width), (1, height)))
    cells = torch.stack([x.expand(height, width), y[:, None].expand(height, width),
                         torch.full_like(x, -1.0).expand(height, width)], dim=-1).flatten(0, 1)
    cells = cells.expand(len(maps.bev), -1, -1)
    if before_from_now is not None:
        cells = _move(cells, before_from_now)
    coordinates = bev_coordinates(cells, scene.detection_range)
    old = sample(torch.cat([then.bev, then.occupancy], dim=1), coordinates)
    unit = nn.functional.normalize
    same = agreement(unit(maps.bev.flatten(2).transpose(1, 2), dim=-1), unit(old[..., :-1], dim=-1))
    inside = (coordinates.abs() <= 1).all(-1)
    shared = inside & ((maps.occupancy.flatten(1) > 0) | (old[..., -1] > 0))
    same = same * inside[..., None]
    return same.transpose(1, 2).unflatten(2, (height, width)), shared.unflatten(1, (height, width))


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


def _still(lidar_map: Tensor, lidar_shared: Tensor, maps: SensorMaps, then: SensorMaps,
           usable: Tensor) -> Edge:
    """Edge (B, S) of each sensor against its own last frame, place by place."""
    lidar = pooled(lidar_map.flatten(2).transpose(1, 2), lidar_shared.flatten(1))
    same = (agreement(maps.columns, then.columns) if maps.columns.shape == then.columns.shape
            else maps.columns.new_zeros(*maps.columns.shape[:-1], lidar.values.shape[-1]))
    cameras = pooled(same, torch.ones_like(same[..., 0], dtype=torch.bool))
    return Edge(torch.cat([lidar.values[:, None], cameras.values], 1) * usable[..., None],
                torch.cat([lidar.overlap[:, None], cameras.overlap], 1) * usable)
