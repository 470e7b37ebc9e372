"""check-vehicle from end to end: strict about who takes part and that output never stops for good.

Not about times: a machine that tests is busy, and then frames take long.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aqr_perception.cli.main import main

pytest.importorskip("rclpy")
pytest.importorskip("vision_msgs")

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_S = 400.0
KILLS = [[], ["LiDAR"], ["CAM_FRONT"], ["LiDAR", "CAM_FRONT"],
         ["CAM_FRONT_RIGHT", "CAM_BACK_LEFT"]]


def refused(capsys, *arguments):
    assert main(["check-vehicle", *map(str, arguments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("aqr_perception check-vehicle: ")
    return line


def test_arguments_that_do_not_fit(capsys, tmp_path):
    assert "--rate is 0; expected 1 to 20 Hz" in refused(capsys, "--rate", "0")
    assert "--pairs is 22; expected 0 to 21" in refused(capsys, "--pairs", "22")
    assert "--soak is 0; expected above 0 to 1440 minutes" in refused(capsys, "--soak", "0")
    assert "--malformed is 0; expected 1 or more" in refused(capsys, "--malformed", "0")
    assert "nowhere" in refused(capsys, "--frame", tmp_path / "nowhere")


def test_a_node_that_does_not_start_is_named_with_its_reason(capsys, tmp_path):
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"none")
    line = refused(capsys, "--quick", "--weights", weights)
    assert "the node has ended" in line
    assert "is not a weights file of this package" in line


def test_sensors_die_and_come_back(tmp_path):
    path = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH", ""))))
    profile = os.environ.get("FASTDDS_DEFAULT_PROFILES_FILE", REPOSITORY / "config" / "fastdds.xml")
    found = subprocess.run(
        [sys.executable, "-m", "aqr_perception", "check-vehicle", "--quick", "--rate", "3",
         "--json", str(tmp_path / "found.json")],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1",
             "FASTDDS_DEFAULT_PROFILES_FILE": str(profile)},
        timeout=PATIENCE_S, capture_output=True, text=True, check=False)
    assert found.returncode in (0, 1), found.stderr
    report = json.loads((tmp_path / "found.json").read_text())
    assert (found.returncode == 1) == bool(report["broken"])
    assert [row["killed"] for row in report["kills"]] == KILLS, found.stdout
    for row in report["kills"]:
        assert row["mask_s"] is not None, found.stdout
        assert row["false_masks"] == 0, found.stdout
        assert row["recovery_s"] is not None, found.stdout
    assert report["masks_right"]
    assert report["in_order"], found.stdout
    assert report["newest_processed"], found.stdout
    assert 0 < report["sets_processed"] <= report["sets_sent"]
    assert report["recovery_s"] == max(row["recovery_s"] for row in report["kills"])
    assert report["longest_gap_s"] > 0 < report["node_overhead_ms_p50"]
    assert "CAM_FRONT_RIGHT + CAM_BACK_LEFT" in found.stdout
