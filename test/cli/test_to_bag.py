"""``to-bag``, and ``detect`` on what it made."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from test_detect import refused
from training_frames import make_frame

from aqr_perception.cli.main import main
from aqr_perception.recordings.boxes_file import read_detections
from aqr_perception.recordings.frame_writer import write_frame

pytest.importorskip("vision_msgs")
pytest.importorskip("tf2_ros")

RIG = "/**:\n  ros__parameters:\n    cameras: [front, back]\n"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames")
    frame, annotations = make_frame(0)
    write_frame(folder / "frame", frame, annotations)
    (folder / "rig.yaml").write_text(RIG)
    (folder / "left.yaml").write_text(RIG.replace("back", "left"))
    return folder


def run(*arguments):
    return main([str(argument) for argument in arguments])


def found(place, folder, *arguments):
    path = folder / f"{place.name}.json"
    assert run("detect", place, *arguments, "--score-threshold", 0, "--json", path) == 0
    return read_detections(path)


def assert_same(mine, theirs, atol):
    assert (mine.stamp_ns, mine.frame_id) == (theirs.stamp_ns, theirs.frame_id)
    np.testing.assert_array_equal(mine.labels, theirs.labels)
    np.testing.assert_allclose(mine.scores, theirs.scores, atol=atol)
    np.testing.assert_allclose(mine.boxes.center, theirs.boxes.center, atol=atol)
    np.testing.assert_allclose(mine.boxes.size, theirs.boxes.size, atol=atol)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("compressed", [[], ["--compressed"]])
def test_a_bag_gives_the_detections_of_its_frame(source, tmp_path, capsys, storage, compressed):
    config = ["--config", source / "rig.yaml"]
    assert run("to-bag", source / "frame", tmp_path / "bag", "--storage", storage,
               *compressed) == 0
    assert ": 8 messages of 1 frames on 8 topics" in capsys.readouterr().out
    assert_same(found(tmp_path / "bag", tmp_path, *config),
                found(source / "frame", tmp_path, *config), atol=1e-4)
    out = capsys.readouterr().out
    tables = [line for line in out.splitlines() if "of their class" in line]
    assert len(tables) == 2, "the truth travels, too"


@pytest.mark.parametrize("compressed", [[], ["--compressed"]])
def test_the_real_frame_gives_the_same_from_a_bag(shared_data, tmp_path, compressed):
    folder = shared_data / "nuscenes_scene-0061"
    assert run("to-bag", folder, tmp_path / "bag", *compressed) == 0
    assert_same(found(tmp_path / "bag", tmp_path), found(folder, tmp_path), atol=1e-4)


def test_only_the_rigs_cameras(source, tmp_path):
    (tmp_path / "one.yaml").write_text(RIG.replace("front, ", ""))
    assert run("to-bag", source / "frame", tmp_path / "bag", "--config", tmp_path / "one.yaml",
               "--compressed") == 0
    line = refused("detect", tmp_path / "bag", "--config", source / "rig.yaml")
    assert "has no topic /front/image_raw, /front/camera_info; it has" in line
    assert "/back/image_raw/compressed (sensor_msgs/msg/CompressedImage)" in line
    assert "--config" in line


def cut_bag(source, folder):
    assert run("to-bag", source / "frame", folder / "bag") == 0
    path = next((folder / "bag").glob("*.mcap"))
    os.truncate(path, path.stat().st_size // 2)
    return folder / "bag"


def test_a_bag_that_was_cut_off_is_one_line_and_status_2(source, tmp_path):
    line = refused("detect", cut_bag(source, tmp_path), "--config", source / "rig.yaml")
    assert f"{tmp_path}/bag: the bag cannot be read" in line


@pytest.mark.parametrize(("arguments", "words"), [
    (["{source}/frame", "{source}"], "is there already"),
    (["{source}/none", "{out}/bag"], "/none: no such folder"),
    (["{source}/frame", "{out}/bag", "--config", "{source}/left.yaml"], "no calibration of left"),
    (["{out}/cut", "{out}/bag"], "lidar.bin: has 333 bytes")])
def test_what_does_not_fit_is_one_line_and_status_2(source, tmp_path, arguments, words):
    shutil.copytree(source / "frame", tmp_path / "cut")
    os.truncate(tmp_path / "cut" / "lidar.bin", 333)
    line = refused("to-bag", *(argument.format(source=source, out=tmp_path)
                               for argument in arguments))
    assert words in line
    assert not Path(tmp_path / "bag").exists()
