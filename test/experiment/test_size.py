from __future__ import annotations

import pytest

from aqr_perception.experiment.config_file import config_of
from aqr_perception.experiment.size import (
    RESERVE,
    START_SECONDS,
    Cost,
    Size,
    fitted_size,
    full_size,
)

CONFIG = config_of({
    "seeds": [0, 1], "competitor": "other",
    "training": {"steps": 1000}, "evaluation": {"clean_frames": 200, "frames": 100,
                                                "faults": ["fog"], "severities": [1, 3]},
    "runs": {"baseline": {"train": False}, "other": {}}})
COSTS = {"baseline": Cost(0.0, 0.1), "other": Cost(1.0, 0.2)}


def hours_of(size: Size, processes: int = 1) -> float:
    seconds = ((size.clean_frames + 2 * size.frames) * 0.1 + START_SECONDS
               + 2 * (size.steps * 1.0 + (size.clean_frames + 2 * size.frames) * 0.2
                      + START_SECONDS))
    return seconds / 3600 / processes / (1 - RESERVE)


def test_all_is_done_where_it_fits():
    full = full_size(CONFIG, 1000)
    assert (full.steps, full.clean_frames, full.frames) == (1000, 200, 100)
    assert fitted_size(CONFIG, full, COSTS, hours_of(full) + 0.01, 1).frames == 100


def test_no_more_frames_than_there_are():
    assert full_size(CONFIG, 50).clean_frames == full_size(CONFIG, 50).frames == 50


@pytest.mark.parametrize("processes", [1, 2])
def test_steps_and_frames_shrink_alike_and_fill_the_hours(processes):
    full = full_size(CONFIG, 1000)
    hours = hours_of(full, processes) / 3
    size = fitted_size(CONFIG, full, COSTS, hours, processes)
    assert size.steps / 1000 == pytest.approx(size.clean_frames / 200, abs=0.02)
    assert size.steps / 1000 == pytest.approx(size.frames / 100, abs=0.02)
    assert 0.97 * hours < hours_of(size, processes) <= hours


def test_too_few_hours_are_refused_with_how_many_it_takes():
    full = full_size(CONFIG, 1000)
    with pytest.raises(ValueError, match=r"--budget is 0.001 hours; expected at least 0\.1 for 3"):
        fitted_size(CONFIG, full, COSTS, 0.001, 1)


def test_a_size_survives_json():
    size = Size(1, 2, 3, COSTS)
    assert Size.of_json(size.to_json()) == size
