"""One trunk alone learns by its side task, and the whole network starts from it."""

import pytest
import torch
from test_engine import read_log, trainer
from training_frames import MadeUpFrames, small_config

from aqr_perception.model import checkpoint
from aqr_perception.model.detector import Detector
from aqr_perception.training.trunk import TRUNKS, OneSensor, TrunkTask, take_trunk


@pytest.mark.parametrize("trunk", TRUNKS)
def test_only_that_trunk_learns(tmp_path, trunk):
    run = trainer(tmp_path, trunk=trunk, steps=12, average=0.0)
    before = {name: value.clone() for name, value in run.detector.named_parameters()}
    run.run()
    for name, value in run.detector.named_parameters():
        assert torch.equal(value, before[name]) != name.startswith(TRUNKS[trunk]), name
    log = read_log(tmp_path)
    assert log[-1]["loss_heat"] < log[0]["loss_heat"]
    assert log[-1]["loss"] == log[-1]["loss_heat"]


def test_it_resumes_as_if_it_had_not_stopped(tmp_path):
    whole = trainer(tmp_path / "whole", trunk="lidar")
    whole.run()
    parts = trainer(tmp_path / "parts", trunk="lidar")
    for _, batch in zip(range(4), parts._batches()):
        parts._train_step(batch)
        parts.step += 1
    parts._save()
    again = trainer(tmp_path / "parts", trunk="lidar")
    assert again.step == 4
    again.run()
    for name, value in whole.detector.state_dict().items():
        assert torch.equal(value, again.detector.state_dict()[name]), name


def test_the_whole_network_starts_from_trunks(tmp_path):
    weights = trainer(tmp_path, trunk="lidar").run()
    taught, fresh = checkpoint.load(weights), Detector(small_config())
    kept = {name: value.clone() for name, value in fresh.state_dict().items()}
    take_trunk(fresh, taught, "lidar")
    for name, value in fresh.state_dict().items():
        source = taught.state_dict() if name.startswith(TRUNKS["lidar"]) else kept
        assert torch.equal(value, source[name]), name


def test_frames_keep_one_kind_of_sensor():
    frames = MadeUpFrames(2)
    seen = OneSensor(frames, "lidar").read(0)[0]
    assert seen.lidar is not None
    assert seen.images == (None,) * len(seen.images)
    assert OneSensor(frames, "image").read(0)[0].lidar is None


def test_an_unknown_trunk_is_refused():
    with pytest.raises(ValueError, match="trunk is 'radar'"):
        TrunkTask(Detector(small_config()), "radar")
