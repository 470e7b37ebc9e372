"""What the gate's eye costs, in a probe and afterwards."""

import json
from unittest.mock import Mock

import pytest
import torch

from aqr_perception.experiment.config_file import config_of
from aqr_perception.experiment.eye import EYE_FOLDER, _pool, eye_seconds, seeing
from aqr_perception.experiment.job import Job, _start
from aqr_perception.experiment.network import start_network
from aqr_perception.experiment.size import Size
from aqr_perception.model import checkpoint
from aqr_perception.model.aqr.config import GateConfig


def job(tmp_path, probe: bool, looks: int = 4, name: str = "gate") -> Job:
    config = config_of({
        "runs": {"baseline": {"train": False}, "finetune_faults": {},
                 "gate": {"aqr": {"mode": "gate"}},
                 "bold": {"aqr": {"mode": "gate", "gate": {"caution": [0.5, 0.1]}}}},
        "training": {"steps": 300, "eye": {"share": 8.0, "pool": 150, "looks": looks}}})
    return Job(config, name, 0, Size(300, 2, 1), None, tmp_path, tmp_path, "cpu", probe)


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


def test_an_eye_is_shared_by_gates_that_act_otherwise(tmp_path, monkeypatch):
    """The second takes over what the first saw, and acts as it is told to."""
    looked = []

    class Looks:
        def __init__(self, network, source, mounting, settings, folder, *others):
            self.network, self.folder = network, folder

        def run(self):
            looked.append(self.folder)
            self.network.requires_grad_(False)
            torch.nn.init.constant_(self.network.decoder.router.carried, 0.7)
            (self.folder / "log.jsonl").write_text("")
            checkpoint.save(self.folder / "weights.safetensors", self.network, {})

    monkeypatch.setattr("aqr_perception.experiment.eye.GateTrainer", Looks)
    monkeypatch.setattr("aqr_perception.experiment.eye.Drives.open", lambda folder: Mock())
    monkeypatch.setattr("aqr_perception.experiment.eye.drives_digest", lambda folder: "same")
    made = {}
    for name in ("gate", "bold"):
        one = job(tmp_path, False, name=name)
        made[name] = seeing(one, start_network(_start(one), one.config, name, 0), 300)
    assert looked == [job(tmp_path, False).folder / EYE_FOLDER]
    for name, caution in (("gate", GateConfig().caution), ("bold", (0.5, 0.1))):
        assert all(parameter.requires_grad for parameter in made[name].parameters())
        router = made[name].decoder.router
        assert router.carried.tolist() == pytest.approx([0.7, 0.7])
        assert router.config.caution == tuple(caution)
        assert router.caution.tolist() == pytest.approx(caution)
