from dataclasses import replace

import numpy as np
import pytest
from training_frames import make_frame

from aqr_perception.geometry import rigid
from aqr_perception.types import Detections, Mounting, SensorFrame
from aqr_perception.visualization.picture import arranged, draw_frame

BEARINGS = {"FRONT": 0, "FRONT_RIGHT": -55, "FRONT_LEFT": 55, "BACK": 180, "BACK_LEFT": 110,
            "BACK_RIGHT": -110}


def rig(absent=()):
    """Six cameras that look as nuScenes' do."""
    frame, _ = make_frame(0)
    images = []
    for name, degrees in BEARINGS.items():
        turn = rigid.from_xyz_yaw(0, 0, 0, -np.radians(degrees))
        calibration = frame.images[0].calibration
        calibration = replace(calibration, camera_from_lidar=calibration.camera_from_lidar @ turn)
        images.append(None if name in absent else
                      replace(frame.images[0], name=name, calibration=calibration))
    return SensorFrame(frame.stamp_ns, "lidar", frame.lidar, tuple(images), tuple(BEARINGS))


def names(frame):
    return [[frame.camera_names[index] for index in row] for row in arranged(frame, Mounting())]


@pytest.fixture(scope="module")
def found():
    frame, annotations = make_frame(0)
    return Detections(frame.stamp_ns, "lidar", annotations.boxes,
                      np.ones(len(annotations), np.float32), annotations.labels)


@pytest.mark.parametrize("absent", [(), *((name,) for name in BEARINGS)])
def test_cameras_stand_as_on_the_car_also_an_absent_one(absent):
    assert names(rig(absent)) == [["FRONT_LEFT", "FRONT", "FRONT_RIGHT"],
                                  ["BACK_LEFT", "BACK", "BACK_RIGHT"]]


@pytest.mark.parametrize("absent", [("FRONT", "BACK"), tuple(BEARINGS)])
def test_each_camera_has_one_place_whatever_is_absent(absent):
    rows = names(rig(absent))
    assert sorted(rows[0] + rows[1]) == sorted(BEARINGS)
    assert [len(row) for row in rows] == [3, 3]


@pytest.mark.parametrize("count", [0, 1, 2, 5, 6])
def test_any_number_of_cameras_makes_a_picture(count, found):
    frame = rig()
    frame = replace(frame, images=frame.images[:count], camera_names=frame.camera_names[:count])
    assert draw_frame(frame, found).shape[2] == 3


def test_absent_sensors_change_the_picture_not_its_size(found):
    frame, annotations = make_frame(0)
    whole = draw_frame(frame, found, annotations)
    partial = draw_frame(replace(frame, images=(None, frame.images[1]), lidar=None), found)
    nothing = draw_frame(replace(frame, images=(None, None), lidar=None), found)
    assert whole.shape == partial.shape == nothing.shape
    assert (whole != partial).any()
    assert (partial != nothing).any()


def test_the_truth_is_drawn_where_some_point_lies_in_it(found):
    frame, annotations = make_frame(0)
    without = draw_frame(frame, found, replace(
        annotations, num_lidar_pts=np.zeros_like(annotations.num_lidar_pts)))
    assert (draw_frame(frame, found, annotations) != without).any()


def test_inputs_stay_untouched(found):
    frame, annotations = make_frame(0)
    before = frame.images[0].pixels.copy()
    draw_frame(frame, found, annotations)
    np.testing.assert_array_equal(frame.images[0].pixels, before)
