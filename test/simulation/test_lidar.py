from __future__ import annotations

import numpy as np
import pytest
from worlds import actor, exact_rig, lidar_pose, world_of

from aqr_perception.geometry import rigid
from aqr_perception.simulation import vehicles
from aqr_perception.simulation.lidar import POINT_GRID, SpinningLidar, Sweep
from aqr_perception.simulation.mesh import Mesh
from aqr_perception.simulation.motion import Motion, Profile
from aqr_perception.simulation.roadmap import KERB_HEIGHT
from aqr_perception.simulation.tracing import TracedWorld
from aqr_perception.simulation.world import EGO_MIDDLE, EGO_SIZE, World

GRID = 1 / POINT_GRID
RIG = exact_rig()


def sweep_of(world: World, t: float = 1.0, ego: Mesh | None = None) -> tuple[Sweep, np.ndarray]:
    """A sweep and its points in the world."""
    ego = Mesh.joined([]) if ego is None else ego
    rng = np.random.default_rng(1)
    sweep = SpinningLidar(RIG.lidar, ego).sweep(TracedWorld(world, rng), t, rng)
    points = rigid.transform_points(lidar_pose(world, RIG, t),
                                    sweep.points[:, :3].astype(np.float64))
    return sweep, points


@pytest.mark.parametrize("speed", [0.0, 14.0])
def test_points_of_a_flat_road_lie_on_it_however_fast_the_car_is(speed: float):
    sweep, points = sweep_of(world_of(speed=speed))
    road = (sweep.actor == -1) & (np.abs(points[:, 1]) < 3.9)
    assert road.sum() > 3000
    assert np.abs(points[road, 2]).max() < 2 * GRID
    block = (sweep.actor == -1) & (np.abs(points[:, 1]) > 4.1) & (np.abs(points[:, 1]) < 90)
    assert np.abs(points[block, 2] - KERB_HEIGHT).max() < 2 * GRID


@pytest.mark.parametrize("speed", [0.0, 14.0])
def test_points_of_a_standing_box_lie_on_its_faces(speed: float):
    size = np.array([4.0, 2.0, 1.6])
    world = world_of(actor("car", tuple(size), Motion(22.0, 2.0, turn=.4), 0), speed=speed)
    sweep, points = sweep_of(world)
    pose, _ = world.world_from_actor(world.actors[0], 1.0)
    local = rigid.transform_points(rigid.inverse(pose), points[sweep.actor == 0])
    assert len(local) > 50
    # The largest of |x|/l, |y|/w, |z|/h is exactly 1/2 on the surface of a box.
    off = np.abs(np.max(np.abs(local) - size / 2, axis=1))
    assert off.max() < 3 * GRID


def test_a_moving_box_is_where_it_was_when_the_beam_met_it():
    size = (4.0, 2.0, 1.6)
    speed, turned = 20.0, np.pi
    world = world_of(actor("car", size, Motion(40.0, 2.0, turned, Profile(speed)), 0))
    sweep, points = sweep_of(world)
    pose, velocity = world.world_from_actor(world.actors[0], 1.0)
    met = sweep.actor == 0
    # Seen in front, the sweep's middle is 25 to 50 ms before the stamp: the points lag.
    lag = (pose[:2, 3] - points[met, :2].mean(0)) @ (velocity / np.linalg.norm(velocity))
    column = np.flatnonzero(met) // len(RIG.lidar.elevations)
    delay = -RIG.lidar.delays_s[column]
    local = rigid.transform_points(rigid.inverse(pose), points[met])
    local[:, 0] += speed * delay  # forward to where the box is at the stamp
    assert met.sum() > 20
    assert lag < .5  # of its near side; its middle would be at speed · delay behind
    assert np.max(np.abs(local) - np.array(size) / 2) < speed * .0026 + 3 * GRID


def test_a_box_behind_a_bus_has_no_points():
    bus = actor("bus", (11.0, 2.9, 3.5), Motion(16.0, 2.0, turn=np.pi / 2), 0)
    hidden = actor("pedestrian", (.7, .7, 1.75), Motion(22.0, 2.5), 1)
    open_ = actor("pedestrian", (.7, .7, 1.75), Motion(22.0, 2.5), 0)
    sweep, _ = sweep_of(world_of(bus, hidden))
    assert (sweep.actor == 0).sum() > 300
    assert (sweep.actor == 1).sum() == 0
    sweep, _ = sweep_of(world_of(open_))
    assert (sweep.actor == 0).sum() > 5


def test_faint_surfaces_vanish_with_distance():
    near = actor("car", (4.0, 2.0, 1.6), Motion(15.0, 2.0), 0)
    far = actor("car", (4.0, 2.0, 1.6), Motion(90.0, -2.0), 1)
    sweep, _ = sweep_of(world_of(near, far))
    level = sweep.points[:, 3] * 255
    distance = np.linalg.norm(sweep.points[:, :3], axis=1)
    seen = sweep.actor >= -1
    # What is weaker than the floor is not seen; the noise of reflection comes before the floor.
    assert (level[seen] >= np.floor(RIG.lidar.intensity_floor * distance[seen] ** 2) - 1).all()


def test_beams_without_return_lie_at_the_sensor():
    sweep, _ = sweep_of(world_of(speed=10.0))
    missing = sweep.points[sweep.actor == -2]
    assert len(missing) > 3000  # the sky
    assert np.linalg.norm(missing[:, :3], axis=1).max() < 10.0 * .05 + .01
    first = np.flatnonzero(sweep.actor == -2)[0]  # fired half a metre before the stamp's place
    assert sweep.points[first, 1] == pytest.approx(-10.0 * .0499, abs=.03)


def test_the_car_sees_itself():
    ego = vehicles.ego(EGO_SIZE).moved(rigid.from_xyz_yaw(EGO_MIDDLE, 0, 0, 0))
    sweep, _ = sweep_of(world_of(), ego=ego)
    distance = np.linalg.norm(sweep.points[:, :3], axis=1)
    roof = (distance > .4) & (distance < 2.0)
    assert 1000 < roof.sum() < 6000
    lowest = sweep.ring == 0
    assert (roof & lowest).sum() > .5 * lowest.sum()


def test_beams_are_those_of_the_real_sweep(shared_data):
    points = np.fromfile(shared_data / "nuscenes_scene-0061" / "lidar.bin",
                         np.float32).reshape(-1, 32, 5)
    assert len(points) == len(RIG.lidar.azimuths)
    assert (points[..., 4] == np.arange(32)).all()
    # Beams without return lie where the sensor was: it came 0.449 m ahead during the sweep.
    place = np.linspace([-.0005, -.4494, -.0144], [0, 0, 0], len(points))
    beams = points[..., :3].astype(np.float64) - place[:, None]
    distance = np.linalg.norm(beams, axis=2)
    for ring in range(32):
        seen = distance[:, ring] > 2
        elevation = np.arcsin(beams[seen, ring, 2] / distance[seen, ring])
        assert np.median(elevation) == pytest.approx(RIG.lidar.elevations[ring],
                                                     abs=np.radians(.03))
    seen = distance[:, 23] > 2
    azimuth = np.unwrap(np.arctan2(beams[seen, 23, 1], beams[seen, 23, 0]))
    slope, _ = np.polyfit(np.flatnonzero(seen), azimuth, 1)
    assert slope == pytest.approx(np.diff(RIG.lidar.azimuths).mean(), rel=.001)
    assert np.cos(azimuth[0] - slope * np.flatnonzero(seen)[0]) == pytest.approx(-1, abs=.001)
