from __future__ import annotations

import logging

import pytest
import torch
from test_sparse_conv import DEVICES, KINDS, make_cells

from aqr_perception.model import spconv_backend
from aqr_perception.model.sparse_conv import SparseConv, sparse_stages


@pytest.fixture
def spconv():
    return pytest.importorskip("spconv.pytorch", reason="spconv is not installed")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", KINDS)
def test_both_give_the_same_with_the_same_gradients(spconv, kind, device):
    kernel, stride, padding = KINDS[kind]
    cells, _, _ = make_cells(0.3, device=device)
    cells = type(cells)(cells.features.float().requires_grad_(), cells.index, cells.shape,
                        cells.frames)
    conv = SparseConv(5, 8, kernel, stride, padding).to(device)
    ours, theirs = conv.plain(cells), spconv_backend.convolve(conv, cells)
    assert torch.equal(ours.index, theirs.index)
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours.features, theirs.features, rtol=1e-3, atol=1e-3)
    if device == "cpu":  # spconv's build for the CPU has no backward pass
        return
    weighting = torch.randn_like(ours.features)
    gradients = [torch.autograd.grad((out.features * weighting).sum(),
                                     [cells.features, conv.weight]) for out in (ours, theirs)]
    for one, two in zip(*gradients):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("device", DEVICES)
def test_whole_stages_agree(spconv, monkeypatch, device):
    cells, _, _ = make_cells(0.05, shape=(41, 16, 16), device=device)
    cells = type(cells)(cells.features.float(), cells.index, cells.shape, cells.frames)
    stages = sparse_stages(5, (4, 8, 8, 8, 8), 1e-3, 0.01).eval().to(device)
    plain = stages(cells).dense() if device == "cpu" else None
    monkeypatch.setattr(spconv_backend, "wanted", lambda features: True)
    theirs = stages(cells).dense()
    if plain is None:
        monkeypatch.setattr(spconv_backend, "wanted", lambda features: False)
        plain = stages(cells).dense()
    torch.testing.assert_close(theirs, plain, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("device", DEVICES)
def test_it_is_found_to_agree(spconv, device):
    spconv_backend.agrees.cache_clear()
    assert spconv_backend.agrees(device)


def test_one_that_computes_something_else_is_not_used(monkeypatch, caplog):
    monkeypatch.setattr(spconv_backend.importlib, "import_module", lambda name: None)
    monkeypatch.setattr(spconv_backend, "convolve", lambda conv, cells: cells)
    spconv_backend.agrees.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert not spconv_backend.agrees("cpu")
    assert "differs by" in caplog.text

    def fail(conv, cells):
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(spconv_backend, "convolve", fail)
    spconv_backend.agrees.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert not spconv_backend.agrees("cpu")
    assert "no kernel image" in caplog.text
    spconv_backend.agrees.cache_clear()


def test_the_cpu_and_double_precision_stay_with_ours():
    assert not spconv_backend.wanted(torch.zeros(1, 1))
    assert not spconv_backend.wanted(torch.zeros(1, 1, dtype=torch.float64))
