"""What check-vehicle's sensors send of a frame."""

import numpy as np
import pytest

from aqr_perception.ros.point_cloud import cloud_from_message
from aqr_perception.ros.sensor_stream import cloud_message
from aqr_perception.types import LidarCloud, SensorFrame


@pytest.mark.parametrize(("age_s", "names"), [(0.0, ["x", "y", "z", "intensity"]),
                                              (0.1, ["x", "y", "z", "intensity", "dt"])])
def test_a_cloud_of_several_sweeps_says_so_and_one_sweep_does_not(age_s, names):
    points = np.random.default_rng(0).uniform(0, 1, (20, 5)).astype(np.float32)
    points[:, 4] = np.repeat([0, age_s], 10)
    sent = points.copy()
    message = cloud_message(SensorFrame(0, "lidar", LidarCloud(0, points), (), ()), 100.0)
    assert [field.name for field in message.fields] == names
    np.testing.assert_allclose(cloud_from_message(message, 100.0), sent, rtol=1e-6)
    np.testing.assert_array_equal(points, sent)
