"""What is really there: boxes in the LiDAR frame, their points, and how much of each is seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry import rigid
from aqr_perception.geometry.boxes import Boxes3D, points_in_boxes
from aqr_perception.geometry.camera import PinholeCamera
from aqr_perception.simulation.draft import Actor
from aqr_perception.simulation.tracing import Moment
from aqr_perception.simulation.world import World
from aqr_perception.types import Annotations

SAMPLES = 48
"""Lines of sight a camera tries an object with."""


def boxes_at(world: World, actors: Sequence[Actor], t: float, lidar_from_world: rigid.Matrix
             ) -> Boxes3D:
    """Boxes of actors at time t [s], in the LiDAR frame."""
    if not actors:
        return Boxes3D.empty()
    poses = [world.world_from_actor(actor, t) for actor in actors]
    # Upright in the world, and upright in the LiDAR frame by definition: what is left of the
    # LiDAR's tilt is lost, as in nuScenes' own conversion.
    yaw = [rigid.yaw_of(lidar_from_world @ pose) for pose, _ in poses]
    center = rigid.transform_points(lidar_from_world, np.stack([pose[:3, 3] for pose, _ in poses]))
    velocity = rigid.rotate_vectors(lidar_from_world, np.stack(
        [np.append(velocity, 0.0) for _, velocity in poses]))[:, :2]
    return Boxes3D(center, np.stack([actor.model.size for actor in actors]), np.array(yaw),
                   velocity)


class SightLines:
    """Points on every actor's surface that cameras look for."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self.actors = world.actors
        self.samples = np.zeros((len(self.actors), SAMPLES, 3))
        self._points = np.zeros_like(self.samples)
        for k, actor in enumerate(self.actors):
            self.samples[k] = _surface_points(actor, rng)
            pose, _ = world.world_from_actor(actor, 0.0)
            self._points[k] = rigid.transform_points(pose, self.samples[k])
        self._movers = [k for k, actor in enumerate(self.actors) if actor.motion.moves]

    def seen(self, world: World, moment: Moment, camera: PinholeCamera,
             world_from_camera: rigid.Matrix) -> NDArray[np.bool_]:
        """(actors, SAMPLES) which lines of sight end on their own object, inside the picture."""
        out = np.zeros(self.samples.shape[:2], bool)
        camera_from_world, eye = rigid.inverse(world_from_camera), world_from_camera[:3, 3]
        if not self.actors:
            return out
        for k in self._movers:
            pose, _ = world.world_from_actor(self.actors[k], moment.t)
            self._points[k] = rigid.transform_points(pose, self.samples[k])
        ahead = (self._points[:, 0] - eye) @ world_from_camera[:3, 2] > -20.0  # the longest trailer
        local = rigid.transform_points(camera_from_world, self._points[ahead].reshape(-1, 3))
        _, inside = camera.project(local)
        numbers = (np.flatnonzero(ahead)[:, None] * SAMPLES + np.arange(SAMPLES)).reshape(-1)
        chosen = numbers[inside]
        way = self._points.reshape(-1, 3)[chosen] - eye
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        hits = moment.trace(np.broadcast_to(eye, way.shape).astype(np.float32),
                            way.astype(np.float32))
        own = np.array([actor.track_id for actor in self.actors])[chosen // SAMPLES]
        met = np.where((hits.triangle >= 0) | (hits.moving >= 0), hits.surface("actor"), -2)
        out.reshape(-1)[chosen] = met == own
        return out


def annotate(world: World, sight: SightLines, seen: NDArray[np.bool_], t: float,
             lidar_from_world: rigid.Matrix, points: NDArray[np.float32], reach: float
             ) -> Annotations:
    """The truth about one frame.

    Args:
        world: Where everything is.
        sight: Its actors.
        seen: (actors, SAMPLES) lines of sight that some camera found free.
        t: The LiDAR's stamp [s].
        lidar_from_world: Pose at that time.
        points: (N, 5) the cloud.
        reach: Objects farther away are left out [m].
    """
    boxes = boxes_at(world, sight.actors, t, lidar_from_world)
    near = np.flatnonzero(np.hypot(*boxes.center[:, :2].T) < reach)
    boxes = boxes[near]
    real = points[np.square(points[:, :3]).sum(1) > .25]
    return Annotations(
        boxes=boxes,
        labels=np.array([sight.actors[k].model.label for k in near], np.int64),
        num_lidar_pts=count_points(real, boxes),
        visibility=seen[near].mean(axis=1).astype(np.float32),
        track_ids=np.array([sight.actors[k].track_id for k in near], np.int64))


def count_points(points: NDArray[np.float32], boxes: Boxes3D) -> NDArray[np.int64]:
    """(M,) points in each box; as `points_in_boxes`, which sees only those near each box here."""
    ordered = points[np.argsort(points[:, 0], kind="stable")]
    reach = np.hypot(boxes.size[:, 0], boxes.size[:, 1]) / 2 + .01
    first = np.searchsorted(ordered[:, 0], boxes.center[:, 0] - reach)
    last = np.searchsorted(ordered[:, 0], boxes.center[:, 0] + reach)
    return np.array([points_in_boxes(ordered[a:b], boxes[k:k + 1]).sum()
                     for k, (a, b) in enumerate(zip(first, last))], np.int64)


def _surface_points(actor: Actor, rng: np.random.Generator) -> NDArray[np.float64]:
    """(SAMPLES, 3) points spread over the object's triangles by area."""
    corners = actor.model.mesh.triangles.astype(np.float64)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]),
                          axis=1)
    chosen = rng.choice(len(corners), SAMPLES, p=area / area.sum())
    u, v = rng.random((2, SAMPLES))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    a, b, c = corners[chosen].transpose(1, 0, 2)
    return np.asarray(a + u[:, None] * (b - a) + v[:, None] * (c - a))
