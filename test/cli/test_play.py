import json
import shutil

import pytest

from aqr_perception.cli.main import main

pytest.importorskip("ament_index_python")


@pytest.fixture
def frame(shared_data, tmp_path):
    folder = tmp_path / "frame"
    shutil.copytree(shared_data / "nuscenes_scene-0061", folder)
    for path in folder.iterdir():
        path.chmod(0o755 if path.is_dir() else 0o644)
    folder.chmod(0o755)
    return folder


def refused(capsys, *arguments):
    """The one line that a call prints before it ends with status 2."""
    assert main(["play", *map(str, arguments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("aqr_perception play: ")
    return line


def test_a_source_that_is_not_there(capsys, tmp_path):
    assert "nowhere" in refused(capsys, tmp_path / "nowhere")


def test_a_folder_without_frames(capsys, tmp_path):
    assert "calib.json" in refused(capsys, tmp_path)


def test_a_rate_out_of_range(capsys, tmp_path):
    assert "--rate" in refused(capsys, tmp_path, "--rate", "0")


def test_a_topic_that_is_not_there_lists_those_that_are(capsys, frame):
    line = refused(capsys, frame, "--topics", "/radar")
    assert "/radar" in line
    assert "/LIDAR_TOP/points" in line


def test_a_cut_cloud(capsys, frame):
    path = frame / "lidar.bin"
    path.write_bytes(path.read_bytes()[:-3])
    assert "lidar.bin" in refused(capsys, frame)


def test_a_picture_of_another_size_than_its_calibration(capsys, frame):
    calibration = json.loads((frame / "calib.json").read_text())
    calibration["cameras"]["CAM_BACK"]["width"] = 800
    (frame / "calib.json").write_text(json.dumps(calibration))
    line = refused(capsys, frame)
    assert "CAM_BACK" in line
    assert "800×900" in line


def test_compressed_is_not_for_bags(capsys, tmp_path):
    (tmp_path / "metadata.yaml").write_text("")
    assert "--compressed" in refused(capsys, tmp_path, "--compressed")
