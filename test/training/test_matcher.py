from __future__ import annotations

import itertools
import math

import pytest
import torch
from golden import Golden

from aqr_perception.model.box_coder import encode_boxes
from aqr_perception.training.criterion import match_batch
from aqr_perception.training.matcher import box_cost, focal_cost, match
from aqr_perception.training.targets import Targets


def golden_targets(golden: Golden, dtype=torch.float64) -> list[Targets]:
    """The published boxes state the bottom's z; ours the centre's."""
    targets = []
    while f"in::gt_boxes_{len(targets)}" in golden.tensors:
        index = len(targets)
        boxes = golden(f"gt_boxes_{index}", dtype).clone()
        boxes[:, 2] += boxes[:, 5] / 2
        targets.append(Targets(boxes, golden(f"gt_labels_{index}")))
    return targets


def test_pairing_is_the_cheapest_of_all():
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(4, 3, generator=generator)
    predicted, wanted = (torch.randn(n, 10, generator=generator) for n in (4, 3))
    labels = torch.tensor([2, 0, 1])
    cost = 2 * focal_cost(logits, labels) + 0.25 * box_cost(predicted, wanted)
    best = min(sum(cost[q, n] for n, q in enumerate(chosen))
               for chosen in itertools.permutations(range(4), 3))
    pairs = match(logits, predicted, labels, wanted)
    assert cost[pairs.query, pairs.target].sum() == pytest.approx(float(best), rel=1e-6)
    assert sorted(pairs.target.tolist()) == [0, 1, 2]


def test_focal_cost_by_hand():
    p, alpha = 0.7, 0.25
    with_it = -alpha * (1 - p) ** 2 * math.log(p)
    without = -(1 - alpha) * p ** 2 * math.log(1 - p)
    cost = focal_cost(torch.tensor([[math.log(p / (1 - p))]]), torch.tensor([0]))
    assert cost.item() == pytest.approx(with_it - without, rel=1e-5)


def test_velocity_does_not_count():
    near = torch.zeros(1, 10)
    far = near.clone()
    far[:, 8:] = 100.0
    assert box_cost(near, far).item() == 0.0


def test_no_object_gives_no_pair():
    pairs = match(torch.zeros(5, 3), torch.zeros(5, 10), torch.zeros(0, dtype=torch.int64),
                  torch.zeros(0, 10))
    assert len(pairs.query) == len(pairs.target) == 0


def test_a_network_that_has_diverged_is_named():
    boxes = torch.full((2, 10), torch.nan)
    with pytest.raises(ValueError, match="not finite"):
        match(torch.zeros(2, 3), boxes, torch.tensor([0]), torch.zeros(1, 10))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_agrees_with_the_published_code(shared_reference, dtype):
    golden = Golden.read(shared_reference, "assigner_losses")
    targets = golden_targets(golden, dtype)
    logits, boxes = golden("pred_logits", dtype), golden("pred_bboxes", dtype)
    for b, pairs in enumerate(match_batch(logits, boxes, targets)):
        truth = targets[b]
        golden.check(f"cls_cost_{b}", 2 * focal_cost(logits[b], truth.labels))
        golden.check(f"reg_cost_{b}", 0.25 * box_cost(boxes[b], encode_boxes(truth.boxes)))
        assigned = torch.zeros(logits.shape[1], dtype=torch.int64)
        assigned[pairs.query] = pairs.target + 1
        labels = torch.full((logits.shape[1],), -1)
        labels[pairs.query] = truth.labels[pairs.target]
        golden.check(f"assigned_gt_inds_{b}", assigned)
        golden.check(f"assigned_labels_{b}", labels)
