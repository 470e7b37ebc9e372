"""Runs that learn from other runs: what fits, in which order, and what they go on from."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from source_imports import REPOSITORY

from aqr_perception.experiment.config import fixed_settings
from aqr_perception.experiment.config_file import config_of, load_config
from aqr_perception.experiment.job import Job, work
from aqr_perception.experiment.processes import _next
from aqr_perception.experiment.run_trainer import read_lines
from aqr_perception.experiment.size import Size
from aqr_perception.training.engine import WEIGHTS_FILE
from aqr_perception.training.log import LOG_FILE

MAPS = {"mode": "weight_map", "weight_map": {"renderer": {"max_weight_clamp": 2.5}}}
SMALL = {"mode": "weight_map", "weight_map": {"renderer": {"max_weight_clamp": 2.5},
                                              "generator": {"kind": "mlp"}}}
RUNS = {"baseline": {"train": False}, "finetune_faults": {},
        "student": {"distil_from": "large", "aqr": SMALL}, "large": {"aqr": MAPS},
        "plain": {"aqr": SMALL}}
CONFIG = config_of({
    "runs": RUNS, "seeds": [0], "training": {"steps": 2, "batch_size": 2},
    "evaluation": {"clean_frames": 2, "frames": 1, "faults": ["camera_black"], "severities": [3]}})


def job(drives, out, name, config=CONFIG, probe=False):
    return Job(config, name, 0, Size(2, 2, 1), drives / "weights.safetensors", drives, out, "cpu",
               probe)


@pytest.fixture(scope="module")
def taught(drives, tmp_path_factory):
    """A folder where a run was done, and then one that learned from it."""
    out = tmp_path_factory.mktemp("taught")
    for name in ("large", "student"):
        work(job(drives, out, name), lambda seconds: None)
    return out


def test_the_full_experiment_distils_the_aggressive_transformer_into_the_mlp():
    full = load_config(REPOSITORY / "config" / "experiment.yaml")
    run = full.runs["mlp_distilled"]
    assert run.distil_from == "aggressive"
    assert run == replace(full.runs["mlp_generator"], distil_from="aggressive", about=run.about,
                          against=run.against)
    assert "mlp_generator" in full.against("mlp_distilled")


def test_a_run_waits_for_the_one_that_it_learns_from(drives, tmp_path):
    waiting = [job(drives, tmp_path, name) for name in ("student", "plain", "large")]
    assert [one.name for one in waiting if one.teacher] == ["student"]
    begun = []
    running: list[SimpleNamespace] = []
    while (found := _next(waiting, running)) is not None:
        begun.append(found.name)
        waiting.remove(found)
        running.append(SimpleNamespace(job=found))
    assert begun == ["plain", "large"]
    assert [one.name for one in waiting] == ["student"]
    assert _next(waiting, running[:1]).name == "student"
    assert job(drives, tmp_path, "student", probe=True).teacher is None


def test_it_learns_from_the_weights_of_the_same_seed(taught, drives):
    folder = job(drives, taught, "student").folder
    assert job(drives, taught, "student").teacher == job(drives, taught, "large").folder
    losses = [line["loss_distillation"] for line in read_lines(folder / LOG_FILE)]
    assert len(losses) == 2
    assert losses[1] > 0
    assert job(drives, taught, "student").finished
    result = json.loads((folder / "result.json").read_text())
    assert result["training"]["curves"]["loss_distillation"] == losses


def test_it_does_not_go_on_when_the_one_it_learned_from_is_another(taught, drives):
    runs = {**RUNS, "large": {"aqr": MAPS, "fault_share": 0.25}}
    other = replace(CONFIG, runs=config_of({"runs": runs}).runs)
    with pytest.raises(ValueError, match="holds a run with teacher = "):
        _ = job(drives, taught, "student", other).finished


def test_a_missing_teacher_is_named(drives, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"large/seed_0/{WEIGHTS_FILE}"):
        work(job(drives, tmp_path, "student"), lambda seconds: None)


def test_a_probe_needs_no_teacher(drives, tmp_path):
    work(job(drives, tmp_path, "student", probe=True), lambda seconds: None)
    assert json.loads((tmp_path / "probe" / "student" / "result.json").read_text())["step"] > 0


def test_runs_without_a_teacher_go_on_in_folders_from_before():
    assert "distil_from" not in json.dumps(fixed_settings(CONFIG, "large", 2))
    assert set(fixed_settings(CONFIG, "plain", 2)) == {"run", "training"}
    assert set(fixed_settings(CONFIG, "student", 2)) == {"run", "training", "teacher"}


def test_a_run_is_held_to_the_settings_of_its_own_mode_alone():
    assert set(fixed_settings(CONFIG, "large", 2)["run"]["aqr"]) == {
        "mode", "weight_map", "target_band"}
    assert set(fixed_settings(CONFIG, "baseline", 2)["run"]["aqr"]) == {"mode", "target_band"}


@pytest.mark.parametrize(("run", "message"), [
    ({"distil_from": "nobody", "aqr": SMALL}, "'nobody'; expected a run that is trained"),
    ({"distil_from": "baseline", "aqr": SMALL}, "'baseline'; expected a run that is trained"),
    ({"distil_from": "student", "aqr": SMALL}, "'student'; expected a run that is trained"),
    ({"distil_from": "large", "train": False, "aqr": SMALL}, "expected a run that is trained"),
    ({"distil_from": "large", "aqr": MAPS}, "runs.new.distil_from is 'large', but .* another than"),
    ({"distil_from": "finetune_faults", "aqr": SMALL}, "the teacher's aqr.mode is off")])
def test_what_cannot_be_learned_from_is_named(run, message):
    with pytest.raises(ValueError, match=message):
        config_of({"runs": {**RUNS, "new": run}}, "x")
