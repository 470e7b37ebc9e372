from __future__ import annotations

import os
import subprocess
import sys

import pytest

from aqr_perception.cli.main import main
from aqr_perception.cli.outputs import check_picture, check_writable


def test_what_can_be_written_is_fine(tmp_path):
    (tmp_path / "old.json").touch()
    check_writable(None, tmp_path / "new.json", tmp_path / "old.json")
    check_picture(tmp_path / "new.png")
    check_picture(None)


def test_what_cannot_is_named_before_the_work(tmp_path):
    with pytest.raises(FileNotFoundError):
        check_writable(tmp_path / "none" / "a.json")
    with pytest.raises(IsADirectoryError):
        check_writable(tmp_path)
    with pytest.raises(ValueError, match=r"x\.foo: is no kind of picture"):
        check_picture(tmp_path / "x.foo")


def test_a_folder_that_may_not_be_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # root may anywhere
    with pytest.raises(PermissionError):
        check_writable(tmp_path / "a.json")
    (tmp_path / "old.json").touch()
    check_writable(tmp_path / "old.json")  # a file that is there may be, all the same


@pytest.mark.parametrize("command", [
    ["benchmark", "--parts", "renderer"], ["evaluate", "drives"], ["check-transport"],
    ["check-vehicle"]])
def test_commands_that_measure_look_first(tmp_path, capsys, command):
    if command[0].startswith("check"):
        pytest.importorskip("rclpy")
    assert main([*command, "--json", str(tmp_path / "none" / "x.json")]) == 2
    assert "none: no such folder to write to" in capsys.readouterr().err


def test_who_reads_only_the_beginning_is_not_told_of_a_broken_pipe():
    started = subprocess.run(
        ["bash", "-c", "set -o pipefail; \"$@\" | head -1", "-", sys.executable, "-c",
         "import sys; from aqr_perception.cli import main, detect\n"
         "detect.add_arguments = lambda parser: None\n"
         "def run(args):\n for _ in range(100000): print('x' * 100)\n"
         "detect.run = run; sys.exit(main.main(['detect']))"],
        capture_output=True, text=True, timeout=60, check=False)
    assert started.stdout == "x" * 100 + "\n"
    assert started.stderr == ""
    assert started.returncode == 141
