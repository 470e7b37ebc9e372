"""Frame directories, and every way in which one can be wrong."""

import json

import cv2
import numpy as np
import pytest
from training_frames import CAMERAS, make_frame

from aqr_perception.geometry import rigid
from aqr_perception.geometry.boxes import points_in_boxes
from aqr_perception.recordings import frame_directory
from aqr_perception.recordings.boxes_file import read_annotations
from aqr_perception.recordings.frame_directory import find_frames, read_frame, read_points
from aqr_perception.recordings.frame_record import read_record
from aqr_perception.recordings.frame_writer import write_frame
from aqr_perception.recordings.rig import Rig, load_rig

RIG = Rig(CAMERAS)


@pytest.fixture
def folder(tmp_path):
    frame, annotations = make_frame(3)
    write_frame(tmp_path / "frame", frame, annotations)
    return tmp_path / "frame"


def change(folder, **lidar):
    path = folder / "calib.json"
    document = json.loads(path.read_text())
    document["lidar"].update(lidar)
    path.write_text(json.dumps(document))


def write_rows(folder, rows, fields):
    np.array(rows, np.float32).tofile(folder / "lidar.bin")
    change(folder, fields=fields)
    return read_record(folder).lidar


def test_columns_are_found_by_name_and_intensity_is_scaled_and_clipped(folder):
    lidar = write_rows(folder, [[51, 3, 2, 1, 9], [999, 6, 5, 4, 9]],
                       ["intensity(0-255)", "z", "y", "x", "ring"])
    np.testing.assert_allclose(read_points(lidar), [[1, 2, 3, 0.2, 0], [4, 5, 6, 1, 0]])


def test_the_age_of_a_sweep_is_kept_and_no_intensity_is_zero(folder):
    lidar = write_rows(folder, [[1, 2, 3, 0.05]], ["x", "y", "z", "dt"])
    np.testing.assert_allclose(read_points(lidar), [[1, 2, 3, 0, 0.05]])


def test_a_row_that_is_no_point_is_left_out_as_of_a_message(folder):
    nan = float("nan")
    lidar = write_rows(folder, [[1, 2, 3, 9, 0], [1, 2, 3, nan, 0], [1, nan, 3, 9, 0],
                                [1, 2, 3, 9, nan], [4, 5, 6, 9, 1e30]],
                       ["x", "y", "z", "intensity", "dt"])
    assert len(read_points(lidar)) == 1
    with pytest.raises(ValueError, match=r"lidar\.bin: .*dt goes to 1e\+09; expected seconds"):
        read_points(write_rows(folder, [[1, 2, 3, 1e9]], ["x", "y", "z", "dt"]))


def test_the_scale_is_the_files_or_the_rigs_but_not_two(folder):
    stated = write_rows(folder, [[1, 2, 3, 0.5]], ["x", "y", "z", "intensity(0-1)"])
    assert read_points(stated)[0, 3] == read_points(stated, 1.0)[0, 3] == 0.5
    with pytest.raises(ValueError, match=r"lidar\.bin: its intensity is 0-1.*is 255"):
        read_points(stated, 255.0)
    unstated = write_rows(folder, [[1, 2, 3, 51]], ["x", "y", "z", "intensity"])
    assert read_points(unstated)[0, 3] == pytest.approx(0.2)
    assert read_points(unstated, 102.0)[0, 3] == pytest.approx(0.5)


def test_cameras_come_in_the_rigs_order(folder):
    frame = read_frame(folder, Rig(("back", "front")))
    assert [image.name for image in frame.images] == ["back", "front"]
    assert len(read_frame(folder, Rig(("back",))).images) == 1


def test_frames_of_a_folder_come_oldest_first(tmp_path):
    for name, stamp in (("a", 3.0), ("b", 1.0), ("c", 2.0)):
        write_frame(tmp_path / name, make_frame(0)[0])
        change(tmp_path / name, timestamp=stamp)
    assert [path.name for path in find_frames(tmp_path)] == ["b", "c", "a"]
    assert find_frames(tmp_path / "a") == [tmp_path / "a"]


def test_what_is_no_source_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        find_frames(tmp_path / "none")
    with pytest.raises(ValueError, match=r"calib\.json"):
        find_frames(tmp_path)
    (tmp_path / "bag.mcap").write_bytes(b"")
    with pytest.raises(ValueError, match="is a file"):
        find_frames(tmp_path / "bag.mcap")


def test_the_real_frame_has_its_known_numbers(shared_data):
    folder = shared_data / "nuscenes_scene-0061"
    frame, truth = read_frame(folder), read_annotations(folder)
    assert frame.stamp_ns == 1532402927647951000
    assert len(frame.lidar.points) == 34688
    assert 0 <= frame.lidar.points[:, 3].min() < 0.1 < frame.lidar.points[:, 3].max() <= 1
    assert int((truth.num_lidar_pts > 0).sum()) == 65
    assert [image.pixels.shape for image in frame.images] == [(900, 1600, 3)] * 6


def test_the_truth_lies_on_the_points_and_in_the_pictures(shared_data):
    folder = shared_data / "nuscenes_scene-0061"
    frame, truth = read_frame(folder), read_annotations(folder)
    counted = points_in_boxes(frame.lidar.points, truth.boxes).sum(axis=1)
    np.testing.assert_allclose(counted, truth.num_lidar_pts, atol=2, rtol=0.1)
    seen = np.zeros(len(truth), int)
    for image in frame.images:
        centers = rigid.transform_points(image.calibration.camera_from_lidar,
                                         truth.boxes.center.astype(np.float64))
        seen += image.calibration.camera.project(centers)[1]
    assert (seen >= 1).all(), "nuScenes' cameras see all round"


def test_another_rig_by_configuration_alone(shared_data, request):
    rig = load_rig(request.config.rootpath / "config" / "ddad.yaml")
    folders = find_frames(shared_data / "dgp_scene_02")
    frames = [read_frame(folder, rig) for folder in folders]
    assert [frame.stamp_ns for frame in frames] == sorted(frame.stamp_ns for frame in frames)
    assert frames[0].images[0].pixels.shape == (1216, 1936, 3)
    ground = frames[0].lidar.points[np.abs(frames[0].lidar.points[:, 1]) < 4]
    moved = rigid.transform_points(rig.mounting.model_from_lidar, ground[:, :3])
    assert abs(np.median(moved[np.abs(moved[:, 1]) < 15, 2]) + 1.84) < 0.2  # road, model frame
    # The car drives: its own front, x of this LiDAR frame, is y of the model frame.
    driven = rigid.inverse(frames[0].fixed_from_lidar) @ frames[2].fixed_from_lidar
    ahead = rig.mounting.model_from_lidar[:3, :3] @ driven[:3, 3]
    assert ahead[1] > 0.5
    assert abs(ahead[0]) < 0.1


def spoil_calibration(folder):
    path = folder / "calib.json"
    document = json.loads(path.read_text())
    del document["cameras"]["front"]
    path.write_text(json.dumps(document))


WRONG = {
    "points cut off": (lambda f: (f / "lidar.bin").write_bytes((f / "lidar.bin").read_bytes()[:-3]),
                       ["lidar.bin", "multiple of 20", "cut off"]),
    "no points": (lambda f: (f / "lidar.bin").write_bytes(b""), ["lidar.bin", "0 bytes"]),
    "a camera that is not calibrated": (
        spoil_calibration, ["calib.json", "front", "--config", "it has back"]),
    "a picture of another size": (
        lambda f: cv2.imwrite(str(f / "front.jpg"), np.zeros((10, 20, 3), np.uint8)),
        ["front.jpg", "20×10", "192×108"]),
    "no picture": (lambda f: (f / "front.jpg").write_bytes(b"abc"), ["front.jpg", "JPEG"]),
    "a picture cut off": (
        lambda f: (f / "front.jpg").write_bytes((f / "front.jpg").read_bytes()[:-500]),
        ["front.jpg", "cut off"])}


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


@pytest.mark.parametrize(("name", "words"), [
    ("calib.json", ""), ("lidar.bin", "the LiDAR's points"), ("back.jpg", "the picture of back")])
def test_a_missing_file_is_named(folder, name, words):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        read_frame(folder, RIG)
    assert name in str(caught.value.filename)
    assert words in caught.value.strerror


@pytest.mark.parametrize(("limit", "words"), [("MOST_POINTS", "points"),
                                              ("LARGEST_IMAGE_FILE", "picture of at most")])
def test_what_is_too_large_is_not_read(folder, monkeypatch, limit, words):
    monkeypatch.setattr(frame_directory, limit, 100)
    with pytest.raises(ValueError, match=words):
        read_frame(folder, RIG)
