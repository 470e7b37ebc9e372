"""An MLP learns the weights that a frozen transformer gives to the same queries."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training_frames import MadeUpFrames, small_config
from two_processes import in_two_processes

from aqr_perception.model import checkpoint
from aqr_perception.model.aqr.config import AqrConfig, GeneratorConfig, RendererConfig
from aqr_perception.model.aqr.config import WeightMapConfig as Maps
from aqr_perception.model.detector import Detector
from aqr_perception.training.augment import Augmentation
from aqr_perception.training.baseline import with_aqr, with_mode
from aqr_perception.training.dataset import StepDataset
from aqr_perception.training.distillation import Teacher, distillation_loss, student_of
from aqr_perception.training.engine import Trainer, TrainingSettings
from aqr_perception.training.schedule import OneCycle
from aqr_perception.types import Batch, Mounting

CPU = torch.device("cpu")
LARGER = AqrConfig(mode="weight_map", weight_map=Maps(
    GeneratorConfig(feedforward=32, lidar_window=3, camera_window=3)))
MASKED = Augmentation(no_images=0.3, no_lidar=0.3, some_images=0.1)


def baseline() -> Detector:
    torch.manual_seed(0)
    return Detector(small_config())


def teacher_file(folder: Path) -> Path:
    """A transformer whose weights differ from query to query."""
    detector = with_aqr(baseline(), LARGER)
    torch.nn.init.normal_(detector.decoder.router.generator.predictor.weight, std=0.5)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.save(folder / "teacher.safetensors", detector)
    return folder / "teacher.safetensors"


def trainer(folder: Path, teacher: Teacher | None, **changes) -> Trainer:
    settings = TrainingSettings(**{
        "steps": 4, "batch_size": 4, "workers": 0, "log_every": 1, "save_every": 2,
        "augmentation": MASKED, "schedule": OneCycle(base=5e-4), **changes})
    detector = baseline() if teacher is None else student_of(baseline(), teacher)
    return Trainer(detector, MadeUpFrames(8), Mounting(), settings, folder, CPU, teacher=teacher)


def read_log(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def some_batch(augmentation: Augmentation = MASKED) -> Batch:
    return StepDataset(MadeUpFrames(8), small_config(), Mounting(), 8, 10, 0, augmentation)[0].batch


@torch.no_grad()
def test_the_teacher_says_what_its_network_says_at_the_same_places(tmp_path):
    teacher, batch = Teacher.load(teacher_file(tmp_path)), some_batch()
    output = teacher.detector(batch)
    said = teacher.weights(batch, output.reference_points)
    there = torch.stack([batch.lidar_present, batch.camera_present.any(1)], dim=1)
    assert not there.all()
    assert there.any()
    assert torch.equal(said.isnan(), ~there[:, None].expand_as(said))
    known = ~said.isnan()
    torch.testing.assert_close(said[known], output.aqr.weights[known])
    assert said[known].std() > 0.1
    moved = teacher.weights(batch, output.reference_points.flip(1))
    torch.testing.assert_close(moved[known], output.aqr.weights.flip(1)[known])


def test_the_loss_is_the_mean_square_of_what_is_known(tmp_path):
    teacher, batch = Teacher.load(teacher_file(tmp_path)), some_batch()
    student = student_of(baseline(), teacher).eval()
    output = student(batch)
    wanted = teacher.weights(batch, output.reference_points)
    loss = distillation_loss(output.aqr, wanted)
    known = ~wanted.isnan()
    assert float(loss.detach()) == pytest.approx(
        float((output.aqr.weights.detach()[known] - wanted[known]).square().mean()), rel=1e-5)
    loss.backward()
    generator = student.decoder.router.generator
    assert generator.predictor.bias.grad.norm() > 0
    assert all(parameter.grad is None for parameter in teacher.detector.parameters())
    nothing = torch.full_like(wanted, torch.nan)
    assert float(distillation_loss(output.aqr, nothing)) == 0.0
    assert float(distillation_loss(None, wanted)) == 0.0


def test_an_mlp_learns_the_weights_and_the_teacher_stays(tmp_path):
    teacher = Teacher.load(teacher_file(tmp_path))
    before = {name: value.clone() for name, value in teacher.detector.state_dict().items()}
    run = trainer(tmp_path / "run", teacher, steps=60, batch_size=2, freeze_baseline=True,
                  schedule=OneCycle(base=2e-3), save_every=60,
                  augmentation=replace(MASKED, no_images=0.0, no_lidar=0.0))
    run.criterion.weights = replace(run.criterion.weights, distillation=10.0)
    run.run()
    log = read_log(tmp_path / "run")
    first, last = ([line["loss_distillation"] for line in log[part]]
                   for part in (slice(5), slice(-5, None)))
    assert sum(last) < 0.5 * sum(first)
    assert all(torch.equal(value, before[name])
               for name, value in teacher.detector.state_dict().items())


def test_without_a_teacher_nothing_changes(tmp_path):
    run = trainer(tmp_path, None, steps=2)
    assert "teacher" not in run._identity()
    run.run()
    assert [line["loss_distillation"] for line in read_log(tmp_path)] == [0.0, 0.0]


def test_a_run_that_was_interrupted_goes_on_exactly_and_with_no_other_teacher(tmp_path):
    file = teacher_file(tmp_path)
    whole = trainer(tmp_path / "whole", Teacher.load(file)).run()
    first = trainer(tmp_path / "parts", Teacher.load(file))
    original = first._train_step

    def interrupted(item):
        if first.step == 3:
            raise KeyboardInterrupt
        return original(item)

    first._train_step = interrupted
    with pytest.raises(KeyboardInterrupt):
        first.run()
    other = Teacher.load(file)
    with pytest.raises(ValueError, match="a run with teacher = "):
        trainer(tmp_path / "parts", replace(other, digest="another"))
    parts = load_file(trainer(tmp_path / "parts", other).run())
    assert all(torch.equal(value, parts[key]) for key, value in load_file(whole).items())
    note = json.loads(checkpoint.load(whole).metadata["training"])
    assert note["teacher"] == other.digest


def _part(folder: Path) -> None:
    trainer(folder / "two", Teacher.load(folder / "teacher.safetensors"), steps=2, batch_size=4,
            average=0.0).run()


def test_two_processes_learn_from_a_teacher_as_one_does(tmp_path):
    file = teacher_file(tmp_path)
    in_two_processes(_part, tmp_path, tmp_path)
    trainer(tmp_path / "one", Teacher.load(file), steps=2, batch_size=8, average=0.0).run()
    one, two = read_log(tmp_path / "one"), read_log(tmp_path / "two")
    assert one[0]["loss_distillation"] > 0
    assert two[0]["loss_distillation"] == pytest.approx(one[0]["loss_distillation"], rel=1e-5)
    assert two[1]["loss_distillation"] == pytest.approx(one[1]["loss_distillation"], rel=1e-2)
    assert two[0]["grad_norm"] == pytest.approx(one[0]["grad_norm"], rel=1e-4)


@pytest.mark.parametrize(("aqr", "message"), [
    (AqrConfig(mode="gate"), "learner's aqr.mode is gate; expected weight_map"),
    (AqrConfig(mode="weight_map", weight_map=Maps(reference=True)), "with reference: true"),
    (AqrConfig(mode="weight_map"), "learner's 'local_window'; expected another than 'mlp'"),
    (AqrConfig(mode="weight_map", weight_map=Maps(
        GeneratorConfig(kind="mlp"), RendererConfig(max_weight_clamp=2.0))),
     r"go up to 1.5, the learner's to 2; expected the same max_weight_clamp")])
def test_who_cannot_learn_from_it_is_told_why(tmp_path, aqr, message):
    teacher = Teacher.load(teacher_file(tmp_path))
    with pytest.raises(ValueError, match=message):
        teacher.check(with_aqr(baseline(), aqr).config)


def test_a_teacher_of_another_network_or_for_a_trunk_is_refused(tmp_path):
    teacher = Teacher.load(teacher_file(tmp_path))
    config = student_of(baseline(), teacher).config
    with pytest.raises(ValueError, match="another decoder than"):
        teacher.check(replace(config, decoder=replace(config.decoder, queries=40)))
    with pytest.raises(ValueError, match="a trunk alone"):
        trainer(tmp_path / "run", teacher, trunk="lidar")
    with pytest.raises(ValueError, match=r"teacher's aqr\.mode is gate"):
        Teacher(with_mode(baseline(), "gate"), "").check(config)


def test_a_network_that_is_a_student_already_stays_itself(tmp_path):
    teacher = Teacher.load(teacher_file(tmp_path))
    student = student_of(baseline(), teacher)
    assert student.config.aqr.weight_map.generator.kind == "mlp"
    assert student_of(student, teacher) is student
