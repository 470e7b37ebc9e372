"""Every run of the full configuration, for one step and one frame of a thin network."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from source_imports import REPOSITORY

from aqr_perception.experiment.config_file import load_config
from aqr_perception.experiment.drives import Drives
from aqr_perception.experiment.measuring import measure_fault
from aqr_perception.experiment.network import (
    start_network,
    training_settings,
    untrained_network,
)
from aqr_perception.experiment.run_trainer import (
    MONITOR_FILE,
    RunTrainer,
    read_lines,
    training_figures,
)
from aqr_perception.experiment.watching import WatchedDetector
from aqr_perception.model import checkpoint
from aqr_perception.runtime.fault_runs import Setting
from aqr_perception.training.distillation import Teacher
from aqr_perception.training.log import LOG_FILE

FULL = load_config(REPOSITORY / "config" / "experiment.yaml")
CONFIG = replace(FULL, training=replace(FULL.training, batch_size=2))
CPU = torch.device("cpu")


@pytest.mark.parametrize("name", [name for name, run in FULL.runs.items() if run.train])
def test_a_run_is_trained_and_measured(drives, tmp_path, name):
    both = Drives.open(drives)
    start = checkpoint.load(drives / "weights.safetensors")
    network = start_network(start, CONFIG, name, 0)
    oracle, teacher = CONFIG.runs[name].oracle, CONFIG.runs[name].distil_from
    trainer = RunTrainer(network, both.train, training_settings(CONFIG, name, 0, 1), tmp_path, CPU,
                         oracle, teacher=Teacher(start_network(start, CONFIG, teacher, 0), "")
                         if teacher else None)
    trained = checkpoint.load(trainer.run())
    figures = training_figures(read_lines(tmp_path / LOG_FILE), read_lines(tmp_path / MONITOR_FILE),
                               1)
    assert math.isfinite(figures["curves"]["loss"][0])
    mode = CONFIG.runs[name].aqr.mode
    assert bool(figures["monitor"]) is (mode != "off")
    watched = WatchedDetector(trained, CPU, oracle)
    seen = measure_fault(watched, both.held_out, [Setting("lidar_stale", 3)], 1, 0, lambda: None
                         )["3"]["seen"][0]
    assert ("relative_change" in seen) is (mode != "off")
    assert ("leave_out" in seen) is (mode == "gate")
    if CONFIG.runs[name].freeze_baseline:
        kept = trained.state_dict()
        assert all(torch.equal(value, kept[key]) for key, value in start.state_dict().items())


def test_weights_are_measured_with_the_aqr_that_came_with_them(drives, tmp_path):
    start = checkpoint.load(drives / "weights.safetensors")
    gated = start_network(start, CONFIG, "gate", 3)
    path = tmp_path / "gated.safetensors"
    checkpoint.save(path, gated, {"trained": False})
    for name, align in (("gate_shipped", True), ("gate_shipped_without_alignment", False)):
        measured = untrained_network(path, CONFIG, name)
        router = measured.decoder.router
        assert router.align is align
        kept = measured.state_dict()
        assert all(torch.equal(value, kept[key]) for key, value in gated.state_dict().items())
    assert untrained_network(path, CONFIG, "baseline").config.aqr.mode == "off"
    with pytest.raises(ValueError, match=r"own_aqr: the weights have aqr.mode off"):
        untrained_network(drives / "weights.safetensors", CONFIG, "gate_shipped")
