from __future__ import annotations

import numpy as np
import pytest

from aqr_perception.geometry.boxes import Boxes3D
from aqr_perception.geometry.camera import PinholeCamera
from aqr_perception.simulation.drive import Frame
from aqr_perception.simulation.picture import contact_sheet, draw_boxes
from aqr_perception.types import Annotations, Calibration, CameraImage, SensorFrame


def one_box(center: tuple[float, float, float], points: int = 5) -> Annotations:
    """A cube of 2 m, in axes that are the camera's own."""
    boxes = Boxes3D(np.array([center]), np.full((1, 3), 2.0), np.zeros(1), np.zeros((1, 2)))
    return Annotations(boxes, np.array([0]), np.array([points]), np.ones(1, np.float32),
                       np.array([0]))


def black(width: int = 100, height: int = 80) -> CameraImage:
    camera = PinholeCamera(width, height, np.array([[50.0, 0, 50], [0, 50, 40], [0, 0, 1]]))
    return CameraImage("CAM_FRONT", 0, np.zeros((height, width, 3), np.uint8),
                       Calibration(camera, np.eye(4)))


def test_edges_are_drawn_where_corners_project():
    image = black()
    drawn = draw_boxes(image, one_box((0, 0, 11)))
    row, column = np.nonzero(drawn.max(2) > 100)  # without the smoothing
    # The near face at 10 m spans ±1 m: ±5 px around the middle.
    assert (column.min(), column.max(), row.min(), row.max()) == (45, 55, 35, 45)
    assert not image.pixels.any()


def test_boxes_behind_or_without_points_are_left_out():
    assert not draw_boxes(black(), one_box((0, 0, -5))).any()
    assert not draw_boxes(black(), one_box((0, 0, 11), points=0)).any()
    assert draw_boxes(black(), one_box((0, 0, 11), points=0), seen_only=False).any()
    assert draw_boxes(black(), one_box((0, 1.5, 0))).any()  # half behind: cut, not lost


def test_a_sheet_has_a_place_for_each_camera(drive: list[Frame]):
    frame, truth = drive[0]
    assert contact_sheet(frame, truth).shape == (128, 528, 3)
    missing = SensorFrame(frame.stamp_ns, frame.frame_id, frame.lidar,
                          (None, *frame.images[1:]), frame.camera_names)
    assert (contact_sheet(missing)[:64, 176:352] == 128).all()
    blind = SensorFrame(frame.stamp_ns, frame.frame_id, frame.lidar, (None,) * 6,
                        frame.camera_names)
    with pytest.raises(ValueError, match="no picture to show"):
        contact_sheet(blind)
