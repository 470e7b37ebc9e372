"""Losses, element by element; `criterion` weighs, normalises and adds them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def focal_loss(logits: Tensor, labels: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Sigmoid focal loss (Lin et al., 2017).

    Args:
        logits: (..., K).
        labels: (...,) 0..K-1, or K for background.
        alpha: Weight of the positive term.
        gamma: Exponent that takes the easy ones down.

    Returns:
        (..., K), not reduced.
    """
    wanted = F.one_hot(labels, logits.shape[-1] + 1)[..., :-1].to(logits.dtype)
    probability = logits.sigmoid()
    wrong = (1 - probability) * wanted + probability * (1 - wanted)
    weight = (alpha * wanted + (1 - alpha) * (1 - wanted)) * wrong ** gamma
    return weight * F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")


def masked_bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean binary cross-entropy over the entries whose label is known.

    Args:
        logits: Any shape.
        labels: The same shape, 0..1; NaN where nobody knows.

    Returns:
        A scalar; 0 with a gradient of 0 where no label is known.
    """
    known = ~labels.isnan()
    wanted = labels.where(known, labels.new_zeros(()))
    loss = F.binary_cross_entropy_with_logits(logits, wanted.to(logits.dtype), reduction="none")
    return (loss * known).sum() / known.sum().clamp(min=1)
