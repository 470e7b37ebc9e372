from __future__ import annotations

import math

import pytest
import torch

from aqr_perception.model.aqr.routing import Routing
from aqr_perception.model.attention import EXCLUDED, NO_BIAS, Attention, Bias, Columns
from aqr_perception.model.decoder import (
    DecoderLayer,
    chosen_bias,
    chosen_tokens,
    routing_bias,
    sensor_bias,
)
from aqr_perception.model.memory import Memory

BATCH, QUERIES, TOKENS, CHANNELS, HEADS, SENSORS = 2, 7, 23, 32, 4, 5


@pytest.fixture
def attention():
    torch.manual_seed(0)
    return Attention(CHANNELS, HEADS).double().eval()


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(1)
    shapes = (QUERIES, TOKENS, TOKENS)
    return [torch.randn(BATCH, count, CHANNELS, dtype=torch.float64, generator=generator)
            for count in shapes]


def dense(attention, queries, keys, values, bias):
    """Attention with an explicit bias (B, heads, Q, T): the matrix that the columns avoid."""
    weights = attention.qkv.weight.split(CHANNELS)
    biases = attention.qkv.bias.split(CHANNELS)
    q, k, v = ((x @ w.T + b).unflatten(-1, (HEADS, -1)).transpose(1, 2)
               for x, w, b in zip((queries, keys, values), weights, biases))
    share = (q @ k.transpose(-1, -2) / math.sqrt(CHANNELS / HEADS) + bias).softmax(-1)
    return attention.out((share @ v).transpose(1, 2).flatten(2)), share


@pytest.mark.parametrize("by_head", [False, True])
@pytest.mark.parametrize("widths", [(1,), (7, 1), (5, 3, 8)])
def test_columns_equal_a_dense_bias(attention, data, widths, by_head):
    generator = torch.Generator().manual_seed(2)
    columns, bias = [], torch.zeros(BATCH, HEADS, QUERIES, TOKENS, dtype=torch.float64)
    for width in widths:
        shape = (BATCH, HEADS, QUERIES, width) if by_head else (BATCH, QUERIES, width)
        a = torch.randn(shape, dtype=torch.float64, generator=generator)
        b = torch.randn(BATCH, TOKENS, width, dtype=torch.float64, generator=generator)
        columns.append(Columns(a, b))
        bias += (a if by_head else a[:, None]) @ b[:, None].transpose(-1, -2)
    ours, mass = attention.biased(*data, Bias(tuple(columns)))
    assert mass is None
    torch.testing.assert_close(ours, dense(attention, *data, bias)[0], rtol=1e-12, atol=1e-12)


def test_without_bias_nothing_is_appended(attention, data):
    assert torch.equal(attention.biased(*data, NO_BIAS)[0], attention(*data))
    torch.testing.assert_close(attention(*data), dense(attention, *data, 0)[0])


def test_gradient_reaches_both_parts_of_a_bias(attention, data):
    a = torch.zeros(BATCH, QUERIES, SENSORS, dtype=torch.float64, requires_grad=True)
    b = torch.randn(BATCH, TOKENS, SENSORS, dtype=torch.float64, requires_grad=True)
    attention.biased(*data, Bias((Columns(a, b),)))[0].sum().backward()
    assert (a.grad != 0).all()
    assert torch.autograd.gradcheck(
        lambda a: attention.biased(*data, Bias((Columns(a, b.detach()),)))[0], a)


def test_blocked_pairs_do_not_see_each_other(attention, data):
    x = data[1]
    blocked = torch.zeros(TOKENS, TOKENS, dtype=torch.bool)
    blocked[:5, 5:] = True
    torch.testing.assert_close(attention(x, x, x, blocked)[:, :5],
                               attention(x[:, :5], x[:, :5], x[:, :5]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_excluded_tokens_have_no_share_at_all(attention, data, dtype):
    attention = attention.to(dtype)
    queries, keys, values = (x.to(dtype) for x in data)
    token_bias = torch.zeros(BATCH, TOKENS)
    token_bias[:, 9:] = EXCLUDED
    ones = torch.ones(BATCH, QUERIES, 1)
    values[:, 9:] = 1e4
    ours, _ = attention.biased(queries, keys, values,
                               Bias((Columns(ones, token_bias[..., None]),)))
    without = attention(queries, keys[:, :9], values[:, :9])
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5}.get(dtype, 0.05)
    torch.testing.assert_close(ours, without, rtol=tolerance, atol=tolerance)


def test_twice_excluded_is_finite_in_half_precision():
    assert torch.tensor(2 * EXCLUDED, dtype=torch.float16).isfinite()
    assert math.exp(EXCLUDED) == 0.0


def test_shares_of_groups_are_measured(attention, data):
    sensor = torch.arange(TOKENS) % SENSORS
    groups = torch.nn.functional.one_hot(sensor, SENSORS).double().expand(BATCH, -1, -1)
    query_bias = torch.randn(BATCH, QUERIES, SENSORS, dtype=torch.float64)
    _, mass = attention.biased(*data, Bias((Columns(query_bias, groups),), groups=groups))
    _, share = dense(attention, *data, (query_bias @ groups.transpose(1, 2))[:, None])
    wanted = torch.stack([share[..., sensor == s].sum(-1) for s in range(SENSORS)], -1).mean(1)
    torch.testing.assert_close(mass.double(), wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(mass.sum(-1), torch.ones(BATCH, QUERIES), rtol=1e-5, atol=1e-5)


def make_memory(present=None, chosen=None):
    generator = torch.Generator().manual_seed(3)
    tokens, positions = (torch.randn(BATCH, TOKENS, CHANNELS, generator=generator)
                         for _ in range(2))
    sensor = (torch.arange(TOKENS) * SENSORS) // TOKENS
    if present is None:
        present = torch.ones(BATCH, SENSORS, dtype=torch.bool)
    return Memory(tokens, positions, sensor, present, (0, 0), (), (0, 0), chosen)


def test_a_gain_multiplies_the_share_of_its_sensor(attention, data):
    memory = make_memory()
    gains = torch.ones(BATCH, SENSORS)
    gains[1, 2] = 3.0
    bias = sensor_bias(memory, gains).double()
    ones = torch.ones(BATCH, QUERIES, 1, dtype=torch.float64)
    groups = torch.nn.functional.one_hot(memory.token_sensor, SENSORS).double()
    groups = groups.expand(BATCH, -1, -1)
    before = attention.biased(*data, Bias((Columns(ones * 0, bias[..., None]),), groups=groups))[1]
    after = attention.biased(*data, Bias((Columns(ones, bias[..., None]),), groups=groups))[1]
    torch.testing.assert_close(after[0], before[0])
    # By head the share m becomes 3m / (1 + 2m); the mean over heads lies between.
    assert (after[1, :, 2] > before[1, :, 2]).all()
    one_head = Attention(CHANNELS, 1).double().eval()
    shares = [one_head.biased(*data, Bias((Columns(ones * scale, bias[..., None]),),
                                          groups=groups))[1][1, :, 2] for scale in (0, 1)]
    torch.testing.assert_close(shares[1], 3 * shares[0] / (1 + 2 * shares[0]))


def test_routing_and_gains_add_up():
    memory = make_memory()
    like = torch.zeros(BATCH, QUERIES, CHANNELS)
    routing = Routing(memory.token_sensor, torch.randn(BATCH, QUERIES, SENSORS),
                      torch.randn(BATCH, TOKENS))
    gain_bias = torch.randn(BATCH, TOKENS)
    bias = routing_bias(routing, gain_bias, SENSORS, like)
    total = sum(one.queries @ one.keys.transpose(1, 2) for one in bias.columns)
    wanted = (routing.query_bias[:, :, memory.token_sensor] + routing.token_bias[:, None]
              + gain_bias[:, None])
    torch.testing.assert_close(total, wanted)
    assert routing_bias(None, None, SENSORS, like).columns == ()
    excluded = torch.full_like(gain_bias, EXCLUDED)
    twice = Routing(memory.token_sensor, token_bias=excluded)
    floor = routing_bias(twice, excluded, SENSORS, like)
    assert (floor.columns[0].keys == EXCLUDED).all()


def test_only_chosen_tokens_are_read():
    index = torch.stack([torch.randperm(TOKENS)[:9] for _ in range(BATCH)])
    memory = make_memory(chosen=index)
    keys, values = chosen_tokens(memory)
    for frame in range(BATCH):
        assert torch.equal(values[frame], memory.tokens[frame, index[frame]])
        assert torch.equal(keys[frame], (memory.tokens + memory.positions)[frame, index[frame]])
    token_bias = torch.randn(BATCH, TOKENS)
    bias = routing_bias(Routing(memory.token_sensor, token_bias=token_bias), None, SENSORS,
                        torch.zeros(BATCH, QUERIES, CHANNELS))
    kept = chosen_bias(memory, bias)
    assert torch.equal(kept.columns[0].keys[..., 0], token_bias.gather(1, index))
    assert torch.equal(kept.groups.argmax(-1), memory.token_sensor[index])


def test_a_layer_without_tokens_is_finite():
    from aqr_perception.model.config import DecoderConfig

    layer = DecoderLayer(DecoderConfig(CHANNELS, HEADS, 1, 16, QUERIES)).eval()
    x = torch.randn(BATCH, QUERIES, CHANNELS)
    nothing = torch.zeros(BATCH, 0, CHANNELS)
    assert layer(x, x, nothing, nothing)[0].isfinite().all()
