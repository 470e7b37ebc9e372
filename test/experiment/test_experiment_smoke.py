"""The smoke configuration from its YAML file to its figures."""

from __future__ import annotations

import json

import pytest
from source_imports import REPOSITORY

from aqr_perception.cli.main import main

SMOKE = REPOSITORY / "config" / "experiment_smoke.yaml"


def experiment(drives, out, *more):
    return main(["experiment", str(SMOKE), str(out), "--drives", str(drives), "--init",
                 str(drives / "weights.safetensors"), "--processes", "1", *map(str, more)])


def results(out):
    return {path.parent.relative_to(out / "runs").as_posix(): json.loads(path.read_text())
            for path in sorted((out / "runs").glob("*/*/result.json"))}


def without_times(value):
    """A result but for what a clock or the memory said."""
    if isinstance(value, dict):
        return {name: without_times(one) for name, one in value.items()
                if name not in ("milliseconds", "seconds", "seconds_per_step", "memory_mib")}
    return [without_times(one) for one in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def done(drives, tmp_path_factory):
    out = tmp_path_factory.mktemp("first")
    assert experiment(drives, out) == 0
    return out


def test_every_run_is_done_with_every_seed(done):
    found = results(done)
    assert len(found) == 1 + 5 * 2
    for name, result in found.items():
        assert set(result["faults"]) == {"camera_black", "lidar_stale", "all_cameras_stale",
                                         "lidar_rotated"}, name
        assert result["clean"]["all"]["frames"] == 4
        assert result["clean"]["same"]["frames"] == 2
        assert result["about"]["trained"] is (not name.startswith("baseline"))
