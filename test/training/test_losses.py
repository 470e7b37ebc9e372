from __future__ import annotations

import math

import pytest
import torch
from golden import Golden

from aqr_perception.training.losses import focal_loss, masked_bce


def test_focal_loss_by_hand():
    p = 0.8
    logits = torch.tensor([[math.log(p / (1 - p)), 0.0]], dtype=torch.float64)
    loss = focal_loss(logits, torch.tensor([0]))
    assert loss[0, 0].item() == pytest.approx(-0.25 * 0.2 ** 2 * math.log(0.8))
    assert loss[0, 1].item() == pytest.approx(-0.75 * 0.5 ** 2 * math.log(0.5))


def test_background_wants_nothing():
    loss = focal_loss(torch.full((1, 3), -40.0), torch.tensor([3]))
    assert loss.abs().max() < 1e-12


def test_masked_entries_neither_count_nor_learn():
    logits = torch.tensor([0.0, 5.0, -3.0], requires_grad=True)
    loss = masked_bce(logits, torch.tensor([1.0, math.nan, 0.0]))
    loss.backward()
    assert loss.item() == pytest.approx((math.log(2) + math.log1p(math.exp(-3))) / 2)
    assert logits.grad[1] == 0
    assert (logits.grad[[0, 2]] != 0).all()


def test_nothing_known_gives_zero_with_a_gradient():
    logits = torch.zeros(3, requires_grad=True)
    loss = masked_bce(logits, torch.full((3,), math.nan))
    loss.backward()
    assert loss.item() == 0.0
    assert (logits.grad == 0).all()


def test_agrees_with_the_published_code(shared_reference):
    golden = Golden.read(shared_reference, "assigner_losses")
    loss = focal_loss(golden("pred_logits")[0], golden("focal_target"))
    weighted = 2 * loss * golden("focal_weight")[:, None]
    golden.check("focal_none", weighted)
    torch.testing.assert_close(weighted.sum() / 7, golden.tensors["out64::focal_avg7"],
                               rtol=1e-7, atol=0)  # the published divisor carries an epsilon
