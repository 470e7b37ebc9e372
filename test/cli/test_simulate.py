from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from aqr_perception.cli.main import main
from aqr_perception.recordings.frame_directory import read_frame
from aqr_perception.simulation.cache import DriveFolder

SMALL = ["--size", "64x32", "--workers", "1"]


def test_drives_are_written_once_and_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "drives"
    command = ["simulate", str(out), "--frames", "2", "--seed", "3", *SMALL]
    assert main([*command, "--drives", "1"]) == 0
    first = (out / "drive-0000003.safetensors").read_bytes()
    stamp = (out / "drive-0000003.safetensors").stat().st_mtime_ns
    assert main([*command, "--drives", "2", "--statistics"]) == 0
    assert (out / "drive-0000003.safetensors").stat().st_mtime_ns == stamp
    assert len(DriveFolder(out)) == 4
    assert "> 25 m" in capsys.readouterr().out
    (out / "drive-0000003.safetensors").unlink()
    assert main([*command, "--drives", "2", "--workers", "2"]) == 0
    assert (out / "drive-0000003.safetensors").read_bytes() == first  # the same bytes again
    assert main(["simulate", str(out), "--frames", "3", "--seed", "3", *SMALL]) == 2
    assert "remove it, or choose another folder" in capsys.readouterr().err


def test_frame_directories_read_as_recordings_do(tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str]):
    sheet = tmp_path / "sheet.png"
    assert main(["simulate", str(tmp_path), "--format", "frames", "--frames", "1", "--image",
                 str(sheet), *SMALL]) == 0
    frame = read_frame(tmp_path / "drive-0000000" / "frame_0000")
    assert frame.present.all()
    assert frame.lidar is not None
    ages, counts = np.unique(frame.lidar.points[:, 4], return_counts=True)
    assert ages == pytest.approx([0, .1, .2, .3])
    assert counts[0] == 34688
    assert (counts[1:] > 15000).all()  # without the car itself and beams that met nothing
    assert 0 < frame.lidar.points[:, 3].max() <= 1
    again = ["simulate", str(tmp_path), "--format", "frames", "--frames", "1", *SMALL]
    assert main(again) == 0
    assert main([*again, "--rate", "10"]) == 2
    assert "remove it, or choose another folder" in capsys.readouterr().err
    picture = cv2.imread(str(sheet))
    assert picture is not None
    assert picture.shape == (64, 192, 3)
    assert np.ptp(picture) > 100


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "nothing to do"),
    (["x", "--size", "big"], "--size is 'big'"),
    (["x", "--size", "8x8"], "expected 16 to 4096"),
    (["x", "--frames", "0"], "--frames is 0"),
    (["x", "--rate", "0"], "rate is 0.0 Hz"),
    (["x", "--seed", "1000000"], "kept for validation"),
    (["x", "--rig", "no.json"], "no.json: No such file"),
    (["--image", "x.foo"], "x.foo: is no kind of picture"),
    (["--image", "none/x.png"], "none: no such folder to write to"),
])
def test_what_does_not_fit_is_said_in_one_line(arguments: list[str], message: str,
                                               capsys: pytest.CaptureFixture[str]):
    assert main(["simulate", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_ctrl_c_ends_all_that_render(tmp_path: Path):
    out = tmp_path / "drives"
    with subprocess.Popen(
            [sys.executable, "-m", "aqr_perception", "simulate", str(out), "--drives", "6",
             "--frames", "40", "--size", "352x128", "--workers", "2"], start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as started:
        time.sleep(4.0)
        os.killpg(started.pid, signal.SIGINT)
        assert started.wait(10.0) != 0
    assert not list(out.glob("*.safetensors"))
