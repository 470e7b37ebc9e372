from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import flat_plan

from aqr_perception.simulation.motion import Motion, Profile, box_pose, car_pose
from aqr_perception.simulation.roadmap import Terrain


def test_braking_to_a_stop():
    profile = Profile(10.0, 2.0, 0.0)
    assert profile.at(-1.0) == (-10.0, 10.0)
    assert profile.at(2.0) == pytest.approx((16.0, 6.0))
    assert profile.at(5.0) == pytest.approx((25.0, 0.0))
    assert profile.at(9.0) == pytest.approx((25.0, 0.0))


def test_starting():
    profile = Profile(0.0, 2.0, 8.0)
    assert profile.at(4.0) == pytest.approx((16.0, 8.0))
    assert profile.at(6.0) == pytest.approx((32.0, 8.0))
    assert Profile(3.0).at(2.0) == (6.0, 3.0)


@given(st.floats(0, 8), st.sampled_from([0.0, np.pi, np.pi / 2, .7]),
       st.sampled_from([0.0, 1 / 180, -1 / 200]), st.floats(-3, 3))
def test_velocity_is_the_derivative_of_the_place(t: float, course: float, curvature: float,
                                                 d: float):
    plan = flat_plan(curvature)
    motion = Motion(5.0, d, course, Profile(6.0, 1.0, 2.0))
    h = 1e-5
    ahead, _, _ = motion.at(plan, t + h)
    behind, _, _ = motion.at(plan, t - h)
    _, yaw, velocity = motion.at(plan, t)
    assert np.allclose((ahead - behind)[:2] / (2 * h), velocity, atol=1e-4)
    if abs(np.sin(course)) < 1e-9:  # along the road the heading is that of the movement
        assert np.arctan2(velocity[1], velocity[0]) == pytest.approx(
            np.angle(np.exp(1j * yaw)), abs=1e-6)
        assert np.linalg.norm(velocity) == pytest.approx(motion.profile.at(t)[1])


def test_a_box_stands_on_its_foot():
    plan = flat_plan()
    pose, velocity = box_pose(Motion(3.0, 1.0, np.pi, Profile(2.0), lift=.15), plan, 1.8, 0.5)
    assert pose[:3, 3] == pytest.approx([2.0, 1.0, .15 + .9])
    assert velocity == pytest.approx([-2.0, 0.0])


def test_the_car_leans_with_the_ground():
    plan = flat_plan()
    from dataclasses import replace
    slope = .05  # a plane wave so long that it is a ramp here
    ramp = Terrain(np.array([slope * 1e5]), np.array([[1e-5, 0.0]]), np.zeros(1))
    pose = car_pose(Motion(0.0, 0.0), replace(plan, terrain=ramp), 0.0)
    assert pose[:3, 0] == pytest.approx(np.array([1, 0, slope]) / np.hypot(1, slope), abs=1e-6)
    assert pose[:3, :3] @ pose[:3, :3].T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)
