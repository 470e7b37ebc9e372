from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import actor, exact_rig, lidar_pose, world_of

from aqr_perception.geometry import rigid
from aqr_perception.geometry.boxes import Boxes3D, points_in_boxes
from aqr_perception.simulation.camera import PictureTaker
from aqr_perception.simulation.mesh import Mesh
from aqr_perception.simulation.motion import Motion, Profile
from aqr_perception.simulation.tracing import TracedWorld
from aqr_perception.simulation.truth import SightLines, boxes_at, count_points
from aqr_perception.simulation.world import World

RIG = exact_rig()


def visibility(world: World) -> np.ndarray:
    rng = np.random.default_rng(0)
    traced, sight = TracedWorld(world, rng), SightLines(world, rng)
    seen = np.zeros(sight.samples.shape[:2], bool)
    for camera in RIG.cameras:
        taker = PictureTaker(camera, Mesh.joined([]))
        moment, pose = taker.moment(traced, 0.0)
        seen |= sight.seen(world, moment, taker.camera, pose)
    return seen.mean(1)


def test_visibility_of_the_open_the_half_hidden_and_the_hidden():
    bus = actor("bus", (11.0, 2.9, 3.5), Motion(16.0, 2.0, turn=np.pi / 2), 0)
    hidden = actor("car", (4.0, 2.0, 1.6), Motion(24.0, 3.0), 1)
    beside = actor("car", (4.0, 2.0, 1.6), Motion(24.0, -6.5), 2)
    share = visibility(world_of(bus, hidden, beside))
    assert share[0] > .6  # its top is above the picture
    assert share[1] == 0
    assert .05 < share[2] < .95  # a part looks out behind the bus's end
    # Samples are lines of sight: the far side of an object in the open is its own first hit.
    alone = visibility(world_of(actor("car", (4.0, 2.0, 1.6), Motion(24.0, 3.0), 0)))
    assert alone[0] == 1


def test_boxes_stand_in_the_lidar_frame():
    world = world_of(actor("car", (4.0, 2.0, 1.6), Motion(20.0, 3.0, 0.0, Profile(5.0)), 0))
    boxes = boxes_at(world, world.actors, 1.0, rigid.inverse(lidar_pose(world, RIG, 1.0)))
    lidar_from_ego = rigid.inverse(RIG.lidar.ego_from_lidar)
    expected = rigid.transform_points(lidar_from_ego, np.array([[25.0, 5.0, .8]]))
    assert boxes.center[0] == pytest.approx(expected[0], abs=1e-4)
    assert boxes.yaw[0] == pytest.approx(np.pi / 2, abs=.01)  # ahead is +y there
    assert boxes.velocity[0] == pytest.approx([0, 5.0], abs=.02)
    assert len(boxes_at(world, (), 1.0, np.eye(4))) == 0


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_counting_points_is_counting_points(seed: int):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-10, 10, (400, 5)).astype(np.float32)
    boxes = Boxes3D(rng.uniform(-10, 10, (6, 3)), rng.uniform(.5, 9, (6, 3)),
                    rng.uniform(-4, 4, 6), np.zeros((6, 2)))
    assert (count_points(points, boxes) == points_in_boxes(points, boxes).sum(1)).all()
