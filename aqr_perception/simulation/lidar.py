"""One sweep of a spinning LiDAR: rolling, moving, noisy, and blind where too little comes back."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry import rigid
from aqr_perception.simulation.ground import ROUGHNESS
from aqr_perception.simulation.materials import Material, column
from aqr_perception.simulation.mesh import Mesh
from aqr_perception.simulation.rig import RigLidar
from aqr_perception.simulation.tracing import NO_HIT, Hits, RayScene, TracedWorld, dot
from aqr_perception.simulation.weather import Weather

POINT_GRID = 256.0
"""Steps a metre that a range is digitised in (4 mm, as 32-beam scanners do: 2 mm)."""
SLICES = 10
"""Moments that a sweep is cut into; what moves stands still for a tenth of a turn (5 ms)."""


@dataclass(frozen=True)
class Sweep:
    """What a sweep gave.

    Attributes:
        points: (N, 5) float32 x, y, z [m] in the LiDAR frame at the stamp, the car's own motion
            taken out; intensity 0..1; dt 0. Beams without a return lie at the sensor's place, as
            in nuScenes.
        ring: (N,) uint8 laser, 0 the lowest.
        actor: (N,) int32 track number that the beam met, -1 scenery, -2 nothing.
    """

    points: NDArray[np.float32]
    ring: NDArray[np.uint8]
    actor: NDArray[np.int32]


class SpinningLidar:
    """A LiDAR on a car; what it sees of the car itself is the same in each sweep."""

    def __init__(self, lidar: RigLidar, ego: Mesh) -> None:
        self.lidar = lidar
        self.directions = lidar.directions()
        lidar_from_ego = rigid.inverse(lidar.ego_from_lidar)
        body = RayScene(ego.moved(lidar_from_ego).triangles)
        flat = self.directions.reshape(-1, 3)
        self.own, _ = body.first(np.zeros_like(flat), flat)

    def sweep(self, traced: TracedWorld, stamp: float, rng: np.random.Generator) -> Sweep:
        """Scan the world; the last column fires at ``stamp`` [s]."""
        columns, rings = self.directions.shape[:2]
        origins, directions = self._rays(traced, stamp)
        distance = np.full(columns * rings, NO_HIT, np.float32)
        strength = np.zeros(columns * rings, np.float32)
        actor = np.full(columns * rings, -2, np.int32)
        edges = np.linspace(0, columns, SLICES + 1).astype(int)
        for first, last in itertools.pairwise(edges):
            middle = (first + last) // 2
            way = directions[middle, rings // 2]
            moment = traced.moment(stamp + float(self.lidar.delays_s[middle]),
                                   origins[middle, 0].astype(np.float64),
                                   float(np.arctan2(way[1], way[0])),
                                   np.pi / SLICES + .05, self.lidar.farthest)
            rays = slice(first * rings, last * rings)
            start, way_out = (array[first:last].reshape(-1, 3) for array in (origins, directions))
            hits = moment.trace(start, way_out)
            strength[rays], nearer = _reflected(hits, start, way_out, traced, rng)
            distance[rays] = hits.distance - nearer
            actor[rays] = np.where(hits.distance < NO_HIT, hits.surface("actor"), -2)
        return self._received(distance, strength, actor, origins.reshape(-1, 3),
                              directions.reshape(-1, 3), traced, stamp, rng)

    def _rays(self, traced: TracedWorld, stamp: float
              ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Origins and directions (C, R, 3) in the world, each column from where the car then is."""
        knots = np.linspace(self.lidar.delays_s[0], self.lidar.delays_s[-1], 5)
        poses = np.stack([traced.world.world_from_ego(stamp + float(delay))
                          @ self.lidar.ego_from_lidar for delay in knots])
        between = np.stack([np.interp(self.lidar.delays_s, knots, poses[:, i, j])
                            for i in range(3) for j in range(4)], 1).reshape(-1, 3, 4)
        directions = self.directions @ between[:, :, :3].transpose(0, 2, 1).astype(np.float32)
        directions /= np.sqrt(np.square(directions).sum(-1, keepdims=True))
        origins = np.broadcast_to(between[:, None, :, 3], directions.shape).astype(np.float32)
        return np.ascontiguousarray(origins), np.ascontiguousarray(directions)

    def _received(self, distance: NDArray[np.float32], strength: NDArray[np.float32],
                  actor: NDArray[np.int32], origins: NDArray[np.float32],
                  directions: NDArray[np.float32], traced: TracedWorld, stamp: float,
                  rng: np.random.Generator) -> Sweep:
        """Noise, weather, the car's own body and the detection threshold."""
        lidar, weather, count = self.lidar, traced.world.weather, len(distance)
        rings = len(lidar.elevations)
        body = self.own < distance
        distance = np.where(body, self.own, distance)
        actor = np.where(body, -1, actor)
        strength = np.where(body, 6.0, strength).astype(np.float32)
        early = _in_the_air(count, weather, rng)
        in_air = early < distance
        distance = np.where(in_air, early, distance)
        actor = np.where(in_air, -1, actor)
        strength = np.where(in_air, rng.uniform(1, 12, count), strength)
        air = np.exp(-2 * (weather.fog + .003 * weather.rain) * distance)
        strength = strength * np.exp(rng.normal(0, .22, count))
        faint = strength * air < lidar.intensity_floor * distance ** 2
        seen = ((distance < lidar.farthest) & (distance > lidar.nearest) & ~faint
                & (rng.random(count) > .006))
        measured = distance + rng.normal(0, lidar.range_noise, count)
        world = origins + np.where(seen, measured, 0.0)[:, None] * directions
        lidar_from_world = rigid.inverse(traced.world.world_from_ego(stamp) @ lidar.ego_from_lidar)
        points = np.zeros((count, 5), np.float32)
        local = rigid.transform_points(lidar_from_world, world.astype(np.float64))
        points[:, :3] = np.round(local * POINT_GRID) / POINT_GRID
        level = np.where(seen, strength, rng.gamma(1.0, 12.0, count))
        points[:, 3] = np.clip(np.round(level), 0, 255) / 255
        ring = np.tile(np.arange(rings, dtype=np.uint8), count // rings)
        return Sweep(points, ring, np.where(seen, actor, -2).astype(np.int32))


def _reflected(hits: Hits, origins: NDArray[np.float32], directions: NDArray[np.float32],
               traced: TracedWorld, rng: np.random.Generator
               ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What comes back from each hit: calibrated intensity 0..255, and from how much nearer [m].

    The intensity is 0 where nothing comes back. Grass and soil meet the beam before their level.
    """
    count = len(hits.distance)
    material = np.asarray(hits.surface("material"))
    strength = np.asarray(hits.surface("reflectivity")).copy()
    nearer = np.zeros(count, np.float32)
    facing = np.abs(dot(np.asarray(hits.surface("normal")), directions))
    ground = np.flatnonzero((material == Material.GROUND) & (hits.distance < NO_HIT))
    if len(ground):
        where = origins[ground] + hits.distance[ground, None] * directions[ground]
        cover = traced.world.ground.surface_at(where[:, 0], where[:, 1])
        strength[ground] = traced.world.ground.reflectivity[cover]
        height = np.abs(rng.standard_normal(len(ground), np.float32)) * ROUGHNESS[cover]
        nearer[ground] = np.minimum(height / np.maximum(facing[ground], .05), .8)
    # Rough surfaces scatter evenly, glossy ones send a slanting beam away, retro ones return it.
    exponent = np.where(column("gloss")[material] > .015, np.float32(1.5), np.float32(.4))
    exponent[(material == Material.RETRO) | (material == Material.FOLIAGE)] = 0
    exponent[material == Material.GROUND] = .4
    strength *= np.clip(facing, .02, 1) ** exponent
    lost = column("lidar_pass")[material]
    wet = traced.world.weather.wetness
    lost = np.where(material == Material.GROUND, lost + .3 * wet * (1 - facing), lost)
    strength[(rng.random(count) < lost) | (hits.distance >= NO_HIT)] = 0
    return strength, nearer


def _in_the_air(count: int, weather: Weather, rng: np.random.Generator) -> NDArray[np.float64]:
    """Range at which each beam meets a drop or dense fog; infinite for most."""
    density = .004 * weather.rain + .25 * max(weather.fog - .004, 0.0)
    if density <= 0:
        return np.full(count, np.inf)
    met = rng.random(count) < density * 4
    return np.where(met, 1.5 + rng.exponential(5.0, count), np.inf)
