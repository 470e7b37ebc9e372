"""A gate in training: it starts as the network without it, and learns whom to leave out."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training_frames import MadeUpDrives, small_config
from two_processes import in_two_processes

from aqr_perception.model.aqr.config import AqrConfig, GateConfig
from aqr_perception.model.aqr.history import look_back
from aqr_perception.model.aqr.output import GateLabels, GateLogits, TokenLayout
from aqr_perception.model.detector import Detector
from aqr_perception.simulation.faults import MATCHED_PAIRS
from aqr_perception.training.augment import Augmentation
from aqr_perception.training.baseline import freeze_baseline, freeze_eye, with_aqr, with_mode
from aqr_perception.training.criterion import gate_loss
from aqr_perception.training.dataset import StepDataset, compares_frames
from aqr_perception.training.engine import Trainer, TrainingSettings
from aqr_perception.training.fault_sampler import FaultSampling
from aqr_perception.training.gate_alone import GateTask, GateTrainer
from aqr_perception.training.gate_labels import gate_labels
from aqr_perception.training.schedule import OneCycle
from aqr_perception.types import Batch, Mounting

CPU = torch.device("cpu")
WHOLE = Augmentation(no_images=0, no_lidar=0, some_images=0)
GENTLE = replace(WHOLE, no_images=0.1, no_lidar=0.1, some_images=0.1)
FAULTS = FaultSampling(0.6, matched=0.3, held_out=())
OBVIOUS = FaultSampling(0.5, matched=0.0, faults=("camera_black", "camera_white"), held_out=(),
                        severities=(1,))


def network(mode: str = "gate", seed: int = 0) -> Detector:
    torch.manual_seed(seed)
    return with_mode(Detector(small_config()), mode)


def trainer(folder, detector: Detector | None = None, **changes) -> Trainer:
    settings = TrainingSettings(**{
        "steps": 6, "batch_size": 4, "workers": 0, "log_every": 1, "save_every": 3,
        "augmentation": GENTLE, "schedule": OneCycle(base=5e-4), "faults": FAULTS, **changes})
    return Trainer(detector or network(), MadeUpDrives(4), Mounting(), settings, folder, CPU)


def eye(folder, pool: int, detector: Detector | None = None, **changes) -> GateTrainer:
    settings = TrainingSettings(**{
        "steps": 6, "batch_size": 4, "log_every": 1, "save_every": 3, "augmentation": GENTLE,
        "schedule": OneCycle(base=5e-4), "faults": FAULTS, **changes})
    return GateTrainer(detector or network(), MadeUpDrives(4), Mounting(), settings, folder, CPU,
                       pool)


def test_batches_are_looked_at_so_often_then_others_come(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(GateTrainer, "_look", lambda self, number: seen.append(number) or number)
    run = GateTrainer(network(), MadeUpDrives(4), Mounting(),
                      TrainingSettings(steps=20, batch_size=4, faults=FAULTS), tmp_path, CPU, 3, 2)
    numbers = list(run._batches())
    pools = [numbers[start:start + 6] for start in range(0, 20, 6)]
    for first, pool in zip((0, 3, 6, 9), pools):
        assert set(pool[:3]) <= {first, first + 1, first + 2}
        assert sorted(pool[:3]) == sorted(set(pool[:3]))
        assert len(pool) < 6 or sorted(pool[3:]) == sorted(pool[:3])
    assert seen == list(dict.fromkeys(numbers))  # each went through the trunks once
    run.step = 15
    assert list(run._batches()) == numbers[15:]


def read_log(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def steps_of(detector: Detector, faults: FaultSampling, first: int, count: int, batch_size=8):
    dataset = StepDataset(MadeUpDrives(4), detector.config, Mounting(), batch_size, 1000, 3, WHOLE,
                          faults=faults)
    return [dataset[step] for step in range(first, first + count)]


def history_of(detector: Detector, item):
    history, index = None, torch.arange(len(item.before.there))
    for batch, there in ((item.before.earlier, item.before.earlier_there),
                         (item.before.batch, item.before.there)):
        history = look_back(detector, batch, history).take(index, there)
    return history


def in_double(batch: Batch) -> Batch:
    return replace(batch, **{name: value.double() for name, value in vars(batch).items()
                             if value.is_floating_point()})


@torch.no_grad()
def test_it_starts_as_the_network_without_it():
    """In double precision: single rounds the squared distances of its Gaussians by as much."""
    config = small_config()
    torch.manual_seed(0)
    plain = Detector(replace(config, decoder=replace(config.decoder, placed_by_images=0))).eval()
    gate = with_mode(plain, "gate").eval()
    item = steps_of(gate, FaultSampling(), 0, 1)[0]
    assert item.before.there.any()
    item = replace(item, batch=in_double(item.batch),
                   before=replace(item.before, batch=in_double(item.before.batch),
                                  earlier=in_double(item.before.earlier)))
    gate, plain = gate.double(), plain.double()
    output, expected = gate(item.batch, history=history_of(gate, item)), plain(item.batch)
    for name in ("logits", "boxes"):
        torch.testing.assert_close(getattr(output, name), getattr(expected, name), rtol=0,
                                   atol=2e-6)
    assert not torch.equal(output.logits, expected.logits)


def judged(detector, frames: int = 5):
    """Logits of sound and of faulty sensors that training did not see."""
    sound, faulty = [], []
    for item in steps_of(detector, OBVIOUS, 500, frames):
        with torch.no_grad():
            logits = detector(item.batch, history=history_of(detector, item)).aqr.logits.frame
        leave_out = torch.from_numpy(np.stack([labels.leave_out for labels in item.faults.labels]))
        sound.append(logits[~leave_out])
        faulty.append(logits[leave_out])
    return torch.cat(sound), torch.cat(faulty)


BRIEF = {"batch_size": 8, "save_every": 80, "log_every": 80, "augmentation": WHOLE,
         "faults": OBVIOUS, "average": 0.0, "schedule": OneCycle(base=2e-3, peak_ratio=4)}


@pytest.mark.parametrize("alone", [False, True])
def test_a_short_training_tells_faulty_sensors_from_sound_ones(tmp_path, alone):
    run = eye(tmp_path, 40, steps=120, **BRIEF) if alone else trainer(
        tmp_path, steps=80, freeze_baseline=True, **BRIEF)
    run.run()
    sound, faulty = judged(run.detector.eval())
    above = sound[:, None] > faulty
    assert above.shape[1] >= 10
    assert above.float().mean() > 0.95  # the area under the ROC
    assert sound.median() > 3
    assert faulty.median() < -3


@torch.no_grad()
def test_a_gate_alone_thinks_what_it_thinks_in_the_network(tmp_path):
    run = eye(tmp_path, 3)
    looked = run._look(1)
    item = run.dataset[1]
    detector = run.detector.eval()
    whole = detector(item.batch, history=history_of(detector, item))
    logits, _ = GateTask(detector.decoder.router)(looked.scene, looked.before)
    for scene in (looked.scene, *(one.scene for one in looked.before)):
        kept = (scene.memory.positions, scene.batch.images, scene.batch.points)
        assert sum(part.untyped_storage().nbytes() for part in kept) == 0
    for name in ("frame", "token"):  # what is kept of the tokens is in half precision
        torch.testing.assert_close(getattr(logits, name), getattr(whole.aqr.logits, name),
                                   rtol=0, atol=1e-3)
    # Of queries it knows where they start, not yet what they hold.
    torch.testing.assert_close(logits.query[0], whole.aqr.logits.query[0], rtol=0, atol=1e-3)
    expected = gate_labels(whole, item.faults, item.batch, detector.config)
    for name in ("frame", "token", "sound"):
        torch.testing.assert_close(getattr(looked.labels, name), getattr(expected, name),
                                   equal_nan=True)
    torch.testing.assert_close(looked.labels.query[0], expected.query[0], equal_nan=True)


def test_places_of_a_sensor_that_lies_as_a_whole_teach_nothing():
    layout = TokenLayout((1, 2), (0, 1), (1, 1))
    assert layout.sensor.tolist() == [0, 0, 1, 2]
    frame, query, token = (torch.zeros(shape, requires_grad=True)
                           for shape in ((1, 3), (2, 1, 5, 3), (2, 1, 4)))
    logits = GateLogits(frame, query, token, torch.ones(1, 3, dtype=torch.bool),
                        torch.ones(1, 4, dtype=torch.bool), layout)
    labels = GateLabels(torch.tensor([[1.0, 0.0, torch.nan]]), torch.zeros(1, 5, 3),
                        torch.zeros(1, 4))
    gate_loss(logits, labels, torch.zeros(())).backward()
    assert (frame.grad != 0).tolist() == [[True, True, False]]
    assert (query.grad != 0).all((0, 1, 2)).tolist() == [True, False, True]
    assert (query.grad[..., 1] == 0).all()
    assert (token.grad != 0).all((0, 1)).tolist() == [True, True, False, True]
    assert (token.grad[..., 2] == 0).all()


def test_a_gate_alone_leaves_the_rest_and_goes_on_where_it_stopped(tmp_path):
    detector = network()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    whole = load_file(eye(tmp_path / "whole", 2, detector).run())
    for name, value in before.items():
        if ".router." not in name:
            assert torch.equal(whole[name], value), name
    first = eye(tmp_path / "parts", 2)
    original = first._train_step

    def interrupted(item):
        if first.step == 4:
            raise KeyboardInterrupt
        return original(item)

    first._train_step = interrupted
    with pytest.raises(KeyboardInterrupt):
        first.run()
    parts = load_file(eye(tmp_path / "parts", 2).run())
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    with pytest.raises(ValueError, match="gate_alone"):
        eye(tmp_path / "parts", 3)


@pytest.mark.parametrize("aqr", [AqrConfig(mode="attention_bias"),
                                 AqrConfig(mode="gate", gate=GateConfig(learned=False))])
def test_what_has_no_eye_is_not_trained_alone(tmp_path, aqr):
    with pytest.raises(ValueError, match="a gate alone"):
        eye(tmp_path, 1, with_aqr(network("off"), aqr))
    with pytest.raises(ValueError, match="0 batches"):
        eye(tmp_path, 0)


def test_a_frozen_baseline_stays_what_it_was(tmp_path):
    detector = network()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    trainer(tmp_path, detector, steps=2, freeze_baseline=True).run()
    for name, value in detector.state_dict().items():
        if ".router." not in name:
            assert torch.equal(value, before[name]), name
    router = [name for name, _ in detector.named_parameters() if ".router." in name]
    moved = [name for name in router if not torch.equal(detector.state_dict()[name], before[name])]
    assert len(moved) > 0.9 * len(router)
    plain = with_mode(detector, "off")
    assert all(torch.equal(value, before[name]) for name, value in plain.state_dict().items())


def test_without_routing_nothing_is_left_to_train():
    with pytest.raises(ValueError, match="nothing to train"):
        freeze_baseline(network("off"))


def test_what_an_eye_learns_does_not_depend_on_how_the_gate_acts(tmp_path):
    learned = []
    for caution, sharpness in (((0.0, 0.0), 1.0), ((2.0, 0.6), 3.0)):
        made = network()
        aqr = replace(made.config.aqr, gate=replace(made.config.aqr.gate, caution=caution,
                                                    sharpness=sharpness))
        torch.manual_seed(0)
        run = eye(tmp_path / f"{sharpness}", 2, with_aqr(made, aqr), steps=3)
        learned.append(load_file(run.run()))
    assert all(torch.equal(value, learned[1][name]) for name, value in learned[0].items())


def test_an_eye_that_stays_is_not_touched(tmp_path):
    """Nor are the mean and spread of its evidence; what a query holds, and the strengths, learn."""
    run = trainer(tmp_path, steps=2, freeze_eye=True, average=0.0)
    before = {name: value.clone() for name, value in run.detector.state_dict().items()}
    run.run()
    changed = {name.removeprefix("decoder.router.") for name, value
               in run.detector.state_dict().items() if not torch.equal(value, before[name])}
    routed = {name.split(".")[0] for name in changed if f"decoder.router.{name}" in before}
    assert "query_content" in routed
    assert routed <= {"query_content", "query_strength", "token_strength", "frame_strength"}
    assert any(name.startswith("decoder.layers") for name in changed)


def test_a_network_without_an_eye_has_none_that_could_stay():
    for plain in (network("off"), with_aqr(network("gate"), AqrConfig(
            mode="gate", gate=GateConfig(learned=False)))):
        with pytest.raises(ValueError, match="none that looks at frames"):
            freeze_eye(plain)


def test_another_mode_takes_the_weights_over():
    plain = network("off", seed=3)
    gate = with_mode(plain, "gate")
    assert gate.config.aqr.mode == "gate"
    assert with_mode(gate, "gate") is gate
    for name, value in with_mode(gate, "off").state_dict().items():
        assert torch.equal(value, plain.state_dict()[name]), name
    with pytest.raises(ValueError, match=r"aqr\.mode is 'gates'"):
        with_mode(plain, "gates")


@pytest.mark.parametrize(("aqr", "expected"), [
    (AqrConfig(mode="gate"), True), (AqrConfig(mode="off"), False),
    (AqrConfig(mode="weight_map"), False),
    (AqrConfig(mode="gate", gate=GateConfig(time=False)), False),
    (AqrConfig(mode="gate", gate=GateConfig(learned=False)), False)])
def test_who_compares_frames(aqr, expected):
    assert compares_frames(replace(small_config(), aqr=aqr)) is expected


def test_the_loss_of_the_gate_and_the_agreement_are_learned_from(tmp_path):
    trainer(tmp_path, steps=2).run()
    assert all(line["loss_gate"] > 0 and line["loss_agreement"] > 0 for line in read_log(tmp_path))


def test_an_interrupted_run_on_spoiled_frames_equals_one_that_was_not(tmp_path):
    whole = trainer(tmp_path / "whole").run()
    first = trainer(tmp_path / "parts")
    original, steps = first._train_step, iter(range(6))

    def interrupted(item):
        if next(steps) == 4:
            raise KeyboardInterrupt
        return original(item)

    first._train_step = interrupted
    with pytest.raises(KeyboardInterrupt):
        first.run()
    parts = load_file(trainer(tmp_path / "parts", workers=1).run())
    assert all(torch.equal(value, parts[name]) for name, value in load_file(whole).items())


def test_other_faults_do_not_resume(tmp_path):
    trainer(tmp_path, steps=3).run()
    with pytest.raises(ValueError, match="faults"):
        trainer(tmp_path, steps=3, faults=FaultSampling())


def _part(folder):
    trainer(folder, steps=3, average=0.0).run()


def test_two_processes_train_a_gate_as_one_does(tmp_path):
    in_two_processes(_part, tmp_path, tmp_path / "two")
    trainer(tmp_path / "one", steps=3, batch_size=8, average=0.0).run()
    for alone, together in zip(read_log(tmp_path / "one"), read_log(tmp_path / "two"),
                               strict=True):
        # Sums of floats in another order: the last digits differ, and Adam carries them on.
        tolerance = 1e-5 if alone["step"] == 0 else 1e-2
        for name in ("loss_cls", "loss_bbox", "loss_gate", "loss_agreement", "grad_norm"):
            assert together[name] == pytest.approx(alone[name], rel=tolerance), name


def test_twins_are_of_use_to_the_gate():
    """Whose fault it is differs, and what one frame shows of the disagreement does not."""
    faults = FaultSampling(1.0, matched=1.0, faults=MATCHED_PAIRS[0], severities=(3,),
                           persisting=0.0)
    item = steps_of(network(), faults, 0, 1)[0]
    told = {tuple(labels.leave_out) for labels in item.faults.labels if labels.leave_out.any()}
    assert told == {(True, False, False), (False, True, True)}
