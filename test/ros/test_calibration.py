import threading
from types import SimpleNamespace

import numpy as np
import pytest
import tf2_ros

from aqr_perception.geometry import rigid
from aqr_perception.ros.calibration import GIVE_UP_AFTER, CameraModels, RigTransforms
from aqr_perception.ros.messages import transform_to_message

LIDAR_NS, CAMERA_NS = 10_100_000_000, 10_050_000_000
BASE_FROM_LIDAR = rigid.from_xyz_yaw(1.0, 0.0, 1.8, -np.pi / 2)
BASE_FROM_CAMERA = rigid.from_translation_quaternion([1.7, 0.0, 1.5], [-0.5, 0.5, -0.5, 0.5])


def odom_from_base(stamp_ns):
    """A car that drives 10 m/s ahead and turns by 0.2 rad/s."""
    seconds = stamp_ns * 1e-9 - 10
    return rigid.from_xyz_yaw(10 * seconds, 0.5 * seconds, 0.0, 0.2 * seconds)


def buffer_with(static=True, odom=(10_000_000_000, 10_050_000_000, 10_100_000_000)):
    buffer = tf2_ros.Buffer()
    if static:
        for child, pose in (("lidar", BASE_FROM_LIDAR), ("camera", BASE_FROM_CAMERA)):
            buffer.set_transform_static(
                transform_to_message(pose, "base_link", child, 0), "test")
    for stamp_ns in odom:
        buffer.set_transform(transform_to_message(
            odom_from_base(stamp_ns), "odom", "base_link", stamp_ns), "test")
    return buffer


def rig(buffer, fixed_frame="odom", timeout_s=0.05):
    return RigTransforms(buffer, fixed_frame, timeout_s, threading.Event())


STATIC = rigid.inverse(BASE_FROM_CAMERA) @ BASE_FROM_LIDAR
MOVING = (rigid.inverse(odom_from_base(CAMERA_NS) @ BASE_FROM_CAMERA)
          @ odom_from_base(LIDAR_NS) @ BASE_FROM_LIDAR)


def test_the_motion_between_the_stamps_is_taken_into_account():
    frame = rig(buffer_with()).begin("lidar")
    np.testing.assert_allclose(frame.fixed_from_lidar(LIDAR_NS),
                               odom_from_base(LIDAR_NS) @ BASE_FROM_LIDAR, atol=1e-9)
    np.testing.assert_allclose(frame.camera_from_lidar("camera", CAMERA_NS, LIDAR_NS), MOVING,
                               atol=1e-9)
    assert np.linalg.norm(MOVING[:3, 3] - STATIC[:3, 3]) > 0.4
    assert frame.notes == []


def test_between_two_known_poses_motion_is_interpolated():
    frame = rig(buffer_with(odom=(10_000_000_000, 10_100_000_000))).begin("lidar")
    np.testing.assert_allclose(frame.camera_from_lidar("camera", CAMERA_NS, LIDAR_NS), MOVING,
                               atol=1e-3)


@pytest.mark.parametrize(("fixed_frame", "odom"), [("", (LIDAR_NS,)), ("map", (LIDAR_NS,)),
                                                   ("odom", ())])
def test_without_a_fixed_frame_the_rig_alone(fixed_frame, odom, monkeypatch):
    monkeypatch.setattr("aqr_perception.ros.calibration.FIRST_WAIT_S", 0.01)
    frame = rig(buffer_with(odom=odom), fixed_frame).begin("lidar")
    assert frame.fixed_from_lidar(LIDAR_NS) is None
    np.testing.assert_allclose(frame.camera_from_lidar("camera", CAMERA_NS, LIDAR_NS), STATIC,
                               atol=1e-12)
    assert frame.notes == []


def test_motion_that_tf_does_not_know_in_time_is_left_out_and_said():
    frame = rig(buffer_with(odom=(10_000_000_000, 10_020_000_000))).begin("lidar")
    assert frame.fixed_from_lidar(LIDAR_NS) is None
    np.testing.assert_allclose(frame.camera_from_lidar("camera", CAMERA_NS, LIDAR_NS), STATIC,
                               atol=1e-12)
    assert len(frame.notes) == 1
    assert "'odom'" in frame.notes[0]


def test_odometry_beyond_all_bounds_costs_the_motion_and_no_frame():
    """tf2 refuses what is not a number, and takes what is infinite."""
    buffer = buffer_with()
    for stamp_ns in (10_000_000_000, 10_100_000_000):
        wrong = transform_to_message(odom_from_base(stamp_ns), "odom", "base_link", stamp_ns)
        wrong.transform.translation.x = float("inf")
        buffer.set_transform(wrong, "test")
    frame = rig(buffer).begin("lidar")
    assert frame.fixed_from_lidar(LIDAR_NS) is None
    assert "is left out of this frame" in frame.notes[0]
    np.testing.assert_allclose(frame.camera_from_lidar("camera", CAMERA_NS, LIDAR_NS), STATIC,
                               atol=1e-9)
    assert rig(buffer).begin("lidar").earlier_pose("lidar", LIDAR_NS) is None
    again = rig(buffer).begin("lidar")  # the camera's own look-up is the first
    np.testing.assert_allclose(again.camera_from_lidar("camera", CAMERA_NS, LIDAR_NS), STATIC,
                               atol=1e-9)


def test_it_waits_for_a_transform_that_is_on_its_way():
    buffer = buffer_with(odom=(10_000_000_000,))
    late = threading.Timer(0.05, lambda: [buffer.set_transform(transform_to_message(
        odom_from_base(stamp_ns), "odom", "base_link", stamp_ns), "test")
        for stamp_ns in (CAMERA_NS, LIDAR_NS)])
    late.start()
    frame = rig(buffer, timeout_s=10.0).begin("lidar")
    assert frame.fixed_from_lidar(LIDAR_NS) is not None
    np.testing.assert_allclose(frame.camera_from_lidar("camera", CAMERA_NS, LIDAR_NS), MOVING,
                               atol=1e-9)
    late.join()


def test_after_some_frames_it_asks_but_does_not_wait(monkeypatch):
    transforms = rig(buffer_with(odom=(10_000_000_000,)), timeout_s=0.01)
    for _ in range(GIVE_UP_AFTER):
        assert transforms.begin("lidar").fixed_from_lidar(LIDAR_NS) is None
    monkeypatch.setattr(transforms, "_timeout_s", 1000.0)
    assert transforms.begin("lidar").fixed_from_lidar(LIDAR_NS) is None  # would hang if it waited
    transforms._buffer.set_transform(transform_to_message(
        odom_from_base(LIDAR_NS), "odom", "base_link", LIDAR_NS), "test")
    assert transforms.begin("lidar").fixed_from_lidar(LIDAR_NS) is not None
    assert transforms._misses == 0


def test_frames_that_tf_does_not_join_are_named():
    frame = rig(buffer_with(static=False, odom=()), "", 0.0).begin("lidar")
    with pytest.raises(ValueError, match="from 'lidar' to 'camera'"):
        frame.camera_from_lidar("camera", CAMERA_NS, LIDAR_NS)


def test_a_stop_ends_the_wait():
    stop = threading.Event()
    transforms = RigTransforms(buffer_with(static=False, odom=()), "", 1000.0, stop)
    threading.Timer(0.05, stop.set).start()
    with pytest.raises(ValueError, match="camera"):
        transforms.begin("lidar").camera_from_lidar("camera", CAMERA_NS, LIDAR_NS)


def test_a_changed_rig_takes_effect_with_the_next_frame():
    buffer = buffer_with(odom=())
    transforms = rig(buffer, "")
    moved = rigid.from_xyz_yaw(0.1, 0.0, 0.0, 0.0) @ BASE_FROM_CAMERA
    buffer.set_transform_static(transform_to_message(moved, "base_link", "camera", 0), "test")
    np.testing.assert_allclose(
        transforms.begin("lidar").camera_from_lidar("camera", CAMERA_NS, LIDAR_NS),
        rigid.inverse(moved) @ BASE_FROM_LIDAR, atol=1e-12)


def camera_info(**changes):
    values = {"width": 100, "height": 80, "k": [90.0, 0, 50, 0, 90, 40, 0, 0, 1], "d": [],
              "distortion_model": "plumb_bob", "binning_x": 0, "binning_y": 0,
              "roi": SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0)}
    return SimpleNamespace(**{**values, **changes})


def test_a_camera_is_the_same_object_until_its_content_changes():
    models = CameraModels(("FRONT", "BACK"))
    assert models.missing() == ["FRONT", "BACK"]
    models.update(0, camera_info())
    first = models.camera(0)
    models.update(0, camera_info())
    assert models.camera(0) is first
    models.update(0, camera_info(d=[0.1, 0, 0, 0, 0]))
    assert models.camera(0).is_distorted
    assert models.missing() == ["BACK"]


def test_a_camera_without_calibration_is_named():
    models = CameraModels(("FRONT",))
    with pytest.raises(ValueError, match=r"FRONT: no camera_info .*~/input/camera_info0"):
        models.camera(0)
    models.update(0, camera_info(k=[0.0] * 9))
    with pytest.raises(ValueError, match=r"FRONT: .*calibrated"):
        models.camera(0)

