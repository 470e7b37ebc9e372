from __future__ import annotations

import re

import pytest
import torch
from golden import Golden

from aqr_perception.model.aqr.weight_map.modulator import combine, gain
from aqr_perception.model.aqr.weight_map.published import PublishedModulator


def test_combinations_by_hand():
    weights = torch.tensor([[[[0.0, 2.0], [1.0, 1.0]]]])
    assert torch.equal(combine(weights, "element_wise"), weights)
    assert torch.equal(combine(weights, "channel_wise"), torch.ones(1, 1, 2, 2))
    torch.testing.assert_close(combine(weights, "adaptive"),
                               torch.tensor([[[[0.3, 1.7], [1.0, 1.0]]]]))


def test_gain_is_the_reports_formula():
    weights, feature, residual = torch.tensor([0.0, 1.0, 2.5]), 3.0, 0.6
    torch.testing.assert_close(gain(weights, residual) * feature,
                               residual * feature + (1 - residual) * feature * weights)
    assert gain(torch.tensor(2.5), 0.6).item() == pytest.approx(1.6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_agrees_with_the_published_modulator(shared_reference, dtype):
    golden = Golden.read(shared_reference, "aqr_modulator")
    scale, bias = (float(value) for value in re.search(  # stated in words only
        r"scale (-?[\d.]+), bias (-?[\d.]+)", golden.about["meaning"]).groups())
    maps = {"bev": golden("bev_w", dtype)[:, None], "pers": golden("pers_w", dtype)}
    for name, made in golden.about["constructor"].items():
        learned = made.get("learnable_modulation", False)
        modulator = PublishedModulator(
            made["modulation_type"], made.get("normalize_weights", True),
            made.get("residual_connection", True), made.get("residual_weight", 0.1),
            scale if learned else 1.0, bias if learned else 0.0, made.get("activation", "none"))
        for kind, weights in maps.items():
            factor = modulator.gain(weights).flatten(0, 1)[:, None]
            golden.check(f"{kind}_{name}", golden(kind, dtype) * factor)


def test_a_constant_map_has_no_contrast_to_stretch():
    weights = torch.full((1, 1, 2, 2), 0.9)
    modulator = PublishedModulator(normalize=True, residual=False)
    assert torch.equal(modulator.gain(weights), torch.full((1, 1, 2, 2), 0.5))
