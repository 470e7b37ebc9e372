"""Which prediction answers for which object: one to one, the cheapest pairing of all."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

CODE_WEIGHTS = (2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.2, 0.2)
"""CMT's weight of each of the ten numbers of a box in cost and loss."""


@dataclass(frozen=True)
class MatchingCost:
    """Weights of the two costs (CMT: 2 and 0.25); velocity does not count."""

    classification: float = 2.0
    box: float = 0.25


@dataclass(frozen=True)
class Matches:
    """Pairs of one frame.

    Attributes:
        query: (M,) int64 index of the prediction.
        target: (M,) int64 index of the object that it answers for.
    """

    query: Tensor
    target: Tensor


def focal_cost(logits: Tensor, labels: Tensor, alpha: float = 0.25, gamma: float = 2.0,
               floor: float = 1e-12) -> Tensor:
    """What choosing each object's class costs each prediction.

    Args:
        logits: (Q, K).
        labels: (N,).
        alpha: Weight of the positive term of the focal loss.
        gamma: Its exponent.
        floor: Keeps the logarithm finite.

    Returns:
        (Q, N) focal loss with the class as the answer minus that without it (DETR-style).
    """
    probability = logits.sigmoid()
    without = -(1 - probability + floor).log() * (1 - alpha) * probability ** gamma
    with_it = -(probability + floor).log() * alpha * (1 - probability) ** gamma
    return (with_it - without)[:, labels]


def box_cost(predicted: Tensor, wanted: Tensor) -> Tensor:
    """(Q, N) weighted L1 distance of the first eight code numbers: predicted (Q, ≥8), wanted (N,
    ≥8), both as `encode_boxes` states them.
    """
    weights = predicted.new_tensor(CODE_WEIGHTS[:8])
    return torch.cdist(predicted[:, :8] * weights, wanted[:, :8] * weights, p=1)


@torch.no_grad()
def match(logits: Tensor, predicted: Tensor, labels: Tensor, wanted: Tensor,
          cost: MatchingCost | None = None) -> Matches:
    """Pair predictions and objects of one frame at the least total cost (Hungarian method).

    Args:
        logits: (Q, K).
        predicted: (Q, 10) boxes as the head states them.
        labels: (N,).
        wanted: (N, 10) boxes in the same code.
        cost: Weights of the two costs; CMT's by default.

    Returns:
        min(Q, N) pairs, ordered by query.

    Raises:
        ValueError: A cost is not finite, so the network's output is not.
    """
    cost = cost or MatchingCost()
    total = (cost.classification * focal_cost(logits, labels)
             + cost.box * box_cost(predicted, wanted))
    if not torch.isfinite(total).all():
        raise ValueError("a predicted box or score is not finite; expected finite numbers: "
                         "lower the learning rate, or look at the saved batch")
    query, target = linear_sum_assignment(total.double().cpu().numpy())
    return Matches(torch.as_tensor(query, dtype=torch.int64, device=logits.device),
                   torch.as_tensor(target, dtype=torch.int64, device=logits.device))


