"""Apparent motion: what a few sweeps say about who moves, without learning."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from rig import make_frame

from aqr_perception.model.checkpoint import untrained
from aqr_perception.model.config import tiny
from aqr_perception.model.flow import (
    FLOW_FEATURES,
    TYPICAL_SPEED,
    WINDOWS,
    apparent_motion,
)
from aqr_perception.model.inputs import prepare
from aqr_perception.model.memory import select_sensors
from aqr_perception.model.voxelize import Sorted, grid_of, token_grid
from aqr_perception.types import Controls, Mounting

GRID = token_grid(grid_of(tiny()), 2)
AGES = (0.0, 0.1, 0.2, 0.3)


def ground(generator, count=4000):
    """A flat road, seen in every sweep."""
    points = torch.zeros(count, 5)
    points[:, :2] = torch.rand(count, 2, generator=generator) * 60 - 30
    points[:, 2] = -1.8
    points[:, 4] = torch.tensor(AGES).repeat(count // len(AGES))
    return points


def car(generator, center, velocity, count=30):
    """Points on a box of 4 by 2 m, the same ones in each sweep, carried along."""
    spots = (torch.rand(count, 3, generator=generator) - 0.5) * torch.tensor([4.0, 2.0, 1.4])
    sweeps = []
    for age in AGES:
        points = torch.zeros(count, 5)
        points[:, :3] = spots + torch.tensor([*center, -1.0])
        points[:, :2] -= age * torch.tensor(velocity)
        points[:, 4] = age
        sweeps.append(points)
    return torch.cat(sweeps)


def motion(points, frame=None, frames=1):
    frame = torch.zeros(len(points), dtype=torch.int64) if frame is None else frame
    return apparent_motion(Sorted.of(points, frame, frames, GRID))


def at(flow, center):
    """(windows, 4) of the cell of a place."""
    row, column = (int((value + 54) / 1.2) for value in (center[1], center[0]))
    return flow[0, row, column].view(len(WINDOWS), 4)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(5)


def test_a_car_that_drives_is_seen_to_drive_and_a_parked_one_to_stand(generator):
    driving, parked = (9.0, -6.0), (-12.0, 15.0)
    points = torch.cat([ground(generator), car(generator, driving, (5.0, -2.0)),
                        car(generator, parked, (0.0, 0.0))])
    flow = motion(points)
    assert flow.shape == (1, 90, 90, FLOW_FEATURES)
    wide = at(flow, driving)[1]
    # Least squares with the variance of 0, 0.1, 0.2, 0.3 s, 0.0125, shrunk by 0.002.
    said = torch.tensor([5.0, -2.0]) * 0.0125 / 0.0145
    torch.testing.assert_close(wide[:2] * TYPICAL_SPEED, said, rtol=0.15, atol=0.3)
    assert wide[2] == pytest.approx(1.0, rel=0.05)
    assert wide[3] == pytest.approx(math.log(121) / 5, rel=0.05)
    assert at(flow, parked)[1, :2].abs().max() * TYPICAL_SPEED < 0.3


def test_the_road_is_not_asked_and_nothing_stands_where_nothing_is(generator):
    points = ground(generator)
    assert not motion(points).any()
    none = torch.zeros(0, 5)
    assert not motion(none, frames=2).any()


def test_one_sweep_says_nothing_about_speed(generator):
    points = torch.cat([ground(generator), car(generator, (9.0, -6.0), (5.0, -2.0))])
    points = points[points[:, 4] == 0]
    flow = motion(points)
    assert at(flow, (9.0, -6.0))[:, :3].abs().max() < 1e-3
    assert at(flow, (9.0, -6.0))[1, 3] > 0.5


def test_frames_do_not_mix_and_damaged_points_change_nothing(generator):
    one = torch.cat([ground(generator), car(generator, (9.0, -6.0), (5.0, -2.0))])
    other = torch.cat([ground(generator), car(generator, (9.0, -6.0), (-3.0, 4.0))])
    damaged = one[:50].clone()
    damaged[:, 0] = torch.nan
    damaged[25:, 2] = torch.inf
    beyond = one[:50] + torch.tensor([500.0, 0.0, 0.0, 0.0, 0.0])
    clouds = [torch.cat([one, damaged, beyond]), other]
    frame = torch.arange(2).repeat_interleave(torch.tensor([len(cloud) for cloud in clouds]))
    both = motion(torch.cat(clouds), frame, 2)
    for number, cloud in enumerate((one, other)):
        alone = motion(cloud)
        torch.testing.assert_close(both[number], alone[0])
    assert both.isfinite().all()


def test_the_tokenizer_measures_it_only_for_networks_that_ask_and_sensors_that_count():
    network = untrained(tiny(), seed=0).eval()
    batch = prepare([make_frame()], network.config, Mounting(), Controls())
    memory = network.tokenizer(batch, select_sensors(batch, True, True))
    assert memory.flow.shape == (1, 90, 90, FLOW_FEATURES)
    gains = batch.gains.clone()
    gains[:, 0] = 0.0
    silent = replace(batch, gains=gains)
    assert network.tokenizer(silent, select_sensors(silent, True, True)).flow is None
    decoder = replace(network.config.decoder, motion=False)
    plain = untrained(replace(network.config, decoder=decoder), seed=0).eval()
    assert plain.tokenizer(batch, select_sensors(batch, True, True)).flow is None
    assert plain.heat(plain.tokenizer(batch, select_sensors(batch, True, True))).motion is None
