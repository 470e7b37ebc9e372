from dataclasses import replace

import numpy as np
import pytest
from training_frames import CAMERAS, make_frame

from aqr_perception.geometry import rigid
from aqr_perception.geometry.camera import PinholeCamera
from aqr_perception.recordings.boxes_file import read_annotations
from aqr_perception.recordings.frame_directory import find_frames, read_frame
from aqr_perception.recordings.frame_record import read_record
from aqr_perception.recordings.frame_writer import write_frame
from aqr_perception.recordings.rig import Rig

RIG = Rig(CAMERAS)


def test_a_frame_comes_back_as_it_was_written(tmp_path):
    frame, annotations = make_frame(3)
    write_frame(tmp_path, frame, annotations)
    read, truth = read_frame(tmp_path, RIG), read_annotations(tmp_path)
    np.testing.assert_allclose(read.lidar.points, frame.lidar.points, rtol=1e-6)
    np.testing.assert_allclose(read.fixed_from_lidar, frame.fixed_from_lidar, atol=1e-12)
    assert (read.stamp_ns, read.camera_names) == (frame.stamp_ns, frame.camera_names)
    for mine, theirs in zip(read.images, frame.images):
        assert mine.stamp_ns == theirs.stamp_ns
        np.testing.assert_allclose(mine.calibration.camera_from_lidar,
                                   theirs.calibration.camera_from_lidar, atol=1e-12)
        assert np.abs(mine.pixels.astype(int) - theirs.pixels).mean() < 4  # JPEG
    np.testing.assert_array_equal(truth.boxes.corners(), annotations.boxes.corners())


def test_stamps_are_kept_to_a_microsecond(tmp_path):
    frame, _ = make_frame(0)
    stamp = 1_700_000_000_123_457_000
    frame = replace(frame, stamp_ns=stamp, lidar=replace(frame.lidar, stamp_ns=stamp),
                    images=tuple(replace(image, stamp_ns=stamp - 7_000)
                                 for image in frame.images))
    write_frame(tmp_path, frame)
    read = read_frame(tmp_path, RIG)
    assert read.stamp_ns == stamp
    assert read.images[0].stamp_ns == stamp - 7_000


@pytest.mark.parametrize(("model", "coefficients"), [
    ("plumb_bob", [0.1, 0.01, 0, 0, 0]), ("equidistant", [0.1, 0.01, 0, 0]),
    ("rational_polynomial", [0.1, 0.01, 0, 0, 0, 0.1, 0, 0])])
def test_every_lens_comes_back(tmp_path, model, coefficients):
    frame, _ = make_frame(0)
    image = frame.images[0]
    lens = PinholeCamera(192, 108, image.calibration.camera.intrinsics, model,
                         np.array(coefficients))
    image = replace(image, calibration=replace(image.calibration, camera=lens))
    write_frame(tmp_path, replace(frame, images=(image, frame.images[1])))
    read = read_frame(tmp_path, RIG).images[0].calibration.camera
    assert read.distortion_model == model
    np.testing.assert_array_equal(read.distortion, coefficients)


def test_places_on_the_car_are_kept_and_the_motion_follows_from_them(tmp_path):
    frame, _ = make_frame(0)
    ego_from_lidar = rigid.from_xyz_yaw(0.9, 0, 1.8, -np.pi / 2)
    ego_from_front = ego_from_lidar @ rigid.inverse(frame.images[0].calibration.camera_from_lidar)
    drive = rigid.from_xyz_yaw(0, 0.4, 0, 0.01)  # of the LiDAR frame between the stamps
    calibration = frame.images[0].calibration
    moved = replace(calibration, camera_from_lidar=calibration.camera_from_lidar @ drive)
    frame = replace(frame, images=(replace(frame.images[0], calibration=moved), frame.images[1]))
    write_frame(tmp_path, frame, None, ego_from_lidar, {"front": ego_from_front})
    record = read_record(tmp_path)
    front = record.cameras[0]
    np.testing.assert_allclose(front.ego_from_camera, ego_from_front, atol=1e-12)
    motion = rigid.inverse(front.world_from_ego(record.lidar)) @ record.lidar.world_from_ego
    np.testing.assert_allclose(rigid.inverse(ego_from_lidar) @ motion @ ego_from_lidar, drive,
                               atol=1e-9)


@pytest.mark.parametrize("lacking", ["lidar", "image", "points"])
def test_a_frame_that_lacks_something_is_refused_and_leaves_nothing(tmp_path, lacking):
    frame, _ = make_frame(0)
    frame = {"lidar": replace(frame, lidar=None),
             "image": replace(frame, images=(frame.images[0], None)),
             "points": replace(frame, lidar=replace(frame.lidar, points=np.zeros(
                 (0, 5), np.float32)))}[lacking]
    with pytest.raises(ValueError, match=r"lacks a sensor|no point"):
        write_frame(tmp_path / "frame", frame)
    assert not (tmp_path / "frame").exists()


def test_a_frame_that_was_cut_short_is_not_found(tmp_path, monkeypatch):
    frame, annotations = make_frame(0)
    write_frame(tmp_path / "a", frame, annotations)
    monkeypatch.setattr("aqr_perception.recordings.frame_writer.write_annotations",
                        lambda *arguments: (_ for _ in ()).throw(OSError(28, "no space")))
    with pytest.raises(OSError, match="no space"):
        write_frame(tmp_path / "b", frame, annotations)
    assert find_frames(tmp_path) == [tmp_path / "a"]
