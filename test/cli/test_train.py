"""``train`` from its arguments to a weights file."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from training_frames import make_drive

from aqr_perception.cli.main import main
from aqr_perception.model import checkpoint
from aqr_perception.model.aqr.config import AqrConfig, WeightMapConfig
from aqr_perception.model.config import tiny
from aqr_perception.simulation.cache import drive_path, write_drive
from aqr_perception.training.baseline import with_aqr


@pytest.fixture(scope="module")
def drives(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drives")
    write_drive(drive_path(folder, 0), make_drive(0, 2))
    return folder


def test_a_gate_on_top_of_frozen_weights(drives, tmp_path):
    plain = checkpoint.untrained(tiny())
    checkpoint.save(tmp_path / "plain.safetensors", plain)
    assert main(["train", str(drives), str(tmp_path / "run"), "--init",
                 str(tmp_path / "plain.safetensors"), "--aqr", "gate", "--freeze-baseline",
                 "--faults", "1", "--hold-out", "fog", "snow", "--matched", "0.4",
                 "--ended", "0.15", "--aqr-ratio", "5", "--average", "0.99", "--steps", "1",
                 "--batch-size", "1", "--workers", "0", "--device", "cpu"]) == 0
    made = checkpoint.load(tmp_path / "run" / "weights.safetensors")
    assert made.config.aqr.mode == "gate"
    weights = made.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in plain.state_dict().items())
    for setting in ('"held_out": ["fog", "snow"]', '"matched": 0.4', '"persisting": 0.5',
                    '"ended": 0.15', '"aqr_lr_ratio": 5.0', '"average": 0.99'):
        assert setting in made.metadata["training"], setting


def test_torchrun_trains_in_two_processes_and_ends_well(drives, tmp_path):
    started = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         "-m", "aqr_perception", "train", str(drives), str(tmp_path / "run"), "--steps", "1",
         "--batch-size", "4", "--workers", "0", "--device", "cpu"],
        capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert started.returncode == 0, started.stderr[-4000:]
    assert "after 1 steps" in started.stdout
    assert checkpoint.load(tmp_path / "run" / "weights.safetensors").config == tiny()


def test_a_generator_is_distilled_into_a_smaller_one(drives, tmp_path, capsys):
    plain, large = tmp_path / "plain.safetensors", tmp_path / "large.safetensors"
    baseline = checkpoint.untrained(tiny())
    checkpoint.save(plain, baseline)
    checkpoint.save(large, with_aqr(baseline, AqrConfig(
        mode="weight_map", weight_map=WeightMapConfig.preset("aggressive"))))
    arguments = ["train", str(drives), str(tmp_path / "run"), "--init", str(plain), "--steps", "1",
                 "--batch-size", "1", "--workers", "0", "--device", "cpu", "--distil-from"]
    assert main([*arguments, str(large)]) == 0
    made = checkpoint.load(tmp_path / "run" / "weights.safetensors").config.aqr.weight_map
    assert made.generator.kind == "mlp"
    assert made.renderer.max_weight_clamp == 2.5
    capsys.readouterr()
    assert main([*arguments, str(plain)]) == 2
    assert "the teacher's aqr.mode is off; expected weight_map" in capsys.readouterr().err
    assert main([*arguments, str(large), "--aqr", "gate"]) == 2
    assert "expected no --aqr beside it" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "message"), [
    (["--freeze-baseline"], "nothing to train"),
    (["--aqr", "gates"], "aqr.mode is 'gates'; expected one of off, gate"),
    (["--faults", "2"], "faults.share is 2.0; expected 0 to 1"),
    (["--persisting", "0.8", "--ended", "0.3"], "faults.persisting is 0.8, ended 0.3"),
    (["--hold-out", "rust"], "there is no fault 'rust'"),
])
def test_arguments_that_do_not_fit_are_told_in_a_line(drives, tmp_path, capsys, arguments, message):
    assert main(["train", str(drives), str(tmp_path), "--steps", "1", "--device", "cpu",
                 *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("arguments", "words"), [
    (["--learning-rate", "nan"], "learning rate is nan"), (["--seed", "-5"], "seed is -5"),
    (["--average", "2"], "average is 2.0"), (["--steps", "0"], "steps is 0"),
    (["--workers", "-1"], "workers is -1")])
def test_settings_that_cannot_be_are_refused_in_one_line(drives, tmp_path, capsys, arguments,
                                                         words):
    assert main(["train", str(drives), str(tmp_path / "run"), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_a_run_that_cannot_be_written_says_so_in_one_line(drives, tmp_path):
    started = subprocess.run(
        ["bash", "-c", "ulimit -f 1000; exec \"$@\"", "-", sys.executable, "-m", "aqr_perception",
         "train", str(drives), str(tmp_path / "run"), "--steps", "1", "--batch-size", "1",
         "--workers", "0", "--device", "cpu"],
        capture_output=True, text=True, timeout=300, check=False)
    assert started.returncode == 2
    assert "state.safetensors: cannot be written" in started.stderr
    assert "Traceback" not in started.stderr
