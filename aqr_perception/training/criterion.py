"""The training loss: classification and boxes of every decoder layer, denoising, and the gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from aqr_perception.model.aqr.output import AqrOutput, Contrast, GateLabels, GateLogits
from aqr_perception.model.box_coder import encode_boxes
from aqr_perception.training.denoising import DenoisingQueries
from aqr_perception.training.distributed import normalisers
from aqr_perception.training.losses import focal_loss, masked_bce
from aqr_perception.training.matcher import CODE_WEIGHTS, Matches, MatchingCost, match
from aqr_perception.training.targets import BACKGROUND, Targets
from aqr_perception.types import DetectorOutput

EPSILON = torch.finfo(torch.float32).eps
"""Added to every normaliser, so that a batch without objects has a box loss of 0."""

DENOISING_SHARE = 3.14159 / 6 * 0.75 ** 3
"""Share of the copies that keep their class, as CMT estimates it: a ball in a cube."""


TEMPERATURE = 0.1
"""Of the contrastive loss."""


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
        distillation: Of the squared difference from a teacher's weights.
    """

    classification: float = 2.0
    box: float = 0.25
    background: float = 0.1
    denoising: float = 1.0
    gate: float = 0.2
    agreement: float = 0.1
    distillation: float = 1.0


@dataclass(frozen=True)
class Losses:
    """The terms, weighted: L layers, the last one last.

    Attributes:
        classification: (L,).
        box: (L,).
        dn_classification: (L,); 0 without denoising.
        dn_box: (L,).
        heat: Scalar, of the tokens' side task (`training.heat_loss`); 0 without it.
        gate: Scalar; 0 where AQR has no supervised part.
        agreement: Scalar, likewise.
        distillation: Scalar (`training.distillation`); 0 without a teacher.
    """

    classification: Tensor
    box: Tensor
    dn_classification: Tensor
    dn_box: Tensor
    heat: Tensor
    gate: Tensor
    agreement: Tensor
    distillation: Tensor

    @property
    def total(self) -> Tensor:
        """What to differentiate."""
        return torch.stack([getattr(self, field.name).sum() for field in fields(self)]).sum()

    def scalars(self) -> dict[str, float]:
        """Numbers for the log, under the names that the field plots: those of the last layer."""
        last = {"loss": self.total, "loss_cls": self.classification[-1],
                "loss_bbox": self.box[-1], "dn_loss_cls": self.dn_classification[-1],
                "dn_loss_bbox": self.dn_box[-1], "loss_heat": self.heat, "loss_gate": self.gate,
                "loss_agreement": self.agreement, "loss_distillation": self.distillation}
        return {name: float(value.detach()) for name, value in last.items()}


def only(**terms: Tensor) -> Losses:
    """Losses of which all but the given ones, scalars, are 0."""
    none = torch.zeros_like(next(iter(terms.values())))
    zeros = {field.name: none[None] if field.name.endswith(("classification", "box")) else none
             for field in fields(Losses)}
    return Losses(**{**zeros, **terms})


class Criterion:
    """Output and truth → losses."""

    def __init__(self, weights: LossWeights | None = None, cost: MatchingCost | None = None
                 ) -> None:
        self.weights = weights or LossWeights()
        self.cost = cost or MatchingCost()

    def __call__(self, output: DetectorOutput, targets: Sequence[Targets],
                 denoising: DenoisingQueries | None = None, labels: GateLabels | None = None
                 ) -> Losses:
        """Compute every term, in single precision or better.

        Args:
            output: Of the network in training mode.
            targets: One entry a frame.
            denoising: The copies that ``output`` was made with, or None.
            labels: Whom to trust, for the gate; None does not supervise it.
        """
        if (output.dn_logits is None) != (denoising is None):
            raise ValueError("the criterion was given other denoising queries than the network; "
                             "expected the same, or None for both")
        logits, boxes = _wide(output.logits), _wide(output.boxes)
        matching = [self._layer(*layer, targets) for layer in zip(logits, boxes)]
        none = logits.new_zeros(())
        if output.dn_logits is None or output.dn_boxes is None or denoising is None:
            copies = [nothing_to_denoise(none) for _ in logits]
        else:
            copies = [denoising_losses(*layer, denoising, self.weights)
                      for layer in zip(_wide(output.dn_logits), _wide(output.dn_boxes))]
        aqr = output.aqr if isinstance(output.aqr, AqrOutput) else None
        gate = none if aqr is None else gate_loss(aqr.logits, labels, none)
        agreement = none if aqr is None else agreement_loss(aqr.contrast, labels, none)
        classification, box = zip(*matching)
        dn_classification, dn_box = zip(*copies)
        return Losses(torch.stack(classification), torch.stack(box),
                      torch.stack(dn_classification), torch.stack(dn_box), none,
                      self.weights.gate * gate, self.weights.agreement * agreement, none)

    def of_gate(self, logits: GateLogits, contrast: Contrast | None, labels: GateLabels) -> Losses:
        """The gate's terms alone.

        Args:
            logits: What it thinks.
            contrast: How alike what the sensors show is, or None.
            labels: Whom to trust.
        """
        none = logits.usable.new_zeros((), dtype=torch.float32)
        return only(gate=self.weights.gate * gate_loss(logits, labels, none),
                    agreement=self.weights.agreement * agreement_loss(contrast, labels, none))

    def _layer(self, logits: Tensor, boxes: Tensor, targets: Sequence[Targets]
               ) -> tuple[Tensor, Tensor]:
        matches = match_batch(logits, boxes, targets, self.cost)
        return layer_losses(logits, boxes, targets, matches, self.weights)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


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
    sums = normalisers(
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
    sums = normalisers(logits.new_tensor([count * DENOISING_SHARE, count]))
    classification = focal_loss(logits[where], denoising.labels).sum() / (sums[0] + EPSILON)
    box = _box_loss(boxes[where], denoising.boxes) / (sums[1] + EPSILON)
    scale = weights.denoising
    return scale * weights.classification * classification, scale * weights.box * box


def nothing_to_denoise(none: Tensor) -> tuple[Tensor, Tensor]:
    """The losses of a process whose frames hold no object; others may wait for its counts."""
    normalisers(torch.zeros_like(none).expand(2).clone())
    return none, none


def _box_loss(predicted: Tensor, wanted: Tensor) -> Tensor:
    """Sum of the weighted L1 over rows (M, 10) against boxes (M, 9).

    An object without a known velocity is left out altogether, as in CMT.
    """
    code = encode_boxes(wanted).to(predicted.dtype)
    known = code.isfinite().all(dim=1, keepdim=True)
    code = code.where(known, predicted.detach())
    return ((predicted - code).abs() * predicted.new_tensor(CODE_WEIGHTS)).sum()


def gate_loss(logits: GateLogits | None, labels: GateLabels | None, none: Tensor) -> Tensor:
    """Supervise the gate where it is known whom to trust; each level counts alike.

    Each level answers its own question. Where a sensor is to be left out as a whole, its places
    teach nothing: else queries and tokens learn to blame wherever all sensors disagree, which only
    a look at the whole frame can judge.

    Denoising queries have no logits there. Sensors that are absent are not judged. The means run
    over the entries of all processes.

    Args:
        logits: What the gate thinks.
        labels: What is known.
        none: The zero to return where there is nothing to learn from.
    """
    if logits is None or labels is None:
        return none
    unjudged = ~logits.usable
    loss, elsewhere = none, unjudged
    if logits.frame is not None and labels.frame is not None:
        loss = loss + _shared_bce(logits.frame, labels.frame.masked_fill(unjudged, torch.nan))
        elsewhere = unjudged | (labels.frame < 0.5)
    if logits.query is not None and labels.query is not None:
        wanted = labels.query.masked_fill(elsewhere[:, None], torch.nan)
        loss = loss + _shared_bce(logits.query, wanted.expand_as(logits.query))
    if logits.token is not None and labels.token is not None:
        nobody = ~logits.read | elsewhere[:, logits.layout.sensor.to(elsewhere.device)]
        wanted = labels.token.masked_fill(nobody, torch.nan)
        loss = loss + _shared_bce(logits.token, wanted.expand_as(logits.token))
    return loss


def _shared_bce(logits: Tensor, labels: Tensor) -> Tensor:
    """`masked_bce`, weighed by this process's share of the known labels."""
    known = (~labels.isnan()).sum().to(logits.dtype)[None]
    return masked_bce(logits, labels) * (known / normalisers(known))[0]


def agreement_loss(contrast: Contrast | None, labels: GateLabels | None, none: Tensor) -> Tensor:
    """Teach image columns and rays through the bird's-eye view to find each other (InfoNCE).

    Cameras count where both they and the LiDAR are there and nothing is known against either.
    """
    if contrast is None:
        return none
    trusted = contrast.usable
    if labels is not None and labels.sound is not None:
        trusted = trusted & labels.sound[:, 1:] & labels.sound[:, :1]
    logits = contrast.similarity / TEMPERATURE
    own = torch.diagonal(logits, dim1=-2, dim2=-1)
    each = (logits.logsumexp(-1) + logits.logsumexp(-2)) / 2 - own  # (B, V, W)
    weight = trusted.to(each.dtype)
    return (each.mean(-1) * weight).sum() / normalisers(weight.sum()[None])[0]
