"""The loop: it learns, resumes exactly, stops on a bad loss, and is one across processes."""

import json
import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch.multiprocessing import ProcessRaisedException
from training_frames import MadeUpFrames, small_config
from two_processes import in_two_processes

from aqr_perception.model import checkpoint
from aqr_perception.model.detector import Detector
from aqr_perception.training.augment import Augmentation
from aqr_perception.training.engine import Trainer, TrainingSettings, _groups
from aqr_perception.training.schedule import OneCycle
from aqr_perception.types import Mounting

CPU = torch.device("cpu")
GENTLE = replace(Augmentation(), no_images=0.1, no_lidar=0.1, some_images=0.1)


def trainer(folder, frames=8, dropout=0.0, **changes):
    torch.manual_seed(0)
    config = small_config()
    config = replace(config, decoder=replace(config.decoder, dropout=dropout))
    settings = TrainingSettings(**{
        "steps": 8, "batch_size": 4, "workers": 0, "log_every": 1, "save_every": 4,
        "augmentation": GENTLE, "schedule": OneCycle(base=5e-4), **changes})
    return Trainer(Detector(config), MadeUpFrames(frames), Mounting(), settings, folder,
                   CPU)


def read_log(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_it_learns_a_handful_of_frames_by_heart(tmp_path):
    still = Augmentation(yaw=0, scale=(1, 1), translation=0, mirror=False, crop=1,
                         mirror_image=False, color=0, image_noise=0, image_blur=0, intensity=0,
                         point_dropout=0, point_noise=0, no_images=0, no_lidar=0, some_images=0)
    trainer(tmp_path, frames=2, steps=150, batch_size=2, log_every=10, save_every=150,
            augmentation=still, schedule=OneCycle(base=2e-3, peak_ratio=3)).run()
    log = read_log(tmp_path)
    assert log[-1]["loss_cls"] < 0.35 * log[0]["loss_cls"]
    assert log[-1]["loss_bbox"] < 0.5 * log[0]["loss_bbox"]


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_run_that_was_interrupted_equals_one_that_was_not(tmp_path, dropout):
    whole = trainer(tmp_path / "whole", dropout=dropout).run()
    first = trainer(tmp_path / "parts", dropout=dropout)
    steps = iter(range(6))
    original = first._train_step

    def interrupted(item):
        if next(steps) == 5:
            raise KeyboardInterrupt
        return original(item)

    first._train_step = interrupted
    with pytest.raises(KeyboardInterrupt):
        first.run()
    log = tmp_path / "parts" / "log.jsonl"
    log.write_text(log.read_text() + '{"step": 5, "lo')  # the disk was full, or the power gone
    parts = trainer(tmp_path / "parts", dropout=dropout).run()
    for key, value in load_file(whole).items():
        assert torch.equal(value, load_file(parts)[key]), key
    different = {"seconds_per_step", "memory_mib"}
    for one, other in zip(read_log(tmp_path / "whole"), read_log(tmp_path / "parts"), strict=True):
        assert {k: v for k, v in one.items() if k not in different} == \
               {k: v for k, v in other.items() if k not in different}


def test_loader_processes_change_nothing(tmp_path):
    one = load_file(trainer(tmp_path / "a", steps=3).run())
    two = load_file(trainer(tmp_path / "b", steps=3, workers=2).run())
    assert all(torch.equal(value, two[key]) for key, value in one.items())


def test_other_settings_do_not_resume(tmp_path):
    trainer(tmp_path, steps=4).run()
    with pytest.raises(ValueError, match="seed"):
        trainer(tmp_path, steps=4, seed=1)


@pytest.mark.parametrize("content", [b"junk", b""])
def test_a_damaged_state_is_named(tmp_path, content):
    (tmp_path / "state.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"state.safetensors: is damaged .* remove it"):
        trainer(tmp_path)


@pytest.mark.parametrize(("changes", "words"), [
    ({"average": 1.0}, "average is 1.0"), ({"aqr_lr_ratio": -3.0}, "aqr_lr_ratio is -3.0"),
    ({"denoising_groups": -2}, "denoising_groups is -2"), ({"seed": -5}, "seed is -5"),
    ({"workers": -1}, "workers is -1"), ({"steps": 0}, "steps is 0"),
    ({"clip": math.nan}, "clip is nan")])
def test_settings_that_cannot_be_are_named(changes, words):
    with pytest.raises(ValueError, match=words):
        TrainingSettings(**{"steps": 1, **changes})


@pytest.mark.parametrize(("changes", "words"), [
    ({"base": math.nan}, "learning rate is nan"), ({"base": -1.0}, "learning rate is -1.0"),
    ({"peak_ratio": 0.0}, "peak is 0.0"), ({"rising": 3.0}, "rises is 3.0")])
def test_rates_that_cannot_be_are_named(changes, words):
    with pytest.raises(ValueError, match=words):
        OneCycle(**{"base": 1e-4, **changes})


def test_nothing_but_matrices_decays():
    detector = Detector(small_config())
    names = {id(parameter): name for name, parameter in detector.named_parameters()}
    decayed = [names[id(parameter)] for group in _groups(detector, TrainingSettings(steps=1))
               for parameter in group["params"] if group["weight_decay"]]
    assert "tokenizer.lidar.encoder.point.weight" in decayed
    assert not [name for name in decayed if "bias" in name or "norm" in name
                or "reference_points" in name or "log_" in name]


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_batch(tmp_path):
    run = trainer(tmp_path)
    with torch.no_grad():
        run.detector.reference_points.fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        run.run()
    saved = load_file(next(tmp_path.glob("bad_batch_0.safetensors")))
    assert saved["images"].shape[0] == 4
    assert "targets.3.boxes" in saved


def test_the_log_holds_what_the_report_plots(tmp_path):
    trainer(tmp_path, steps=2).run()
    for line in read_log(tmp_path):
        assert {"step", "loss", "loss_cls", "loss_bbox", "dn_loss_cls", "dn_loss_bbox",
                "grad_norm", "inf_gradients", "nan_gradients", "seconds_per_step",
                "memory_mib"} <= line.keys()


def test_the_weights_file_alone_rebuilds_the_network(tmp_path):
    run = trainer(tmp_path, steps=2)
    detector = checkpoint.load(run.run())
    assert detector.trained
    for key, value in run.average.state_dict().items():
        torch.testing.assert_close(detector.state_dict()[key], value, rtol=0, atol=0)


def test_schedule_starts_at_base_peaks_and_ends_low():
    cycle = OneCycle(base=1e-4, peak_ratio=6, rising=0.4)
    rates = [cycle.at(step, 1000)[0] for step in range(1001)]
    assert rates[0] == pytest.approx(1e-4)
    assert max(rates) == pytest.approx(6e-4)
    assert rates.index(max(rates)) == 400
    assert rates[-1] == pytest.approx(1e-8)
    assert cycle.at(400, 1000)[1] == pytest.approx(0.805)


def _part(folder):
    trainer(folder, steps=4, batch_size=4, average=0.0).run()


def test_two_processes_are_as_one_with_the_whole_batch(tmp_path):
    in_two_processes(_part, tmp_path, tmp_path / "two")
    trainer(tmp_path / "one", steps=4, batch_size=8, average=0.0).run()
    one, two = read_log(tmp_path / "one"), read_log(tmp_path / "two")
    for alone, together in zip(one, two, strict=True):
        # Sums of floats in another order: the last digits differ, and Adam carries them on.
        tolerance = 1e-5 if alone["step"] == 0 else 1e-2
        for name in ("loss_cls", "loss_bbox", "loss_heat", "dn_loss_bbox", "grad_norm"):
            assert together[name] == pytest.approx(alone[name], rel=tolerance), name


def _few(folder):
    trainer(folder, steps=1, batch_size=2)


def test_too_few_frames_a_process_for_shared_statistics_are_refused(tmp_path):
    with pytest.raises(ProcessRaisedException, match="batch_size is 2; expected 4 or more"):
        in_two_processes(_few, tmp_path, tmp_path / "two")
