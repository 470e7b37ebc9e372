"""Pillars: linear layer, batch norm, ReLU and maximum in one give what they give one by one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from aqr_perception.model import pillars
from aqr_perception.model.config import tiny
from aqr_perception.model.pillars import PillarEncoder
from aqr_perception.model.voxelize import grid_of

FRAMES = 3


class OneByOne(nn.BatchNorm1d):
    """Not the norm itself, so that the encoder takes its layers one by one while training."""


@pytest.fixture
def encoders():
    config = tiny()
    assert config.lidar is not None
    encoder = PillarEncoder(config.lidar, grid_of(config)).double()
    with torch.no_grad():  # of both signs: where it is negative, the lowest point counts
        encoder.norm.weight.normal_()
        encoder.norm.bias.normal_()
        encoder.norm.running_mean.normal_()
    assert (encoder.norm.weight < 0).any()
    other = copy.deepcopy(encoder)
    other.norm.__class__ = OneByOne
    return encoder, other


def cloud(count=5000):
    points = torch.rand(count, 5, dtype=torch.float64)
    points[:, :2] = points[:, :2] * 12 - 6
    return points, torch.arange(FRAMES).repeat_interleave(count // FRAMES + 1)[:count]


@pytest.mark.parametrize("chunk", [100_000, 777])
def test_training_is_what_the_layers_do_one_by_one(encoders, chunk, monkeypatch):
    monkeypatch.setattr(pillars, "CHUNK", chunk)
    wanted = torch.randn(FRAMES, 32, 180, 180, dtype=torch.float64)
    points, frame = cloud()
    maps = []
    for encoder in encoders:
        maps.append(encoder(points, frame, FRAMES))
        (maps[-1] * wanted).sum().backward()
    torch.testing.assert_close(maps[0], maps[1])
    assert maps[0].any()
    mine, other = encoders
    for name, parameter in mine.named_parameters():
        torch.testing.assert_close(parameter.grad, other.get_parameter(name).grad, msg=name)
        assert parameter.grad.any()
    for name, buffer in mine.named_buffers():
        torch.testing.assert_close(buffer, other.get_buffer(name), msg=name)


def test_evaluation_uses_the_running_statistics(encoders):
    encoder, _ = encoders
    points, frame = cloud(400)
    before = copy.deepcopy(encoder.state_dict())
    found = encoder.eval()(points, frame, FRAMES)
    with torch.no_grad():
        described = encoder._describe(points, torch.arange(400), points.new_ones(400))
        alone = encoder.norm(encoder.point(described)).relu()
    first = encoder(points[:1], frame[:1], 1)
    torch.testing.assert_close(first.amax(dim=(2, 3))[0], alone[0])
    assert found.shape == (FRAMES, 32, 180, 180)
    torch.testing.assert_close(encoder.state_dict(), before)


def test_no_point_leaves_an_empty_map(encoders):
    for encoder in encoders:
        assert not encoder(torch.zeros(0, 5, dtype=torch.float64),
                           torch.zeros(0, dtype=torch.int64), 2).any()
