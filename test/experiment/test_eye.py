"""What the gate's eye costs, in a probe and afterwards."""

import json

import pytest

from aqr_perception.experiment.config_file import config_of
from aqr_perception.experiment.eye import EYE_FOLDER, _pool, eye_seconds
from aqr_perception.experiment.job import Job
from aqr_perception.experiment.size import Size


def job(tmp_path, probe: bool, looks: int = 4) -> Job:
    config = config_of({
        "runs": {"baseline": {"train": False}, "finetune_faults": {},
                 "gate": {"aqr": {"mode": "gate"}}},
        "training": {"steps": 300, "eye": {"share": 8.0, "pool": 150, "looks": looks}}})
    return Job(config, "gate", 0, Size(300, 2, 1), None, tmp_path, tmp_path, "cpu", probe)


@pytest.mark.parametrize(("looks", "pool"), [(4, 8), (0, 2)])
def test_a_probe_looks_at_each_batch_as_often_as_the_whole(tmp_path, looks, pool):
    """Steps with a new batch take ten times as long: their share decides what the whole takes."""
    assert _pool(job(tmp_path, True, looks), 32) == pool
    assert _pool(job(tmp_path, False, looks), 2400) == 150


def test_its_time_counts_steps_that_wait_for_the_trunks(tmp_path):
    made = job(tmp_path, False)
    (made.folder / EYE_FOLDER).mkdir(parents=True)
    lines = [{"step": step, "seconds_per_step": seconds}
             for step, seconds in enumerate([9.0, 2.0, 0.2, 0.2, 0.2])]
    (made.folder / EYE_FOLDER / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert eye_seconds(made, 300) == pytest.approx(0.65 * 2400)
