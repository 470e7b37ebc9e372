"""``detect`` end to end; each bad input of the command line in a process of its own."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from training_frames import make_frame

from aqr_perception.cli.detect import matches, table
from aqr_perception.cli.main import main
from aqr_perception.geometry.boxes import Boxes3D
from aqr_perception.recordings.boxes_file import read_detections
from aqr_perception.recordings.frame_writer import write_frame
from aqr_perception.types import Annotations, Detections

RIG = "/**:\n  ros__parameters:\n    cameras: [front, back]\n"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Two frames, a rig, and what is wrong in one way each."""
    folder = tmp_path_factory.mktemp("frames")
    for index in range(2):
        frame, annotations = make_frame(index)
        stamp = 10**9 + index * 10**8
        frame = replace(frame, stamp_ns=stamp, lidar=replace(frame.lidar, stamp_ns=stamp),
                        images=tuple(replace(image, stamp_ns=stamp) for image in frame.images))
        write_frame(folder / "drive" / f"frame_{index}", frame, annotations)
    (folder / "empty").mkdir()
    (folder / "rig.yaml").write_text(RIG)
    (folder / "misspelt.yaml").write_text(RIG.replace("cameras", "camera"))
    return folder


def spoilt(source, name, spoil):
    """A copy of the first frame with something wrong."""
    folder = source / name
    if not folder.exists():
        shutil.copytree(source / "drive" / "frame_0", folder)
        spoil(folder)
    return folder


def edit_calibration(edit):
    def spoil(folder):
        document = json.loads((folder / "calib.json").read_text())
        edit(document)
        (folder / "calib.json").write_text(json.dumps(document))
    return spoil


SPOILT = {
    "no_image": (lambda f: (f / "back.jpg").unlink(), ["no_image/back.jpg", "picture of back"]),
    "no_points": (lambda f: (f / "lidar.bin").unlink(), ["no_points/lidar.bin", "no such file"]),
    "no_calibration": (lambda f: (f / "calib.json").unlink(), ["no_calibration", "calib.json"]),
    "cut_points": (lambda f: os.truncate(f / "lidar.bin", 333), ["lidar.bin", "333 bytes"]),
    "cut_image": (lambda f: os.truncate(f / "front.jpg", 900), ["front.jpg", "cut off"]),
    "cut_truth": (lambda f: os.truncate(f / "gt_boxes.json", 99), ["gt_boxes.json", "not JSON"]),
    "no_camera": (edit_calibration(lambda d: d["cameras"].pop("back")),
                  ["calib.json", "no calibration of back", "it has front", "--config"]),
    "other_size": (edit_calibration(lambda d: d["cameras"]["back"].update(width=640, height=480)),
                   ["back.jpg", "192×108", "640×480"]),
    "no_json": (lambda f: (f / "calib.json").write_text("{"), ["calib.json", "not JSON"])}
ARGUMENTS = {
    "a source that is not there": (["{source}/none"], ["/none: no such folder"]),
    "a source that is a file": (["{source}/rig.yaml"], ["rig.yaml", "is a file"]),
    "a folder without frames": (["{source}/empty"], ["calib.json", "metadata.yaml"]),
    "another rig": (["{source}/drive", "--config", "{repository}/config/ddad.yaml"],
                    ["CAMERA_01", "it has front, back", "--config"]),
    "no such rig": (["{source}/drive", "--config", "{source}/none.yaml"], ["none.yaml"]),
    "a misspelt rig": (["{source}/drive", "--config", "{source}/misspelt.yaml"],
                       ["misspelt.yaml", "did you mean cameras"]),
    "a score out of range": (["{source}/drive", "--score-threshold", "3"],
                             ["score_threshold", "0 to 1"]),
    "a frame that is not there": (
        ["{source}/drive", "--config", "{source}/rig.yaml", "--frame", "4"], ["--frame is 4"]),
    "a frame before the first": (
        ["{source}/drive", "--config", "{source}/rig.yaml", "--frame", "-1"], ["--frame is -1"]),
    "nowhere to write": (["{source}/drive", "--json", "{source}/none/a.json"],
                         ["/none: no such folder to write to"]),
    "no kind of picture": (["{source}/drive", "--image", "{source}/a.xyz"], ["a.xyz", ".png"]),
    "an unknown device": (
        ["{source}/drive", "--config", "{source}/rig.yaml", "--device", "tpu"],
        ["'tpu'", "cuda:N"]),
    "a device that is not there": (
        ["{source}/drive", "--config", "{source}/rig.yaml", "--device", "cuda:77"],
        ["'cuda:77'", "--device"]),
    "weights that are none": (
        ["{source}/drive", "--config", "{source}/rig.yaml", "--weights", "{source}/rig.yaml"],
        ["rig.yaml", "weights"])}


def refused(*arguments):
    """The one line on standard error of a process that ends with status 2."""
    done = subprocess.run([sys.executable, "-m", "aqr_perception", *map(str, arguments)],
                          capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"aqr_perception {arguments[0]}: ")
    return line


@pytest.mark.parametrize("name", SPOILT)
def test_a_damaged_frame_is_one_line_and_status_2(source, name):
    spoil, words = SPOILT[name]
    line = refused("detect", spoilt(source, name, spoil), "--config", source / "rig.yaml")
    for word in words:
        assert word in line


@pytest.mark.parametrize("case", ARGUMENTS)
def test_an_argument_that_does_not_fit_is_one_line_and_status_2(source, case):
    arguments, words = ARGUMENTS[case]
    line = refused("detect", *(argument.format(source=source, repository=Path(
        __file__).parents[2]) for argument in arguments))
    for word in words:
        assert word in line


def detect(*arguments):
    """Status of the command in this process: torch is imported once, not once a test."""
    return main(["detect", *map(str, arguments)])


def test_one_frame_prints_writes_and_draws(source, tmp_path, capsys):
    assert detect(source / "drive" / "frame_0", "--config", source / "rig.yaml",
                  "--score-threshold", 0, "--json", tmp_path / "found.json",
                  "--image", tmp_path / "found.png") == 0
    out = capsys.readouterr().out
    assert "of an object of their class" in out
    assert "detections at stamp 1.000000000 in frame 'LIDAR_TOP'" in out
    found = read_detections(tmp_path / "found.json")
    assert (found.stamp_ns, found.frame_id) == (10**9, "LIDAR_TOP")
    assert len(found) > 10
    assert cv2.imread(str(tmp_path / "found.png")).shape[2] == 3


def test_several_frames_are_a_list_and_one_can_be_chosen(source, tmp_path):
    config = ["--config", source / "rig.yaml"]
    assert detect(source / "drive", *config, "--json", tmp_path / "all.json") == 0
    assert detect(source / "drive", *config, "--frame", 1, "--json", tmp_path / "one.json") == 0
    frames = json.loads((tmp_path / "all.json").read_text())["frames"]
    assert [frame["stamp_ns"] for frame in frames] == [10**9, 11 * 10**8]
    assert json.loads((tmp_path / "one.json").read_text())["stamp_ns"] == 11 * 10**8


def detections(centers, labels, scores=None):
    count = len(centers)
    boxes = Boxes3D(np.array(centers, np.float32).reshape(-1, 3), np.ones((count, 3)),
                    np.zeros(count), np.zeros((count, 2)))
    scores = np.linspace(0.9, 0.5, count) if scores is None else scores
    return Detections(0, "l", boxes, np.array(scores, np.float32), np.array(labels, np.int64))


def truth(centers, labels, points):
    found = detections(centers, labels)
    return Annotations(found.boxes, found.labels, np.array(points), np.full(len(found), np.nan),
                       np.full(len(found), -1))


def test_a_match_is_near_of_the_class_with_points_and_taken_once():
    objects = truth([(0, 0, 0), (10, 0, 0), (20, 0, 0)], [0, 1, 0], [5, 3, 0])
    found = detections([(1.9, 0, 9), (0.1, 0, 0), (10, 0, 0), (20, 0, 0), (2.1, 0, 0)],
                       [0, 0, 0, 0, 0])
    # The best takes the first object, height does not count; the second object is of another
    # class; the third holds no point.
    assert matches(found, objects).tolist() == [True, False, False, False, False]
    assert matches(found, objects, any_class=True).tolist() == [True, False, True, False, False]


def test_nothing_matches_nothing():
    assert matches(detections([], []), truth([], [], [])).shape == (0,)
    assert not matches(detections([(0, 0, 0)], [0]), truth([], [], [])).any()


def test_the_table_says_what_is_right_where_the_truth_is_known():
    found = detections([(1, 0, 0), (50, 0, 0)], [0, 8])
    lines = table(found, truth([(0, 0, 0)], [0], [4])).splitlines()
    assert lines[1].startswith("car")
    assert lines[1].endswith("yes")
    assert lines[2].startswith("pedestrian")
    assert lines[2].endswith("-")
    assert lines[3] == ("1 of 2 detections lie within 2 m of an object of their class, 1 of any "
                        "class; 1 objects hold a LiDAR point")
    assert "truth" not in table(found, None)
