"""detect and to-bag as a user calls them: results, and one line for whatever does not fit."""

import contextlib
import io
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from training_frames import CAMERAS, make_frame

from aqr_perception.cli.main import main
from aqr_perception.recordings.boxes_file import read_detections
from aqr_perception.recordings.frame_writer import write_frame

RIG = f"/**:\n  ros__parameters:\n    cameras: [{', '.join(CAMERAS)}]\n"


def run(*arguments):
    """The command in this process: torch is imported once, not once a test."""
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        status = main([str(argument) for argument in arguments])
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), errors.getvalue())


def test_the_command_line_is_a_process_with_that_status(tmp_path):
    done = subprocess.run([sys.executable, "-m", "aqr_perception", "detect", tmp_path / "none"],
                          capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 2
    assert done.stderr == f"aqr_perception detect: {tmp_path}/none: no such folder\n"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames")
    for index in range(2):
        frame, annotations = make_frame(index)
        write_frame(folder / f"frame_{index}", frame, annotations)
    (folder / "rig.yaml").write_text(RIG)
    return folder


def test_detect_prints_writes_and_draws(source, tmp_path):
    done = run("detect", source / "frame_0", "--config", source / "rig.yaml", "--score-threshold",
               0, "--json", tmp_path / "found.json", "--image", tmp_path / "found.png")
    assert done.returncode == 0, done.stderr
    assert "detections lie within 2 m" in done.stdout
    found = read_detections(tmp_path / "found.json")
    assert len(found) > 10
    assert (np.diff(found.scores) <= 0).all()
    assert cv2.imread(str(tmp_path / "found.png")).shape[2] == 3


def test_detect_takes_a_folder_and_gives_a_list(source, tmp_path):
    done = run("detect", source, "--config", source / "rig.yaml", "--json", tmp_path / "all.json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads((tmp_path / "all.json").read_text())["frames"]) == 2


@pytest.mark.parametrize(("arguments", "words"), [
    (["detect", "{source}/nothing"], ["nothing", "no such folder"]),
    (["detect", "{source}/frame_0"], ["CAM_FRONT", "front", "--config"]),
    (["detect", "{source}/frame_0", "--config", "{source}/rig.yaml", "--device", "tpu"],
     ["tpu", "cuda:N"]),
    (["detect", "{source}/frame_0", "--config", "{source}/rig.yaml", "--device", "cuda:7"],
     ["cuda:7", "--device"]),
    (["detect", "{source}/frame_0", "--config", "{source}/none.yaml"], ["none.yaml"]),
    (["detect", "{source}/frame_0", "--config", "{source}/rig.yaml", "--weights",
      "{source}/rig.yaml"], ["rig.yaml"]),
    (["detect", "{source}/frame_0", "--config", "{source}/rig.yaml", "--frame", "4"], ["--frame"]),
    (["detect", "{source}/frame_0", "--config", "{source}/rig.yaml", "--image", "{source}/a/b.png"],
     ["no such folder to write to"]),
    (["to-bag", "{source}", "{source}"], ["already"]),
    (["to-bag", "{source}/nothing", "{source}/bag"], ["nothing"])])
def test_what_does_not_fit_is_one_line_and_status_2(source, arguments, words):
    done = run(*(argument.format(source=source) for argument in arguments))
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"aqr_perception {arguments[0]}: ")
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("compressed", [[], ["--compressed"]])
def test_a_bag_gives_the_detections_of_its_frames(source, tmp_path, storage, compressed):
    made = run("to-bag", source / "frame_0", tmp_path / "bag", "--storage", storage, *compressed)
    assert made.returncode == 0, made.stderr
    config = ["--config", source / "rig.yaml", "--score-threshold", 0]
    for place, name in ((source / "frame_0", "frame"), (tmp_path / "bag", "bag")):
        done = run("detect", place, *config, "--json", tmp_path / f"{name}.json")
        assert done.returncode == 0, done.stderr
    frame = read_detections(tmp_path / "frame.json")
    bag = read_detections(tmp_path / "bag.json")
    # The bag's tf holds rotations as quaternions, so the last digits differ, and near ties swap.
    np.testing.assert_allclose(bag.scores, frame.scores, atol=1e-4)
    np.testing.assert_allclose(np.sort(bag.boxes.center, axis=0),
                               np.sort(frame.boxes.center, axis=0), atol=1e-2)
