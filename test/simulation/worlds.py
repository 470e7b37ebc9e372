"""Small worlds whose geometry is known on paper."""

from __future__ import annotations

import numpy as np

from aqr_perception.geometry import rigid
from aqr_perception.simulation.catalogue import Model
from aqr_perception.simulation.draft import Actor
from aqr_perception.simulation.ground import SurfacePainter, finish, ground_mesh
from aqr_perception.simulation.materials import Material
from aqr_perception.simulation.mesh import Mesh, MeshBuilder
from aqr_perception.simulation.motion import Motion, Profile
from aqr_perception.simulation.rig import SensorRig, load_rig
from aqr_perception.simulation.roadmap import Lane, RoadFrame, RoadMap, Terrain
from aqr_perception.simulation.weather import Weather
from aqr_perception.simulation.world import World
from aqr_perception.types import CLASS_NAMES

GREY = np.array([.4, .4, .4])


def flat_plan(curvature: float = 0.0) -> RoadMap:
    """A level road 8 m wide and without crossings: nothing but its kerbs stands out."""
    return RoadMap(frame=RoadFrame(curvature), terrain=Terrain.flat(), start=-110.0, end=130.0,
                   reach=95.0, lanes=(Lane(-2.0, 4.0, 1), Lane(2.0, 4.0, -1)), right=-4.0,
                   left=4.0, median=None, crossings=(), pavement=3.0, left_hand=False)


def clear_day() -> Weather:
    """Dry air and a high sun."""
    light = np.ones(3, np.float32)
    return Weather(sun=np.array([.3, .2, .93], np.float32), sun_light=2 * light,
                   sky_light=light, ground_light=.2 * light, horizon=.8 * light,
                   zenith=.5 * light, clouds=0.0, cloud_seed=0, fog=0.0, rain=0.0, wetness=0.0)


def block(size: tuple[float, float, float], material: Material = Material.CONCRETE) -> Mesh:
    """A solid box."""
    build = MeshBuilder()
    build.box([0, 0, 0], size, material, GREY)
    return build.build()


def actor(name: str, size: tuple[float, float, float], motion: Motion, track_id: int,
          mesh: Mesh | None = None) -> Actor:
    """An annotated object; a solid box unless it brings a mesh."""
    model = Model(CLASS_NAMES.index(name), np.array(size), block(size) if mesh is None else mesh)
    return Actor(model, motion, track_id)


def world_of(*actors: Actor, speed: float = 0.0, curvature: float = 0.0) -> World:
    """A flat world with some actors, the car at s = 0 in the right lane."""
    plan = flat_plan(curvature)
    rng = np.random.default_rng(0)
    ground = finish(SurfacePainter.blank(plan), rng, 0.0)
    ego = Motion(0.0, -2.0, 0.0, Profile(speed))
    return World(plan, ground, ground_mesh(plan, rng), actors, ego, clear_day())


def exact_rig() -> SensorRig:
    """The nuScenes rig with small pictures and without noise of range."""
    from dataclasses import replace

    rig = load_rig().resized(176, 64)
    return replace(rig, lidar=replace(rig.lidar, range_noise=0.0))


def lidar_pose(world: World, rig: SensorRig, t: float) -> rigid.Matrix:
    """(4, 4) world from LiDAR."""
    return world.world_from_ego(t) @ rig.lidar.ego_from_lidar
