"""A bag gives the frames that its frame directories give."""

import json
import shutil

import cv2
import numpy as np
import pytest

from aqr_perception.cli.detect import read_frames
from aqr_perception.geometry.boxes import Boxes3D, points_in_boxes
from aqr_perception.recordings.boxes_file import ANNOTATIONS, write_annotations
from aqr_perception.recordings.frame_directory import find_frames, read_frame
from aqr_perception.recordings.rig import NUSCENES_CAMERAS, Rig
from aqr_perception.ros import topics
from aqr_perception.ros.bag import write_bag
from aqr_perception.ros.bag_frames import frames_from_bag, truth_from_bag
from aqr_perception.ros.frame_messages import FrameMessages
from aqr_perception.types import Annotations, SweepSettings


def bag_of(folders, path, compressed=True, kept=lambda message: True, storage="mcap"):
    messages = FrameMessages(folders, compressed)
    write_bag(path, messages.types, filter(kept, messages), storage)
    return path


def assert_same(found, wanted, atol=1e-9):
    assert (found.stamp_ns, found.frame_id) == (wanted.stamp_ns, wanted.frame_id)
    np.testing.assert_array_equal(found.lidar.points, wanted.lidar.points)
    np.testing.assert_allclose(found.fixed_from_lidar, wanted.fixed_from_lidar, atol=atol)
    for mine, theirs in zip(found.images, wanted.images, strict=True):
        assert (mine.name, mine.stamp_ns) == (theirs.name, theirs.stamp_ns)
        np.testing.assert_array_equal(mine.pixels, theirs.pixels)
        np.testing.assert_allclose(mine.calibration.camera_from_lidar,
                                   theirs.calibration.camera_from_lidar, atol=atol)
        np.testing.assert_array_equal(mine.calibration.camera.intrinsics,
                                      theirs.calibration.camera.intrinsics)
        np.testing.assert_array_equal(mine.calibration.camera.distortion,
                                      theirs.calibration.camera.distortion)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("compressed", [False, True])
def test_frames_are_those_of_the_directories(drive, tmp_path, storage, compressed):
    folders = find_frames(drive)
    bag = bag_of(folders, tmp_path / "bag", compressed, storage=storage)
    found = list(frames_from_bag(bag, Rig()))
    for mine, folder in zip(found, folders, strict=True):
        assert_same(mine, read_frame(folder))


def test_the_real_frame_is_the_same_to_the_last_digits(shared_data, tmp_path):
    folder = shared_data / "nuscenes_scene-0061"
    (found,) = frames_from_bag(bag_of([folder], tmp_path / "bag"), Rig())
    assert_same(found, read_frame(folder))


def test_cameras_that_share_a_stamp_are_within_the_recordings_own_doubt(shared_data, tmp_path):
    folder = find_frames(shared_data / "dgp_scene_02")[0]
    rig = Rig(("CAMERA_01", "CAMERA_05", "CAMERA_06", "CAMERA_07", "CAMERA_08", "CAMERA_09"))
    (found,) = frames_from_bag(bag_of([folder], tmp_path / "bag"),
                               Rig(rig.camera_names, intensity_max=1.0))
    # Six poses of the car at one stamp, up to 1 cm apart; tf holds their mean.
    assert_same(found, read_frame(folder, rig), atol=0.007)


def test_a_camera_that_is_silent_for_a_frame_is_absent_from_it(drive, tmp_path):
    folders = find_frames(drive)
    dropped = read_frame(folders[1]).images[2]

    def kept(message):
        return not (message.topic == topics.compressed_topic(dropped.name)
                    and message.stamp_ns == dropped.stamp_ns)

    found = list(frames_from_bag(bag_of(folders, tmp_path / "bag", kept=kept), Rig()))
    assert len(found) == 3
    assert [frame.images[2] is None for frame in found] == [False, True, False]
    assert found[1].present.sum() == 6


def test_the_truth_travels_by_stamp(shared_data, tmp_path):
    folder = shared_data / "nuscenes_scene-0061"
    truth = truth_from_bag(bag_of([folder], tmp_path / "bag"))
    assert list(truth) == [1532402927647951000]
    assert len(truth[1532402927647951000]) == 68


def test_sweeps_are_joined_alike_and_points_in_boxes_counted_before(single_sweeps, tmp_path):
    shutil.copytree(single_sweeps, tmp_path / "drive")
    boxes = Boxes3D(np.array([[10.0, 10.0, 0.0]]), np.full((1, 3), 30.0), np.zeros(1),
                    np.zeros((1, 2)))
    counts = []
    folders = find_frames(tmp_path / "drive")
    for folder in folders:
        counts.append(int(points_in_boxes(read_frame(folder).lidar.points, boxes).sum()))
        write_annotations(folder / ANNOTATIONS, Annotations(
            boxes, np.zeros(1, np.int64), np.array(counts[-1:]), np.ones(1, np.float32),
            np.zeros(1, np.int64)), "LIDAR_TOP")
    assert min(counts) > 5
    for rig, most in ((Rig(), 4), (Rig(sweeps=SweepSettings(2)), 2),
                      (Rig(sweeps=SweepSettings(1)), 1)):
        of_bag = read_frames(bag_of(folders, tmp_path / f"bag_{most}"), rig)
        of_folders = read_frames(tmp_path / "drive", rig)
        pairs = zip(of_bag, of_folders, strict=True)
        for number, ((found, truth), (wanted, wanted_truth)) in enumerate(pairs):
            assert len(np.unique(found.lidar.points[:, 4])) == min(most, number + 1)
            np.testing.assert_allclose(found.lidar.points, wanted.lidar.points, atol=1e-5)
            assert truth.num_lidar_pts.tolist() == [counts[number]]
            assert wanted_truth.num_lidar_pts.tolist() == [counts[number]]


def test_a_bag_without_truth_has_none(drive, tmp_path):
    assert truth_from_bag(bag_of(find_frames(drive), tmp_path / "bag")) == {}


def test_missing_topics_are_named_and_those_there_are_listed(drive, tmp_path):
    bag = bag_of(find_frames(drive), tmp_path / "bag")
    with pytest.raises(ValueError, match="/left/camera_info") as caught:
        next(frames_from_bag(bag, Rig(("left", "CAM_FRONT"))))
    for name in NUSCENES_CAMERAS:
        assert f"/{name}/image_raw/compressed" in str(caught.value)
    assert "--config" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_topic_of_another_type_is_named(drive, tmp_path):
    messages = FrameMessages(find_frames(drive), compressed=True)
    types = {**messages.types, topics.points_topic(): "std_msgs/msg/String"}
    write_bag(tmp_path / "bag", types, messages)
    with pytest.raises(ValueError, match=r"/LIDAR_TOP/points carries std_msgs/msg/String"):
        next(frames_from_bag(tmp_path / "bag", Rig()))


def test_an_image_of_another_size_than_its_camera_info_is_named(drive, tmp_path, monkeypatch):
    folder = tmp_path / "frame"
    folder.mkdir()
    source = find_frames(drive)[0]
    for path in source.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    messages = list(FrameMessages([folder], compressed=True))
    document = json.loads((folder / "calib.json").read_text())
    document["cameras"]["CAM_BACK"].update(width=80, height=45)
    (folder / "calib.json").write_text(json.dumps(document))
    cv2.imwrite(str(folder / "CAM_BACK.jpg"), np.zeros((45, 80, 3), np.uint8))
    other = FrameMessages([folder], compressed=True)
    mixed = [m for m in messages if m.topic != "/CAM_BACK/camera_info"]
    mixed += [m for m in other if m.topic == "/CAM_BACK/camera_info"]
    write_bag(tmp_path / "bag", other.types, sorted(mixed, key=lambda m: m.stamp_ns))
    with pytest.raises(ValueError, match=r"CAM_BACK.*80×45") as caught:
        list(frames_from_bag(tmp_path / "bag", Rig()))
    assert str(tmp_path / "bag") in str(caught.value)
