"""Frame directories: round trips, and every way in which one can be wrong."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from training_frames import CAMERAS, make_frame

from aqr_perception.geometry import rigid
from aqr_perception.recordings.boxes_file import (
    read_annotations,
    read_detections,
    write_detections,
)
from aqr_perception.recordings.frame_directory import find_frames, read_frame, read_record
from aqr_perception.recordings.frame_writer import write_frame
from aqr_perception.recordings.rig import Rig, load_rig
from aqr_perception.types import Detections, Mounting

RIG = Rig(CAMERAS)


@pytest.fixture
def folder(tmp_path):
    frame, annotations = make_frame(3)
    write_frame(tmp_path / "frame", frame, annotations)
    return tmp_path / "frame"


def change(folder, edit):
    path = folder / "calib.json"
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


def test_a_frame_comes_back_as_it_was_written(folder):
    frame, annotations = make_frame(3)
    read, truth = read_frame(folder, RIG), read_annotations(folder)
    np.testing.assert_allclose(read.lidar.points, frame.lidar.points, rtol=1e-6)
    np.testing.assert_array_equal(read.fixed_from_lidar, frame.fixed_from_lidar)
    for mine, theirs in zip(read.images, frame.images):
        assert mine.stamp_ns == theirs.stamp_ns
        np.testing.assert_allclose(mine.calibration.camera_from_lidar,
                                   theirs.calibration.camera_from_lidar, atol=1e-12)
        assert np.abs(mine.pixels.astype(int) - theirs.pixels).mean() < 4  # JPEG
    np.testing.assert_allclose(truth.boxes.corners(), annotations.boxes.corners(), atol=1e-5)
    np.testing.assert_array_equal(truth.labels, annotations.labels)
    np.testing.assert_array_equal(truth.track_ids, annotations.track_ids)


def test_detections_come_back_as_they_were_written(tmp_path):
    _, annotations = make_frame(1)
    count = len(annotations)
    scores = np.linspace(0.9, 0.1, count).astype(np.float32)
    found = Detections(5, "lidar", annotations.boxes, scores, annotations.labels)
    write_detections(tmp_path / "found.json", found)
    again = read_detections(tmp_path / "found.json")
    np.testing.assert_allclose(again.boxes.center, found.boxes.center)
    np.testing.assert_allclose(again.scores, found.scores)
    assert (again.stamp_ns, again.frame_id) == (5, "lidar")


def test_frames_of_a_folder_come_oldest_first(tmp_path):
    for name, stamp in (("a", 3), ("b", 1), ("c", 2)):
        frame, _ = make_frame(0)
        write_frame(tmp_path / name, frame)
        change(tmp_path / name, lambda document, stamp=stamp: document["lidar"].update(
            timestamp=float(stamp)))
    assert [path.name for path in find_frames(tmp_path)] == ["b", "c", "a"]
    assert find_frames(tmp_path / "a") == [tmp_path / "a"]


def test_poses_at_the_cameras_stamps_make_the_recorded_chain(shared_data):
    record = read_record(shared_data / "nuscenes_scene-0061")
    for camera in record.cameras:
        chain = (rigid.inverse(camera.ego_from_camera)
                 @ rigid.inverse(camera.world_from_ego(record.lidar))
                 @ record.lidar.world_from_ego @ record.lidar.ego_from_lidar)
        np.testing.assert_allclose(chain, camera.camera_from_lidar, atol=1e-6)


def test_the_real_frame_has_its_known_numbers(shared_data):
    folder = shared_data / "nuscenes_scene-0061"
    frame, truth = read_frame(folder), read_annotations(folder)
    assert frame.stamp_ns == 1532402927647951000
    assert len(frame.lidar.points) == 34688
    assert 0 <= frame.lidar.points[:, 3].min() <= frame.lidar.points[:, 3].max() <= 1
    assert int((truth.num_lidar_pts > 0).sum()) == 65
    assert [image.pixels.shape for image in frame.images] == [(900, 1600, 3)] * 6


def test_another_rig_by_configuration_alone(shared_data):
    rig = load_rig(Path(__file__).parents[2] / "config" / "ddad.yaml")
    frame = read_frame(find_frames(shared_data / "dgp_scene_02")[0], rig)
    assert frame.images[0].pixels.shape == (1216, 1936, 3)
    ground = frame.lidar.points[np.abs(frame.lidar.points[:, 1]) < 4]
    moved = rigid.transform_points(rig.mounting.model_from_lidar, ground[:, :3])
    assert abs(np.median(moved[np.abs(moved[:, 1]) < 15, 2]) + 1.84) < 0.2  # road, model frame


WRONG = {
    "points cut off": (lambda f: (f / "lidar.bin").write_bytes((f / "lidar.bin").read_bytes()[:-3]),
                       ["lidar.bin", "multiple", "cut off"]),
    "no points": (lambda f: (f / "lidar.bin").write_bytes(b""), ["lidar.bin", "0 bytes"]),
    "a camera that is not calibrated": (
        lambda f: change(f, lambda d: d["cameras"].pop("front")), ["front", "--config", "it has"]),
    "a picture of another size": (
        lambda f: cv2.imwrite(str(f / "front.jpg"), np.zeros((10, 20, 3), np.uint8)),
        ["front.jpg", "20×10", "192×108"]),
    "no picture": (lambda f: (f / "front.jpg").write_bytes(b"abc"), ["front.jpg", "JPEG"]),
    "no JSON": (lambda f: (f / "calib.json").write_text("{"), ["calib.json", "JSON"]),
    "no object": (lambda f: (f / "calib.json").write_text("[]"), ["calib.json", "object"]),
    "no lidar": (lambda f: change(f, lambda d: d.pop("lidar")), ["calib.json", "'lidar'"]),
    "fields without z": (lambda f: change(f, lambda d: d["lidar"].update(fields=["x", "y"])),
                         ["lidar.fields", "z"]),
    "a matrix that is none": (
        lambda f: change(f, lambda d: d["cameras"]["back"].update(lidar2cam=[[1]])),
        ["cameras.back.lidar2cam", "4×4"]),
    "a stamp that is none": (lambda f: change(f, lambda d: d["lidar"].update(timestamp="now")),
                             ["lidar.timestamp", "'now'"]),
    "a file outside": (
        lambda f: change(f, lambda d: d["cameras"]["back"].update(file="../x.jpg")),
        ["cameras.back.file", "../x.jpg"]),
    "an absurd size": (
        lambda f: change(f, lambda d: d["cameras"]["back"].update(width=10**9, height=10**9)),
        ["cameras.back", "width"])}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_in_one_line(folder, case):
    spoil, words = WRONG[case]
    spoil(folder)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are checked below
        read_frame(folder, RIG)
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text


@pytest.mark.parametrize("name", ["calib.json", "lidar.bin", "back.jpg"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        read_frame(folder, RIG)
    assert name in str(caught.value.filename)


def test_boxes_that_make_no_sense_are_named(folder):
    path = folder / "gt_boxes.json"
    document = json.loads(path.read_text())
    document["boxes"][0]["center"] = [1, 2]
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"boxes\[0\]\.center"):
        read_annotations(folder)


def test_the_default_rig_is_the_shipped_file():
    path = Path(__file__).parents[2] / "config" / "nuscenes.yaml"
    rig = load_rig(path)
    assert (rig.camera_names, rig.mounting) == (Rig().camera_names, Mounting())


@pytest.mark.parametrize(("text", "words"), [
    ("{", "not YAML"), ("a: 1", "ros__parameters"),
    ("/**: {ros__parameters: {cameras: 3}}", "cameras"),
    ("/**: {ros__parameters: {lidar: {forward_axis: z}}}", "forward_axis"),
    ("/**: {ros__parameters: {lidar: {height: high}}}", r"lidar\.height"),
    ("!!python/object/apply:os.system ['true']", "not YAML")])
def test_a_rig_that_makes_no_sense_is_named(tmp_path, text, words):
    path = tmp_path / "rig.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=words) as caught:
        load_rig(path)
    assert "rig.yaml" in str(caught.value)
