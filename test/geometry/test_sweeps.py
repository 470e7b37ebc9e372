"""Several sweeps as one cloud."""

from __future__ import annotations

import numpy as np
import pytest

from aqr_perception.geometry import rigid
from aqr_perception.geometry.sweeps import NEAREST, far_points, join_sweeps


def cloud(*rows):
    return np.array(rows, np.float32).reshape(-1, 5)


def test_a_post_stays_where_it_is_while_the_car_drives_and_turns():
    post = np.array([12.0, 3.0, 0.5])
    poses = [rigid.from_xyz_yaw(2.0 * k, 0.3 * k, 0, 0.1 * k) for k in range(3)]
    seen = [rigid.transform_points(rigid.inverse(pose), post[None])[0] for pose in poses]
    sweeps = [cloud([*xyz, 0.25 * k, 0]) for k, xyz in enumerate(seen)]
    joined = join_sweeps(sweeps[2], [
        (sweeps[k], rigid.inverse(poses[2]) @ poses[k], 0.1 * (2 - k)) for k in (1, 0)])
    np.testing.assert_allclose(joined[:, :3], np.tile(seen[2], (3, 1)), atol=1e-5)
    assert joined[:, 3].tolist() == [0.5, 0.25, 0.0]
    assert joined[:, 4].tolist() == pytest.approx([0, 0.1, 0.2])


def test_the_car_itself_is_not_left_behind():
    own, far = [1.0, 0.5, -0.5, 0.1, 0], [NEAREST + 0.1, 0, 0, 0.1, 0]
    joined = join_sweeps(cloud(own), [(far_points(cloud(own, far)), np.eye(4), 0.1)])
    assert len(joined) == 2
    assert joined[1, 0] == pytest.approx(NEAREST + 0.1)


def test_alone_a_sweep_is_what_it_was_and_inputs_stay_untouched():
    newest, older = cloud([5, 0, 0, 1, 0]), cloud([6, 0, 0, 1, 0])
    assert (join_sweeps(newest, []) == newest).all()
    join_sweeps(newest, [(older, rigid.from_xyz_yaw(1, 0, 0, 0), 0.1)])
    assert older[0].tolist() == [6, 0, 0, 1, 0]
