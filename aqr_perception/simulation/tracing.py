"""Rays against the world: what stands still is one Embree scene a drive, what moves one a moment.

A moment is an instant of time: each camera has its own, and a LiDAR sweep is cut into several.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

from aqr_perception.geometry import rigid
from aqr_perception.simulation.draft import Actor
from aqr_perception.simulation.materials import column
from aqr_perception.simulation.mesh import Mesh
from aqr_perception.simulation.world import World

NO_HIT = np.float32(1e6)
_LUMINANCE = np.array([.21, .72, .07], np.float32)


def dot(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) inner products of rows of three; several times faster than a sum over axis 1."""
    return a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2] * b[:, 2]


@dataclass(frozen=True)
class Surfaces:
    """What each triangle of a scene is, for shading and for the LiDAR.

    Attributes:
        normal: (N, 3) float32 unit normals, either way.
        material: (N,) uint8.
        color: (N, 3) float32.
        style: (N,) uint16.
        actor: (N,) int32 track number, -1 for scenery.
        reflectivity: (N,) float32 LiDAR intensity 0..255 of a surface that faces the beam.
    """

    normal: NDArray[np.float32]
    material: NDArray[np.uint8]
    color: NDArray[np.float32]
    style: NDArray[np.uint16]
    actor: NDArray[np.int32]
    reflectivity: NDArray[np.float32]

    @staticmethod
    def of(mesh: Mesh, actor: NDArray[np.int32], shine: NDArray[np.float32]) -> Surfaces:
        """Of a mesh; ``shine`` (N,) varies reflectivity from object to object."""
        edges = mesh.triangles[:, 1:] - mesh.triangles[:, :1]
        a, b = edges[:, 0], edges[:, 1]
        normal = np.stack([a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1],
                           a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2],
                           a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]], 1)
        normal /= np.maximum(np.sqrt(np.square(normal).sum(1, keepdims=True)), 1e-20)
        base, gain = column("lidar_base")[mesh.material], column("lidar_gain")[mesh.material]
        return Surfaces(normal, mesh.material, mesh.color, mesh.style, actor,
                        (base + gain * (mesh.color @ _LUMINANCE)) * shine)

    @staticmethod
    def joined(parts: Sequence[Surfaces]) -> Surfaces:
        """One table of several."""
        return Surfaces(*(np.concatenate([getattr(part, name) for part in parts])
                          for name in Surfaces.__dataclass_fields__))

    def turned(self, rotation: NDArray[np.float32]) -> Surfaces:
        """The same with normals turned."""
        return Surfaces(self.normal @ rotation.T, self.material, self.color, self.style,
                        self.actor, self.reflectivity)


class RayScene:
    """Triangles that rays can be sent at. Single-threaded and deterministic."""

    def __init__(self, triangles: NDArray[np.float32]) -> None:
        self.count = len(triangles)
        if self.count:
            self._scene = EmbreeScene()
            self._mesh = TriangleMesh(self._scene, np.ascontiguousarray(triangles, np.float32))

    def first(self, origins: NDArray[np.float32], directions: NDArray[np.float32]
              ) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Distance (N,) to the first triangle (`NO_HIT` if none) and its number (-1)."""
        if not self.count or not len(origins):
            return (np.full(len(origins), NO_HIT, np.float32), np.full(len(origins), -1, np.int32))
        result = self._scene.run(origins, directions, output=True)
        return np.minimum(result["tfar"], NO_HIT), result["primID"]

    def blocked(self, origins: NDArray[np.float32], directions: NDArray[np.float32],
                reach: float | None = None) -> NDArray[np.bool_]:
        """Whether anything stands in the way (within ``reach`` [m])."""
        if not self.count or not len(origins):
            return np.zeros(len(origins), bool)
        if reach is None:
            return np.asarray(self._scene.run(origins, directions, query="OCCLUDED") != -1)
        limit = np.full(len(origins), reach, np.float32)
        return np.asarray(self._scene.run(origins, directions, limit, query="OCCLUDED") != -1)


@dataclass(frozen=True)
class Hits:
    """Where N rays ended.

    Attributes:
        distance: (N,) float32 [m]; `NO_HIT` for the sky.
        moment: What they were sent at.
        triangle: (N,) number in the scene of what stands, -1 if it was not that.
        moving: (N,) number in the scene of what moves, -1 if it was not that.
    """

    distance: NDArray[np.float32]
    moment: Moment
    triangle: NDArray[np.int32]
    moving: NDArray[np.int32]

    def surface(self, name: str, chosen: NDArray[np.integer] | slice = slice(None)
                ) -> NDArray[np.generic]:
        """One column of `Surfaces` at the chosen hits; sky rays get that of triangle 0."""
        triangle, moving = self.triangle[chosen], self.moving[chosen]
        out = getattr(self.moment.standing, name)[np.maximum(triangle, 0)]
        other = np.flatnonzero(moving >= 0)
        if len(other):
            out[other] = getattr(self.moment.moved, name)[moving[other]]
        return np.asarray(out)


@dataclass(frozen=True)
class Moment:
    """The world at one instant.

    Attributes:
        t: Time [s].
        standing: What the triangles of ``still`` are.
        still: What stands.
        moved: What the triangles of ``moving`` are.
        moving: What moves, where it is at t.
        band: Lowest and highest z of the unit vectors from the eye to anything that moves: most
            rays pass above or below, and need not be asked.
    """

    t: float
    standing: Surfaces
    still: RayScene
    moved: Surfaces
    moving: RayScene
    band: tuple[float, float]

    def trace(self, origins: NDArray[np.float32], directions: NDArray[np.float32]) -> Hits:
        """First hits of rays (N, 3) from about the moment's eye, with unit directions."""
        distance, triangle = self.still.first(origins, directions)
        moving = np.full(len(origins), -1, np.int32)
        low, high = self.band
        asked = np.flatnonzero((directions[:, 2] > low) & (directions[:, 2] < high))
        if self.moving.count and len(asked):
            other, number = self.moving.first(origins[asked], directions[asked])
            nearer = other < distance[asked]
            asked = asked[nearer]
            distance[asked], triangle[asked] = other[nearer], -1
            moving[asked] = number[nearer]
        return Hits(distance, self, triangle, moving)

    def blocked(self, origins: NDArray[np.float32], directions: NDArray[np.float32],
                reach: float | None = None) -> NDArray[np.bool_]:
        """Whether anything stands in the way."""
        out = self.still.blocked(origins, directions, reach)
        return out | self.moving.blocked(origins, directions, reach)


class TracedWorld:
    """A world made ready for rays."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self.world = world
        shines = np.exp(rng.normal(0, .35, len(world.actors))).astype(np.float32)
        meshes, tables = [world.scenery], [Surfaces.of(
            world.scenery, np.full(len(world.scenery), -1, np.int32),
            np.ones(len(world.scenery), np.float32))]
        self.movers: list[tuple[Actor, Surfaces]] = []
        for actor, shine in zip(world.actors, shines):
            mesh, count = actor.model.mesh, len(actor.model.mesh)
            table = Surfaces.of(mesh, np.full(count, actor.track_id, np.int32),
                                np.full(count, shine, np.float32))
            if actor.motion.moves:
                self.movers.append((actor, table))
                continue
            pose, _ = world.world_from_actor(actor, 0.0)
            meshes.append(mesh.moved(pose))
            tables.append(table.turned(pose[:3, :3].astype(np.float32)))
        self.standing = Surfaces.joined(tables)
        self.still = RayScene(np.concatenate([mesh.triangles for mesh in meshes]))
        self._nothing = Surfaces.of(Mesh.joined([]), np.zeros(0, np.int32), np.zeros(0, np.float32))

    def moment(self, t: float, eye: NDArray[np.float64], heading: float = 0.0,
               half_angle: float = np.pi, reach: float = 105.0) -> Moment:
        """The world at time t, with the movers that can be seen from a place.

        Args:
            t: Time [s].
            eye: (3,) where the rays will start, world.
            heading: Middle of the rays' directions [rad], world.
            half_angle: Half the angle they fill, seen from above [rad].
            reach: Distance beyond which nothing matters [m].
        """
        triangles, tables = [], []
        for actor, table in self.movers:
            pose, _ = self.world.world_from_actor(actor, t)
            if not _in_sector(pose[:2, 3] - eye[:2], float(actor.model.size[0]), heading,
                              half_angle, reach):
                continue
            triangles.append(rigid.transform_points(pose, actor.model.mesh.triangles))
            tables.append(table.turned(pose[:3, :3].astype(np.float32)))
        moved = Surfaces.joined(tables) if tables else self._nothing
        stack = np.concatenate(triangles) if triangles else np.zeros((0, 3, 3), np.float32)
        return Moment(t, self.standing, self.still, moved, RayScene(stack), _band(stack, eye))


def _band(triangles: NDArray[np.float32], eye: NDArray[np.float64]) -> tuple[float, float]:
    """Range of the z of unit vectors from an eye to triangles, with room for an eye 1 m off."""
    if not len(triangles):
        return 1.0, -1.0
    way = triangles.reshape(-1, 3) - eye.astype(np.float32)
    distance = np.sqrt(dot(way, way))
    if distance.min() < 3.0:
        return -1.1, 1.1
    room = 1.5 / distance
    slope = way[:, 2] / distance
    return float((slope - room).min()), float((slope + room).max())


def _in_sector(offset: NDArray[np.float64], size: float, heading: float, half_angle: float,
               reach: float) -> bool:
    distance = float(np.hypot(*offset))
    if distance > reach + size:
        return False
    if distance < size + 1 or half_angle >= np.pi:
        return True
    off = abs(float(rigid.wrap_angle(np.arctan2(offset[1], offset[0]) - heading)))
    return off < half_angle + float(np.arcsin(min(1.0, size / distance)))
