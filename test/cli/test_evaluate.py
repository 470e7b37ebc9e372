"""``evaluate`` end to end, with a small network on made-up drives."""

import json
from dataclasses import replace

import pytest
from training_frames import make_frame, small_config

from aqr_perception.cli.main import main
from aqr_perception.model.checkpoint import save, untrained
from aqr_perception.recordings.frame_writer import write_frame
from aqr_perception.simulation.cache import drive_path, write_drive


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two drives of three frames, one of them as frame directories too, and weights."""
    folder = tmp_path_factory.mktemp("evaluate")
    for seed in range(2):
        write_drive(drive_path(folder / "drives", seed), [at(k) for k in range(3)],
                    {"seed": seed})
    for k in range(3):
        write_frame(folder / "frames" / f"frame_{k}", *at(k))
    save(folder / "weights.safetensors", untrained(small_config()), {"trained": False})
    (folder / "rig.yaml").write_text("/**:\n  ros__parameters:\n    cameras: [front, back]\n")
    return folder


def at(k):
    """Made-up frame number k of a drive at 2 Hz."""
    frame, truth = make_frame(k)
    stamp = 10**9 + k * 5 * 10**8
    return replace(frame, stamp_ns=stamp, lidar=replace(frame.lidar, stamp_ns=stamp),
                   images=tuple(replace(image, stamp_ns=stamp) for image in frame.images)), truth


def evaluate(folder, source, *arguments):
    """Status of the command on one of the sources."""
    return main(["evaluate", str(folder / source), "--config", str(folder / "rig.yaml"),
                 "--weights", str(folder / "weights.safetensors"), "--device", "cpu",
                 *map(str, arguments)])


def figures(folder, tmp_path, source, *arguments):
    """What the command writes."""
    path = tmp_path / "figures.json"
    assert evaluate(folder, source, "--json", path, *arguments) == 0
    return json.loads(path.read_text())


def test_faults_are_in_the_table_and_in_the_file(folder, tmp_path, capsys):
    found = figures(folder, tmp_path, "drives", "--faults", "lidar_absent", "all_cameras_stale",
                    "--severities", 1, 3)
    out = capsys.readouterr().out
    assert "not trained" in out
    assert [line.split()[0] for line in out.splitlines()[-3:]] == [
        "lidar_absent", "all_cameras_stale", "mRA:"]
    assert found["frames"] == 6
    assert found["run"]["trained"] is False
    assert found["run"]["seeds"] == [0, 1]
    assert found["run"]["milliseconds"]["p90"] >= found["run"]["milliseconds"]["p50"] > 0
    boxes = {name: one["boxes"] for name, one in found["set"]["by_class"].items()}
    assert boxes == found["truths"]
    assert sum(boxes.values()) == found["set"]["boxes"] > 0
    assert found["set"]["by_class"]["bus"]["far"] is None
    assert list(found["faults"]) == ["lidar_absent", "all_cameras_stale"]
    assert list(found["faults"]["lidar_absent"]["severities"]) == ["1", "3"]


def test_a_sensor_that_is_left_out_cannot_fail(folder, tmp_path):
    found = figures(folder, tmp_path, "drives", "--sensors", "camera", "--faults", "lidar_absent",
                    "lidar_ghosts", "--severities", 2)
    assert found["run"]["sensors"] == "camera"
    for fault in found["faults"].values():
        assert fault["severities"]["2"] == {name: found[name] for name in ("mAP", "NDS")}


def test_a_stride_and_a_limit(folder, tmp_path):
    assert figures(folder, tmp_path, "drives", "--every", 2)["frames"] == 3
    assert figures(folder, tmp_path, "drives", "--every", 2, "--frames", 1)["frames"] == 1
    assert figures(folder, tmp_path, "drives", "--every", 3)["frames"] == 2
    assert figures(folder, tmp_path, "frames", "--frames", 9)["frames"] == 3


def test_the_last_frame_of_each_group_is_looked_at(folder, tmp_path):
    """The first of a drive has no past that a fault could show."""
    found = figures(folder, tmp_path, "drives", "--every", 3)["set"]
    expected = [(2 * len(truth), 2 * int((truth.labels == 0).sum()))
                for _, truth in (at(k) for k in range(3))]
    assert (found["boxes"], found["by_class"]["car"]["boxes"]) == expected[2]
    assert expected[2] not in expected[:2]


@pytest.mark.parametrize(("arguments", "words"), [
    (["--faults", "frog"], "fault is 'frog'"),
    (["--faults", "fog", "--severities", 0], "severity is 0; expected some of 1, 2, 3"),
    (["--every", 0], "--every is 0; expected 1 or more"),
    (["--every", 7], "too few frames with ground truth; expected at least 7, for --every 7"),
    (["--frames", 0], "--frames is 0; expected 1 or more"),
    (["--results", "x.json", "--faults"], "none with --results"),
    (["--json", "/nowhere/at/all.json"], "/nowhere/at: no such folder to write to")])
def test_what_does_not_fit_is_said_in_one_line(folder, arguments, words, capsys):
    assert evaluate(folder, "drives", *arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
