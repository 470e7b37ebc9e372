from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from aqr_perception.model.aqr import window as module
from aqr_perception.model.aqr.window import WindowBias, attend


def inputs(seed: int, dtype=torch.float64, sharpness: float = 1.0):
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(2, 3, 7, 8, generator=generator, dtype=torch.float64) * sharpness
    key, value = (torch.randn(2, 3, 40, 8, generator=generator, dtype=torch.float64)
                  for _ in range(2))
    index = torch.stack([torch.stack([torch.randperm(40, generator=generator)[:9]
                                      for _ in range(7)]) for _ in range(2)])
    real = torch.rand(2, 7, 9, generator=generator) < 0.8
    real[0, 0] = False  # one query without any window
    bias = (torch.rand(2, 7, 9, generator=generator, dtype=torch.float64) * 10 - 5) * real
    tensors = (query, key, value, bias)
    return (*(x.to(dtype) for x in tensors[:3]), WindowBias(index * real, bias.to(dtype), real))


def dense(query, key, value, window: WindowBias):
    matrix = query.new_zeros(*window.index.shape[:2], key.shape[2])
    matrix = matrix.scatter_add(2, window.index, window.bias)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=matrix[:, None], scale=1.0)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), sharpness=st.floats(0.1, 6))
def test_equals_a_dense_matrix(seed, sharpness):
    arguments = inputs(seed, sharpness=sharpness)
    torch.testing.assert_close(attend(*arguments), dense(*arguments), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("sharpness", [0.3, 2.0])
def test_equals_a_dense_matrix_in_single_precision(sharpness):
    arguments = inputs(1, torch.float32, sharpness)
    torch.testing.assert_close(attend(*arguments), dense(*arguments), rtol=1e-4, atol=1e-5)


def test_gradients_equal_those_of_a_dense_matrix():
    gradients = []
    for function in (attend, dense):
        query, key, value, window = inputs(2)
        leaves = [x.requires_grad_() for x in (query, key, value, window.bias)]
        function(query, key, value, window).square().sum().backward()
        gradients.append([leaf.grad for leaf in leaves])
    real = window.real
    for ours, theirs in zip(*gradients):
        if ours.shape == real.shape:
            ours, theirs = ours * real, theirs * real  # entries without a token have no meaning
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


def test_a_window_over_everything_that_bears_all_attention_stays_exact():
    query, key, value, _ = inputs(3)
    index = torch.arange(40).expand(2, 7, 40)
    bias = torch.full((2, 7, 40), -5.0, dtype=torch.float64)  # the same everywhere: no change
    window = WindowBias(index, bias, torch.ones_like(index, dtype=torch.bool))
    plain = F.scaled_dot_product_attention(query, key, value, scale=1.0)
    torch.testing.assert_close(attend(query, key, value, window), plain, rtol=1e-9, atol=1e-10)


def test_windows_are_gathered_a_few_queries_at_a_time(monkeypatch):
    arguments = inputs(4)
    whole = attend(*arguments)
    monkeypatch.setattr(module, "QUERIES_AT_ONCE", 3)
    torch.testing.assert_close(attend(*arguments), whole)


def test_without_tokens_there_is_nothing():
    query, key, value, window = inputs(5)
    empty = WindowBias(window.index[..., :0], window.bias[..., :0], window.real[..., :0])
    assert (attend(query, key[:, :, :0], value[:, :, :0], empty) == 0).all()
