"""Boxes are drawn where their objects are, also when they reach behind the camera."""

from dataclasses import replace

import numpy as np
import pytest
from training_frames import make_frame

from aqr_perception.geometry.boxes import Boxes3D
from aqr_perception.types import Detections, Mounting
from aqr_perception.visualization.birdseye import BACKGROUND, BirdsEyeView
from aqr_perception.visualization.camera_view import draw_boxes
from aqr_perception.visualization.picture import draw_frame

RED = (0, 0, 255)


def box(center, size=(2.0, 2, 2)):
    return Boxes3D([center], [size], [0.0], [(0.0, 0.0)])


def drawn(center, size=(2.0, 2, 2)):
    """(rows, columns) of what a box leaves in the front camera, whose focal length is 90 px."""
    frame, _ = make_frame(0)
    picture = np.zeros((108, 192, 3), np.uint8)
    draw_boxes(picture, frame.images[0].calibration, box(center, size), [RED], 1)
    return np.nonzero(picture[..., 2] > 128)


def test_a_box_ahead_is_drawn_round_its_projection():
    rows, columns = drawn((0, 10, 0))  # model frame: y is ahead; near face at 9 m, 2 m wide
    assert columns.min() == pytest.approx(96 - 90 / 9, abs=1.5)
    assert columns.max() == pytest.approx(96 + 90 / 9, abs=1.5)
    assert rows.min() == pytest.approx(54 - 90 / 9, abs=1.5)


def test_a_box_behind_leaves_nothing():
    assert not len(drawn((0, -10, 0))[0])


def test_a_box_that_reaches_behind_the_camera_is_cut_not_mirrored():
    _, columns = drawn((3, 0, 0), (2, 12, 2))  # beside the car, from 6 m behind to 6 m ahead
    assert len(columns)
    assert columns.min() > 96, "all of it lies on the right"


def test_the_view_from_above_has_forward_up_and_right_right():
    view = BirdsEyeView(200, 50.0, Mounting())
    (ahead, right) = view.pixels(np.array([[0, 10, 0], [10, 0, 0.0]]))
    np.testing.assert_allclose(ahead, [100, 80])
    np.testing.assert_allclose(right, [120, 100])
    rep = BirdsEyeView(200, 50.0, Mounting("x", 0.0))
    np.testing.assert_allclose(rep.pixels(np.array([[10, 0, 0], [0, -10, 0.0]])),
                               [[100, 80], [120, 100]], atol=1e-9)


def test_points_are_drawn_where_they_are():
    frame, _ = make_frame(0)
    cloud = replace(frame.lidar, points=np.array([[20, 30, -1, 0, 0], [900, 0, 0, 0, 0],
                                                  [np.nan, 0, 0, 0, 0]], np.float32))
    out = BirdsEyeView(200, 50.0, Mounting()).draw(cloud, Boxes3D.empty(), [])
    assert tuple(out[40, 140]) != BACKGROUND


def test_absent_sensors_make_a_panel_that_says_so_and_nothing_breaks():
    frame, annotations = make_frame(0)
    found = Detections(frame.stamp_ns, "lidar", annotations.boxes,
                       np.ones(len(annotations), np.float32), annotations.labels)
    whole = draw_frame(frame, found, annotations)
    partial = draw_frame(replace(frame, images=(None, frame.images[1]), lidar=None), found)
    nothing = draw_frame(replace(frame, images=(None, None), lidar=None), found)
    assert whole.shape == partial.shape == nothing.shape
    assert (whole != partial).any()
