"""The values that flow: what they hold to, and their few rules."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from aqr_perception.geometry.boxes import Boxes3D
from aqr_perception.geometry.camera import PinholeCamera
from aqr_perception.types import (
    CLASS_NAMES,
    MODEL_LIDAR_HEIGHT,
    Annotations,
    Calibration,
    CameraImage,
    Controls,
    Detections,
    Gains,
    LidarCloud,
    Mounting,
    SensorFrame,
)

CAMERA = PinholeCamera(8, 6, np.array([[5.0, 0, 4], [0, 5.0, 3], [0, 0, 1]]))
CALIBRATION = Calibration(CAMERA, np.eye(4))


def image(name="a", stamp_ns=0, shape=(6, 8, 3), dtype=np.uint8):
    return CameraImage(name, stamp_ns, np.zeros(shape, dtype), CALIBRATION)


def cloud(stamp_ns=0):
    return LidarCloud(stamp_ns, np.zeros((2, 5), np.float32))


def test_the_classes_are_the_ten_of_nuscenes():
    assert len(CLASS_NAMES) == len(set(CLASS_NAMES)) == 10


@pytest.mark.parametrize("wrong", [{"shape": (8, 6, 3)}, {"shape": (6, 8)}, {"shape": (6, 8, 4)},
                                   {"dtype": np.float32}])
def test_an_image_has_the_size_of_its_calibration(wrong):
    with pytest.raises(ValueError, match=r"a: the image is .* its calibration says 8×6"):
        image(**wrong)


@pytest.mark.parametrize("points", [np.zeros((2, 4), np.float32), np.zeros((2, 5)),
                                    np.zeros(5, np.float32)])
def test_a_cloud_has_five_columns_of_float32(points):
    with pytest.raises(ValueError, match=r"float32 \(N, 5\)"):
        LidarCloud(0, points)


def test_a_frame_knows_who_delivered_and_how_old_it_is():
    images = image("a", 10**9 - 40_000_000), None
    frame = SensorFrame(10**9, "l", cloud(10**9), images, ("a", "b"))
    assert frame.present.tolist() == [True, True, False]
    np.testing.assert_allclose(frame.ages_s, [0, 0.04, np.nan], atol=1e-7)
    assert frame.ages_s.dtype == np.float32
    nothing = SensorFrame(0, "l", None, (None, None), ("a", "b"))
    assert not nothing.present.any()
    assert np.isnan(nothing.ages_s).all()


def test_a_frame_has_an_entry_a_camera():
    with pytest.raises(ValueError, match="rig a, b holds 1 image"):
        SensorFrame(0, "l", None, (None,), ("a", "b"))


@pytest.mark.parametrize(("mounting", "lidar_point", "model_point"), [
    (Mounting(), (3, 2, 1), (3, 2, 1)),  # nuScenes: the model frame itself
    (Mounting("x", MODEL_LIDAR_HEIGHT), (2, -3, 1), (3, 2, 1)),  # REP-103: ahead 2, right 3
    (Mounting("x", 0.0), (2, -3, 1), (3, 2, 1 - MODEL_LIDAR_HEIGHT)),  # z = 0 on the ground
    (Mounting("y", 2.84), (3, 2, 1), (3, 2, 2))])
def test_a_mounting_takes_points_into_the_model_frame(mounting, lidar_point, model_point):
    moved = mounting.model_from_lidar @ [*lidar_point, 1]
    np.testing.assert_allclose(moved[:3], model_point, atol=1e-12)


def test_a_quarter_turn_is_exact():
    rotation = Mounting("x", 0.0).model_from_lidar[:3, :3]
    assert set(rotation.ravel().tolist()) == {-1.0, 0.0, 1.0}
    assert np.linalg.det(rotation) == 1.0


@pytest.mark.parametrize(("arguments", "words"), [
    (("z", 0.0), "forward_axis"), (("", 0.0), "forward_axis"), (("x", 11.0), "height"),
    (("x", float("nan")), "height")])
def test_a_mounting_that_makes_no_sense_is_named(arguments, words):
    with pytest.raises(ValueError, match=rf"lidar\.{words}"):
        Mounting(*arguments)


def test_gains_multiply_and_a_camera_that_is_not_named_has_one():
    gains = Gains(0.5, 2.0, {"b": 0.25, "elsewhere": 3.0})
    assert gains.per_sensor(("a", "b")).tolist() == [0.5, 2.0, 0.5]


@pytest.mark.parametrize(("gains", "words"), [
    ({"lidar": -0.1}, r"gain\.lidar"), ({"camera": 4.1}, r"gain\.camera"),
    ({"cameras": {"CAM_BACK": 9.0}}, r"gain\.CAM_BACK"), ({"lidar": float("nan")}, "lidar")])
def test_gains_out_of_range_are_named(gains, words):
    with pytest.raises(ValueError, match=f"{words} is .*; expected 0 to 4"):
        Gains(**gains)


def test_a_class_may_have_its_own_threshold():
    thresholds = Controls(score_threshold=0.25,
                          class_score_thresholds={"pedestrian": 0.5}).score_thresholds()
    assert thresholds.shape == (10,)
    assert thresholds[CLASS_NAMES.index("pedestrian")] == 0.5
    assert (np.delete(thresholds, CLASS_NAMES.index("pedestrian")) == 0.25).all()


@pytest.mark.parametrize(("controls", "words"), [
    ({"score_threshold": 1.5}, "score_threshold is 1.5"),
    ({"score_threshold": float("nan")}, "score_threshold"),
    ({"modulation_lidar": -1.0}, r"modulation\.lidar"),
    ({"modulation_camera": 2.0}, r"modulation\.camera"),
    ({"class_score_thresholds": {"cat": 0.1}}, "'cat'"),
    ({"class_score_thresholds": {"car": 2.0}}, r"score_threshold\.car is 2\.0"),
    ({"max_detections": 0}, "max_")])
def test_controls_out_of_range_are_named(controls, words):
    with pytest.raises(ValueError, match=words):
        Controls(**controls)


def test_detections_and_annotations_count_and_name():
    boxes = Boxes3D(np.zeros((2, 3)), np.ones((2, 3)), np.zeros(2), np.zeros((2, 2)))
    found = Detections(0, "l", boxes, np.ones(2, np.float32), np.array([0, 8]))
    assert len(found) == 2
    assert found.class_names == ["car", "pedestrian"]
    truth = Annotations(boxes, np.array([0, 8]), np.zeros(2, np.int64), np.ones(2, np.float32),
                        np.zeros(2, np.int64))
    assert len(truth) == 2


def test_values_do_not_change():
    with pytest.raises(FrozenInstanceError):
        Controls().score_threshold = 0.5


@pytest.mark.parametrize(("width", "height"), [(1, 5000), (2100, 100)])
def test_a_picture_too_thin_to_be_one_is_refused(width, height):
    calibration = Calibration(PinholeCamera(width, height, np.eye(3) * [9, 9, 1]), np.eye(4))
    with pytest.raises(ValueError, match=r"THIN: the image is .* at most 20 to 1"):
        CameraImage("THIN", 0, np.zeros((height, width, 3), np.uint8), calibration)
