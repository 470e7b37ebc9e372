"""LiDAR points are drawn where the camera sees them, and nothing else is."""

from dataclasses import replace

import numpy as np
import pytest
from training_frames import make_frame

from aqr_perception.geometry import rigid
from aqr_perception.geometry.camera import PinholeCamera
from aqr_perception.types import LidarCloud
from aqr_perception.visualization.lidar_view import DrawnPoints, draw_lidar_on_images


def calibration(**lens):
    """The front camera's: focal length 90 px, 192×108, y of the LiDAR ahead."""
    found = make_frame(0)[0].images[0].calibration
    camera = PinholeCamera(192, 108, np.array([[90.0, 0, 96], [0, 90.0, 54], [0, 0, 1]]), **lens)
    return replace(found, camera=camera)


def drawn(points, found=None, size=(108, 192)):
    picture = np.zeros((*size, 3), np.uint8)
    DrawnPoints(np.array(points, np.float32)).draw(picture, found or calibration())
    return picture


def test_a_point_lies_at_its_projection_at_any_size_of_the_picture():
    assert drawn([(2, 10, 1)])[54 - 9, 96 + 18].any()
    assert drawn([(2, 10, 1)], size=(54, 96))[27 - 4, 48 + 9].any()
    assert np.count_nonzero(drawn([(2, 10, 1)]).any(axis=2)) == 4


def test_distortion_moves_points_and_folds_none_back_into_the_picture():
    bent = calibration(distortion=np.array([-0.3, 0.05, 0, 0, 0]))
    point = np.array([[8.0, 10.0, 1.0]])
    seen = rigid.transform_points(bent.camera_from_lidar, point)
    (column, row), = np.round(bent.camera.project(seen)[0]).astype(int)
    assert drawn(point, bent)[row, column].any()
    assert column < 96 + 72 - 5
    assert not drawn([(40.0, 10.0, 0.0)], bent).any()


@pytest.mark.parametrize("point", [(0, -10, 0), (30, 10, 0), (0, 10, 20), (0, 0.1, 0)])
def test_what_is_behind_or_outside_or_too_near_is_left_out(point):
    assert not drawn([point]).any()


def test_near_points_are_red_far_ones_blue_and_near_ones_on_top():
    blue, _, red = drawn([(0, 3, 0), (0, 60, 0)])[54, 96].astype(int)
    assert red > 2 * blue
    blue, _, red = drawn([(0, 60, 0)])[54, 96].astype(int)
    assert blue > 2 * red


def test_the_sheet_shows_the_newest_sweep_on_what_is_present():
    frame, _ = make_frame(0)
    points = np.zeros((3, 5), np.float32)
    points[:, 1] = 10, 20, np.nan
    points[1, 4] = 0.1
    frame = replace(frame, lidar=LidarCloud(frame.stamp_ns, points))
    whole = draw_lidar_on_images(frame)
    alone = draw_lidar_on_images(replace(frame, lidar=LidarCloud(frame.stamp_ns, points[:1])))
    np.testing.assert_array_equal(whole, alone)
    bare = draw_lidar_on_images(replace(frame, lidar=None))
    assert (whole[60:] != bare[60:]).any()
    less = draw_lidar_on_images(replace(frame, images=(None, frame.images[1])))
    assert less.shape == whole.shape
    noted = draw_lidar_on_images(frame, captions={"front": "edges 1.20"})
    assert (noted != whole).any()


@pytest.mark.parametrize("count", [1, 2])
def test_inputs_stay_untouched_for_any_number_of_cameras(count):
    frame, _ = make_frame(0)
    before = frame.images[0].pixels.copy()
    frame = replace(frame, images=frame.images[:count], camera_names=frame.camera_names[:count])
    assert draw_lidar_on_images(frame).shape[2] == 3
    np.testing.assert_array_equal(frame.images[0].pixels, before)
