"""The training loss: classification and boxes of every decoder layer, denoising, and the gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from aqr_perception.training.denoising import DenoisingQueries
from aqr_perception.training.losses import focal_loss
from aqr_perception.training.matcher import CODE_WEIGHTS, Matches, MatchingCost, match
from aqr_perception.training.targets import BACKGROUND, Targets, encode_boxes

EPSILON = torch.finfo(torch.float32).eps
"""Added to every normaliser, so that a batch without objects has a box loss of 0."""

DENOISING_SHARE = 3.14159 / 6 * 0.75 ** 3
"""Share of the copies that keep their class, as CMT estimates it: a ball in a cube."""


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms (CMT's, and the gate's).

    Attributes:
        classification: Of the focal loss.
        box: Of the L1 loss.
        background: How much a query without an object adds to the normaliser of the focal loss.
        denoising: Of all denoising terms together.
        gate: Of the gate's supervision.
        agreement: Of the contrastive loss that teaches the sensors' descriptors to agree.
    """

    classification: float = 2.0
    box: float = 0.25
    background: float = 0.1
    denoising: float = 1.0
    gate: float = 0.2
    agreement: float = 0.1


@dataclass(frozen=True)
class Losses:
    """The terms, weighted: L layers, the last one last.

    Attributes:
        classification: (L,).
        box: (L,).
        dn_classification: (L,); 0 without denoising.
        dn_box: (L,).
        gate: Scalar; 0 where AQR has no supervised part.
        agreement: Scalar, likewise.
    """

    classification: Tensor
    box: Tensor
    dn_classification: Tensor
    dn_box: Tensor
    gate: Tensor
    agreement: Tensor

    @property
    def total(self) -> Tensor:
        """What to differentiate."""
        return torch.stack([getattr(self, field.name).sum() for field in fields(self)]).sum()

    def scalars(self) -> dict[str, float]:
        """Numbers for the log, under the names that the field plots: those of the last layer."""
        return {"loss": float(self.total), "loss_cls": float(self.classification[-1]),
                "loss_bbox": float(self.box[-1]), "dn_loss_cls": float(self.dn_classification[-1]),
                "dn_loss_bbox": float(self.dn_box[-1]), "loss_gate": float(self.gate),
                "loss_agreement": float(self.agreement)}


def match_batch(logits: Tensor, boxes: Tensor, targets: Sequence[Targets],
                cost: MatchingCost | None = None) -> list[Matches]:
    """Pair predictions and objects, frame by frame: logits (B, Q, K), boxes (B, Q, 10)."""
    return [match(logits[b], boxes[b], frame.labels, encode_boxes(frame.boxes), cost)
            for b, frame in enumerate(targets)]


def layer_losses(logits: Tensor, boxes: Tensor, targets: Sequence[Targets], matches: list[Matches],
                 weights: LossWeights) -> tuple[Tensor, Tensor]:
    """Classification and box loss of one decoder layer over the matching queries.

    Args:
        logits: (B, Q, K).
        boxes: (B, Q, 10).
        targets: One entry a frame.
        matches: Likewise.
        weights: Of the terms.

    Returns:
        Two weighted scalars.
    """
    labels = torch.full(logits.shape[:2], BACKGROUND, dtype=torch.int64, device=logits.device)
    for b, pairs in enumerate(matches):
        labels[b, pairs.query] = targets[b].labels[pairs.target]
    predicted = torch.cat([boxes[b, pairs.query] for b, pairs in enumerate(matches)])
    wanted = torch.cat([targets[b].boxes[pairs.target] for b, pairs in enumerate(matches)])
    positive = len(wanted)
    sums = _over_processes(
        logits.new_tensor([positive + weights.background * (labels.numel() - positive), positive]))
    classification = focal_loss(logits, labels).sum() / (sums[0] + EPSILON)
    return (weights.classification * classification,
            weights.box * _box_loss(predicted, wanted) / (sums[1] + EPSILON))


def denoising_losses(logits: Tensor, boxes: Tensor, denoising: DenoisingQueries,
                     weights: LossWeights) -> tuple[Tensor, Tensor]:
    """The same over the denoising queries: logits (B, D, K), boxes (B, D, 10).

    Every copy's box is regressed, also of those that are to be called background.
    """
    where = denoising.frame, denoising.slot
    count = len(denoising.labels)
    sums = _over_processes(logits.new_tensor([count * DENOISING_SHARE, count]))
    classification = focal_loss(logits[where], denoising.labels).sum() / (sums[0] + EPSILON)
    box = _box_loss(boxes[where], denoising.boxes) / (sums[1] + EPSILON)
    scale = weights.denoising
    return scale * weights.classification * classification, scale * weights.box * box


def _box_loss(predicted: Tensor, wanted: Tensor) -> Tensor:
    """Sum of the weighted L1 over rows (M, 10) against boxes (M, 9).

    An object without a known velocity is left out altogether, as in CMT.
    """
    code = encode_boxes(wanted).to(predicted.dtype)
    known = code.isfinite().all(dim=1, keepdim=True)
    code = code.where(known, predicted.detach())
    return ((predicted - code).abs() * predicted.new_tensor(CODE_WEIGHTS)).sum()


def _over_processes(sums: Tensor) -> Tensor:
    """Normalisers (at least 1) as one process with the whole batch would have them.

    Gradients are averaged over the processes afterwards, so each one's share is 1/W of the whole.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return sums.clamp(min=1.0)
    torch.distributed.all_reduce(sums)
    return sums.clamp(min=1.0) / torch.distributed.get_world_size()
