"""Which drives an experiment is about."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from source_imports import REPOSITORY
from training_frames import make_drive

from aqr_perception.experiment.config_file import load_config
from aqr_perception.experiment.drives import digest
from aqr_perception.experiment.files import hold_to
from aqr_perception.experiment.job import SETTINGS_FILE, Job
from aqr_perception.experiment.size import Size
from aqr_perception.simulation.cache import drive_path, write_drive


@pytest.fixture
def own(drives, tmp_path):
    shutil.copytree(drives, tmp_path / "drives")
    return tmp_path / "drives"


def test_equal_drives_have_equal_digests_wherever_they_lie(drives, own):
    assert digest(own) == digest(drives)


@pytest.mark.parametrize("part", ["train", "held_out"])
def test_another_drive_or_a_longer_one_changes_the_digest(own, part):
    before = digest(own)
    seed = 5 if part == "train" else 1_000_005
    write_drive(drive_path(own / part, seed), make_drive(seed, 4), {"seed": seed})
    more = digest(own)
    assert more != before
    write_drive(drive_path(own / part, seed), make_drive(seed, 5), {"seed": seed})
    assert digest(own) not in (before, more)


def test_runs_on_other_drives_are_not_gone_on_with(own, tmp_path):
    job = Job(load_config(REPOSITORY / "config" / "experiment.yaml"), "baseline", 0,
              Size(300, 8, 4), own / "weights.safetensors", own, tmp_path / "out", "cpu")
    settings = Path(tmp_path / SETTINGS_FILE)
    hold_to(settings, job.fixed)
    hold_to(settings, job.fixed)
    write_drive(drive_path(own / "train", 7), make_drive(7, 4), {"seed": 7})
    with pytest.raises(ValueError, match="drives"):
        hold_to(settings, job.fixed)
