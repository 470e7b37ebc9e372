"""Boxes are drawn where their objects are, also when they reach behind the camera."""

from dataclasses import replace

import numpy as np
import pytest
from training_frames import make_frame

from aqr_perception.geometry.boxes import Boxes3D
from aqr_perception.geometry.camera import PinholeCamera
from aqr_perception.visualization.camera_view import DrawnBoxes, draw_boxes, panel

RED = (0, 0, 255)


def calibration(camera=None):
    """The front camera's: focal length 90 px, 192×108."""
    found = make_frame(0)[0].images[0].calibration
    return found if camera is None else replace(found, camera=camera)


def drawn(center, size=(2.0, 2, 2), yaw=0.0, camera=None, label=""):
    boxes = Boxes3D([center], [size], [yaw], [(0.0, 0.0)])
    picture = np.zeros((108, 192, 3), np.uint8)
    draw_boxes(picture, calibration(camera), DrawnBoxes(boxes, [RED], [label]))
    return picture


def extent(picture):
    """Left, right, top and bottom of what was drawn."""
    rows, columns = np.nonzero(picture[..., 2] > 60)
    return columns.min(), columns.max(), rows.min(), rows.max()


def test_a_box_ahead_is_drawn_round_its_projection():
    # Model frame: y is ahead; the near face lies at 9 m and is 2 m wide.
    left, right, top, bottom = extent(drawn((0, 10, 0)))
    assert (left, right) == pytest.approx((96 - 10, 96 + 10), abs=2)
    assert (top, bottom) == pytest.approx((54 - 10, 54 + 10), abs=2)


def test_a_box_behind_leaves_nothing():
    assert not drawn((0, -10, 0)).any()


def test_a_box_that_reaches_behind_the_camera_is_cut_not_mirrored():
    # Beside the car, from 6 m behind to 6 m ahead.
    left, right, _, _ = extent(drawn((3, 0, 0), (2, 12, 2)))
    assert left > 96
    assert right == 191


def test_a_box_around_the_camera_is_survived():
    drawn((0, 0, 0), (8, 8, 8))


def test_a_lens_bends_its_box_and_folds_nothing_back():
    lens = PinholeCamera(192, 108, np.array([[90.0, 0, 96], [0, 90.0, 54], [0, 0, 1]]),
                         "plumb_bob", np.array([-0.3, 0.05, 0, 0, 0]))
    bent, straight = extent(drawn((4, 8, 0), camera=lens)), extent(drawn((4, 8, 0)))
    assert bent[1] < straight[1]
    assert not drawn((60, 5, 0), camera=lens).any()


def test_the_face_along_the_heading_is_shaded():
    toward = drawn((0, 10, 0), (4, 4, 4), yaw=-np.pi / 2)
    away = drawn((0, 10, 0), (4, 4, 4), yaw=np.pi / 2)
    assert toward[54, 96 + 20, 2] > 60, "between the far and the near face: only the near one"
    assert away[54, 96 + 20, 2] < 60


def test_large_boxes_are_named_small_ones_are_not():
    def changed(center, size):
        return (drawn(center, size, label="car 0.9") != drawn(center, size)).any()

    assert changed((0, 6, 0), (4, 4, 4))
    assert not changed((0, 40, 0), (4, 4, 4))


def test_a_panel_cuts_another_shape_and_an_absent_camera_is_grey():
    frame, _ = make_frame(0)
    for size in ((160, 90), (160, 60), (160, 200)):
        view = panel(frame.images[0], "front", size, frame.stamp_ns, [])
        assert view.shape == (size[1], size[0], 3)
    absent = panel(None, "front", (160, 90), 0, [])
    assert (np.ptp(absent.astype(int), axis=2) <= 1).all()
    assert absent.std() > 0
