from __future__ import annotations

import pytest
import torch

from aqr_perception.model import by_sensor
from aqr_perception.model.attention import EXCLUDED

RUNS = ((0, 11), (1, 4), (2, 4), (4, 1))
SENSORS = 6


def inputs(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    tokens = sum(count for _, count in RUNS)
    return (random(2, 3, 7, 8), random(2, 3, tokens, 8), random(2, 3, tokens, 8),
            random(2, 7, SENSORS), random(2, tokens))


def dense(query, key, value, per_sensor, per_token):
    sensor = torch.cat([torch.full((count,), number) for number, count in RUNS])
    bias = query.new_zeros(2, query.shape[2], key.shape[2])
    if per_sensor is not None:
        bias = bias + per_sensor[..., sensor]
    if per_token is not None:
        bias = bias + per_token[:, None]
    share = (query @ key.transpose(-1, -2) + bias[:, None]).softmax(-1)
    mass = torch.stack([share[..., sensor == s].sum(-1) for s in range(SENSORS)], -1).mean(1)
    return share @ value, mass


@pytest.mark.skipif(not hasattr(torch.ops.aten, by_sensor._KERNEL), reason="no such kernel here")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("parts", [(True, True), (True, False), (False, True), (False, False)])
def test_equals_a_dense_bias(dtype, parts):
    query, key, value, *biases = inputs(dtype)
    biases = [bias if kept else None for bias, kept in zip(biases, parts)]
    with torch.inference_mode():
        ours = by_sensor.attend(query, key, value, RUNS, *biases, SENSORS)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    for one, other in zip(ours, dense(query, key, value, *biases)):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.skipif(not hasattr(torch.ops.aten, by_sensor._KERNEL), reason="no such kernel here")
def test_excluded_sensors_have_no_share_at_all():
    query, key, value, per_sensor, per_token = inputs(torch.float32)
    per_sensor[0, :, 2] = EXCLUDED
    per_token[1, :11] = EXCLUDED
    value[0, :, 15:19] = value[1, :, :11] = 1e6
    with torch.inference_mode():
        attended, mass = by_sensor.attend(query, key, value, RUNS, per_sensor, per_token, SENSORS)
    assert attended.abs().max() < 1e2
    assert (mass[0, :, 2] == 0).all()
    assert (mass[1, :, 0] == 0).all()
    assert (mass[:, :, [3, 5]] == 0).all()
    torch.testing.assert_close(mass.sum(-1), torch.ones(2, 7))


def test_gradients_take_the_other_way():
    like = torch.zeros(1)
    assert not by_sensor.available(like)
    with torch.no_grad():
        assert by_sensor.available(like) == hasattr(torch.ops.aten, by_sensor._KERNEL)
        assert not by_sensor.available(like.half())
