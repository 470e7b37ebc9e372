"""Who is spoiled, how often, and that twins differ in nothing but who is wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from training_frames import MadeUpDrives, make_drive, small_config

from aqr_perception.model.aqr.config import AqrConfig
from aqr_perception.simulation.faults import MATCHED_PAIRS, MULTICORRUPT
from aqr_perception.training.augment import Augmentation
from aqr_perception.training.dataset import StepDataset
from aqr_perception.training.fault_sampler import REMOVING, FaultSampler, FaultSampling, Spoiling
from aqr_perception.types import Mounting

HALF = FaultSampling(0.5, matched=0.4, held_out=MULTICORRUPT, severities=(1, 3))
GATE = replace(small_config(), aqr=AqrConfig(mode="gate"))


def draws(settings: FaultSampling, count: int = 4000, whole_every: int = 4):
    sampler = FaultSampler(settings, 7, whole_every)
    return [sampler.draw(position) for position in range(count)]


def test_shares_are_those_asked_for():
    drawn = draws(HALF)
    spoiled = [how for how in drawn if how.fault != "none"]
    assert abs(len(spoiled) / len(drawn) - 0.5) < 0.03
    twins = [second for first, second in zip(drawn[::2], drawn[1::2])
             if first.position == second.position]
    assert abs(2 * len(twins) / len(spoiled) - 0.4) < 0.05
    assert abs(np.mean([how.persisting for how in spoiled]) - 0.5) < 0.04
    assert not any(how.ended for how in spoiled)
    healed = [how for how in draws(replace(HALF, ended=0.2)) if how.fault != "none"]
    assert abs(np.mean([how.ended for how in healed]) - 0.2) < 0.04
    assert not any(how.ended and how.persisting for how in healed)
    assert all(how.fault == "none" for how in draws(FaultSampling()))


def test_faults_and_severities_are_those_asked_for():
    spoiled = [how for how in draws(HALF) if how.fault != "none"]
    names = Counter(how.fault for how in spoiled)
    assert set(names) == set(HALF.faults) - set(MULTICORRUPT)
    assert {how.severity for how in spoiled} == {1, 3}
    assert {how.fault for how in draws(FaultSampling(0.5)) if how.fault != "none"} == set(
        FaultSampling().faults) - {"camera_swapped", "camera_white", "lidar_empty"}


def test_what_a_position_gets_follows_from_seed_and_position_alone():
    sampler = FaultSampler(HALF, 7, 4)
    assert [sampler.draw(position) for position in (31, 30, 3)] == [
        draws(HALF)[position] for position in (31, 30, 3)]
    assert [FaultSampler(HALF, 8, 4).draw(k) for k in range(50)] != draws(HALF, 50)


def test_twins_are_matched_pairs_of_one_place_and_severity():
    drawn = draws(HALF)
    pairs = [(first, second) for first, second in zip(drawn[::2], drawn[1::2])
             if first.position == second.position]
    assert {(first.fault, second.fault) for first, second in pairs} == set(MATCHED_PAIRS)
    for first, second in pairs:
        assert replace(second, fault=first.fault) == first
    assert FaultSampling().pairs == MATCHED_PAIRS
    assert FaultSampling(held_out=("lidar_rotated",)).pairs == (MATCHED_PAIRS[0], MATCHED_PAIRS[2])


def test_now_and_then_no_sensor_loses_all_its_data():
    drawn = draws(FaultSampling(1.0, matched=0.0, held_out=()))
    assert not {how.fault for how in drawn[::4]} & REMOVING
    assert {how.fault for how in drawn[1::4]} >= REMOVING


@pytest.mark.parametrize(("changes", "message"), [
    ({"share": 1.5}, "faults.share is 1.5; expected 0 to 1"),
    ({"faults": ("rust",)}, "no fault 'rust'"),
    ({"held_out": ("rust",)}, "no fault 'rust'"),
    ({"persisting": 0.7, "ended": 0.4}, "persisting is 0.7, ended 0.4; expected at most 1"),
    ({"severities": (4,)}, r"faults.severities is \[4\]"),
    ({"share": 0.5, "faults": ("lidar_absent",)}, "leaves every sensor some data"),
])
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        FaultSampling(**changes)


def test_a_fault_that_persists_hits_the_same_camera_before():
    drive = make_drive(0, 3)
    frames, truth = [frame for frame, _ in drive], drive[-1][1]
    sampler = FaultSampler(FaultSampling(1.0, faults=("camera_black",)), 3, 4)
    how = replace(next(filter(lambda how: how.fault != "none", map(sampler.draw, range(9)))),
                  severity=1)

    def black(frame):
        return [not image.pixels.any() for image in frame.images]

    now, labels, before = sampler.spoil(replace(how, persisting=True), frames, truth)
    assert black(now) == black(before) == labels.leave_out[1:].tolist()
    assert sum(black(now)) == 1
    now, _, before = sampler.spoil(replace(how, persisting=False), frames, truth)
    assert (sum(black(now)), sum(black(before))) == (1, 0)
    now, labels, before = sampler.spoil(replace(how, persisting=False, ended=True), frames, truth)
    assert (sum(black(now)), sum(black(before))) == (0, 1)
    assert labels.fault == "none"
    assert not labels.leave_out.any()
    assert sampler.spoil(how, frames[-1:], truth)[2] is None
    assert not any(sum(black(frame)) for frame in frames)


def test_chance_hits_anew_at_each_moment():
    drive = make_drive(0, 3)
    frames, truth = [frame for frame, _ in drive], drive[-1][1]
    seen = set()
    for position in range(12):
        how = Spoiling(position, "missing_camera", 2, persisting=True)
        now, _, before = FaultSampler(HALF, 3, 4).spoil(how, frames, truth)
        seen.add(tuple(bool(image.pixels.any()) for image in (now.images[0], before.images[0])))
    assert len(seen) == 4


def dataset(config=GATE, faults=None, augmentation: Augmentation | None = None, batch_size=8):
    return StepDataset(MadeUpDrives(3), config, Mounting(), batch_size, 40, 5,
                       augmentation or Augmentation(), faults=faults)


def test_twins_of_a_batch_show_one_world_and_disagree_about_who_is_wrong():
    # "late" moves a cloud, or claims other poses for the cameras: the pictures stay what they are.
    settings = FaultSampling(1.0, matched=1.0, faults=MATCHED_PAIRS[2], persisting=0.0)
    steps = [dataset(faults=settings)[step] for step in range(3)]
    wrong = set()
    for item in steps:
        batch = item.batch
        for i in range(0, 8, 2):
            assert torch.equal(batch.images[i], batch.images[i + 1])
            assert torch.equal(item.targets[i].boxes, item.targets[i + 1].boxes)
            assert torch.equal(item.before.batch.images[i], item.before.batch.images[i + 1])
            names = [item.faults.labels[i + k].fault for k in range(2)]
            assert names == ["lidar_late", "all_cameras_late"]
            wrong |= {(*(labels.intact < 1),) for labels in item.faults.labels[i:i + 2]}
    assert {(True, False, False), (False, True, True)} <= wrong


class Uneven(MadeUpDrives):
    """Clouds of frames that differ in size, as sweeps do."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self._frames = [(replace(frame, lidar=replace(
            frame.lidar, points=frame.lidar.points[k % 4:])), truth)
            for k, (frame, truth) in enumerate(self._frames)]


def test_twins_and_what_was_before_vary_alike_whatever_the_size_of_their_clouds():
    settings = FaultSampling(1.0, matched=1.0, faults=MATCHED_PAIRS[0], persisting=0.0)
    assert settings.faults == ("lidar_stale", "all_cameras_stale")
    still = Augmentation(point_dropout=0, no_images=0, no_lidar=0, some_images=0)
    made, sizes = StepDataset(Uneven(3), GATE, Mounting(), 8, 40, 5, still, faults=settings), set()
    for step in range(4):
        item = made[step]
        for i in range(0, 8, 2):
            assert torch.equal(item.targets[i].boxes, item.targets[i + 1].boxes)
            assert torch.equal(item.batch.fixed_from_model[i], item.batch.fixed_from_model[i + 1])
        for b in item.before.there.nonzero()[:, 0].tolist():
            clouds = [batch.points[batch.point_frame == b] for batch in (
                item.batch, item.before.batch)]
            sizes.add(len(clouds[0]) - len(clouds[1]))
            # All points have one intensity, and its curve is that of the sensor.
            assert len({float(one) for cloud in clouds for one in cloud[:, 3]}) == 1
    assert len(sizes) > 1


def test_without_a_gate_nothing_is_read_or_labelled_for_it():
    for config in (small_config(), replace(small_config(), aqr=AqrConfig(mode="weight_map"))):
        made = dataset(config)
        made.source.history = None  # asking for it would fail
        item = made[0]
        assert item.faults is None
        assert item.before is None


def test_faults_change_no_other_draw():
    clean, spoiled = dataset()[2], dataset(faults=FaultSampling(0.3, matched=0.0))[2]
    kept = [i for i, labels in enumerate(spoiled.faults.labels) if labels.fault == "none"]
    assert 2 <= len(kept) < 8
    for i in kept:
        assert torch.equal(clean.batch.images[i], spoiled.batch.images[i])
        assert torch.equal(clean.targets[i].boxes, spoiled.targets[i].boxes)
        assert torch.equal(clean.before.batch.images[i], spoiled.before.batch.images[i])


def test_the_frame_before_is_augmented_alike_and_tells_the_motion():
    still = Augmentation(point_dropout=0, point_noise=0, no_images=0, no_lidar=0, some_images=0)
    item = dataset(augmentation=still)[1]
    before = item.before
    assert not before.there.all()
    assert before.there.any()
    for b in before.there.nonzero()[:, 0].tolist():
        now_from_before = (torch.linalg.inv(item.batch.fixed_from_model[b])
                           @ before.batch.fixed_from_model[b])
        now, then = (batch.points[batch.point_frame == b, :3].double()
                     for batch in (item.batch, before.batch))
        moved = then @ now_from_before[:3, :3].T + now_from_before[:3, 3]
        nearest = torch.cdist(moved, now).amin(dim=1)
        assert nearest.quantile(0.9) < 1e-3  # the rest has left the range
        assert torch.cdist(then, now).amin(dim=1).median() > 0.05
    for b in (~before.there).nonzero()[:, 0].tolist():
        assert torch.equal(item.batch.images[b], before.batch.images[b])


def test_a_frozen_picture_is_the_one_before_to_the_last_bit():
    settings = FaultSampling(1.0, faults=("all_cameras_stale",), severities=(1,), persisting=0.0)
    item = dataset(faults=settings)[1]
    for b in item.before.there.nonzero()[:, 0].tolist():
        assert torch.equal(item.batch.images[b], item.before.batch.images[b])
        assert not torch.equal(item.batch.fixed_from_model[b],
                               item.before.batch.fixed_from_model[b])


def test_spoiled_steps_follow_from_seed_and_number_alone():
    whole = dataset(faults=HALF)[3]
    parts = [StepDataset(MadeUpDrives(3), GATE, Mounting(), 4, 40, 5, Augmentation(), rank, 2,
                         HALF)[3] for rank in range(2)]
    for name in (field.name for field in fields(type(whole.batch))):
        if name != "point_frame":
            joined = torch.cat([getattr(part.batch, name) for part in parts])
            assert torch.equal(joined.nan_to_num(), getattr(whole.batch, name).nan_to_num()), name
    assert torch.equal(torch.cat([part.before.batch.images for part in parts]),
                       whole.before.batch.images)
