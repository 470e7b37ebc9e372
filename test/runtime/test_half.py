from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from training_frames import small_config

from aqr_perception.model.checkpoint import untrained
from aqr_perception.runtime.benchmark import batch_of
from aqr_perception.runtime.half import (
    _Best,
    _paired,
    _RoundedConvolutions,
    half_precision_shares,
)

CPU = torch.device("cpu")
PLACES = torch.tensor([[0.0, 0.0, 0.0], [5.0, 0.0, 0.0], [9.0, 0.0, 0.0]])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_network_is_compared_with_itself_in_half_precision(dtype):
    detector = untrained(small_config())
    shares = half_precision_shares(detector, batch_of(detector.config, CPU), dtype, 50)
    assert 0.8 < shares.kept <= 1.0
    assert 0.5 < shares.same_query <= 1.0


def test_a_box_needs_a_partner_of_its_own_of_its_class_at_its_place():
    labels = torch.tensor([1, 1, 2])
    single = _Best([0, 1, 2], labels, PLACES)
    moved = replace(single, center=PLACES + torch.tensor([0.0, 0.05, 0.0]))
    assert _paired(single, moved) == 3
    assert _paired(single, replace(moved, center=moved.center[[2, 0, 1]],
                                   label=labels[[2, 0, 1]])) == 3
    assert _paired(single, replace(moved, center=PLACES + 0.1)) == 0
    assert _paired(single, replace(moved, label=torch.tensor([1, 2, 2]))) == 2
    twice = PLACES[[0, 0, 2]]
    assert _paired(replace(single, center=twice), moved) == 2


def test_rounded_convolutions_are_those_of_float16():
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(4, 8, 3, padding=1)
    x = torch.randn(2, 4, 6, 5)
    with torch.inference_mode():
        with torch.autocast("cpu", torch.float16):
            slow = layer(x)
            with _RoundedConvolutions():
                fast = layer(x)
        with _RoundedConvolutions():
            assert torch.equal(layer(x), torch.nn.functional.conv2d(
                x, layer.weight, layer.bias, padding=1))
    assert fast.dtype == slow.dtype == torch.float16
    torch.testing.assert_close(fast, slow, rtol=2e-3, atol=2e-3)
