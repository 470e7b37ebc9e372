"""Distillation: a small generator of weights learns what a trained larger one says.

In ``weight_map`` a generator gives each query two numbers, its weights for the LiDAR and the
cameras. The transformer that looks around each query (`WindowGenerator`) is the larger kind, the
MLP the smaller. A frozen network with the former looks at the same frames, its queries where those
of the network in training start, and its numbers are what the latter's are drawn to.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aqr_perception.model import checkpoint
from aqr_perception.model.aqr.config import AqrConfig
from aqr_perception.model.aqr.output import AqrOutput
from aqr_perception.model.config import DetectorConfig
from aqr_perception.model.decoder import Queries
from aqr_perception.model.detector import Detector
from aqr_perception.model.tokens import as_known
from aqr_perception.training.baseline import with_aqr
from aqr_perception.training.distributed import normalisers
from aqr_perception.types import Batch

STUDENT = "mlp"
"""Kind of generator that is taught."""


@dataclass(frozen=True)
class Teacher:
    """A network that is only asked.

    Attributes:
        detector: With a larger generator; `load` freezes it.
        digest: SHA-256 of its file: a run goes on with the same teacher or not at all.
    """

    detector: Detector
    digest: str

    @staticmethod
    def load(path: Path) -> Teacher:
        """Read one from its weights file.

        Raises:
            OSError: There is no such file.
            ValueError: It is no weights file.
        """
        detector = checkpoint.load(path)
        return Teacher(detector.requires_grad_(False),
                       hashlib.sha256(path.read_bytes()).hexdigest())

    def identity(self) -> dict[str, Any]:
        """What must be equal for a run to go on."""
        return {"teacher": self.digest}

    def check(self, student: DetectorConfig) -> None:
        """Hold it against the network that is to learn.

        Raises:
            ValueError: The two do not speak of the same weights, or not of the same inputs.
        """
        check_settings(self.detector.config.aqr, student.aqr)
        mine = replace(self.detector.config, aqr=student.aqr)
        other = [one.name for one in fields(student)
                 if getattr(mine, one.name) != getattr(student, one.name)]
        if other:
            raise ValueError(f"the teacher's network has another {', '.join(other)} than the one "
                             "that learns; expected both to come from the same baseline")

    @torch.no_grad()
    def weights(self, batch: Batch, places: Tensor) -> Tensor:
        """What it gives to queries that start at some places.

        Args:
            batch: Inputs.
            places: (B, Q, 3) in [0, 1] of the detection range.

        Returns:
            (B, Q, 2) weights for the LiDAR and the cameras; NaN for what a frame does not have.
        """
        config, detector = self.detector.config, self.detector.eval()
        batch, selection, usable = as_known(batch, config)
        memory = detector.tokenizer(batch, selection)
        _, _, said = detector.decoder(memory, Queries(places.detach()), batch, selection)
        there = torch.stack([usable[:, 0], usable[:, 1:].any(dim=1)], dim=1)[:, None]
        weights = said.weights if isinstance(said, AqrOutput) else None
        if weights is None:  # nothing is modulated in this batch
            weights = places.new_full((*places.shape[:2], 2), torch.nan)
        return weights.masked_fill(~there, torch.nan)


def check_settings(teacher: AqrConfig, student: AqrConfig) -> None:
    """Hold the adaptive query routing of a teacher against that of who is to learn from it.

    Raises:
        ValueError: One of them has no weights to compare, or theirs have other ranges.
    """
    for who, aqr in (("teacher's", teacher), ("learner's", student)):
        if aqr.mode != "weight_map" or aqr.weight_map.reference:
            shown = f"{aqr.mode}{' with reference: true' if aqr.mode == 'weight_map' else ''}"
            raise ValueError(f"the {who} aqr.mode is {shown}; expected weight_map without "
                             "reference, whose generator has a gradient")
    kinds = teacher.weight_map.generator.kind, student.weight_map.generator.kind
    if kinds[0] == STUDENT or kinds[1] != STUDENT:
        raise ValueError(f"the teacher's generator is '{kinds[0]}' and the learner's '{kinds[1]}'; "
                         f"expected another than '{STUDENT}', and '{STUDENT}'")
    clamps = [aqr.weight_map.renderer.max_weight_clamp for aqr in (teacher, student)]
    if clamps[0] != clamps[1]:
        raise ValueError(f"the teacher's weights go up to {clamps[0]:g}, the learner's to "
                         f"{clamps[1]:g}; expected the same max_weight_clamp")


def student_of(detector: Detector, teacher: Teacher) -> Detector:
    """A network with the teacher's adaptive query routing, but for the smaller generator.

    Args:
        detector: Its other weights are taken over; itself where it is such a network already.
        teacher: Whose settings.
    """
    aqr = teacher.detector.config.aqr
    maps = aqr.weight_map
    aqr = replace(aqr, weight_map=replace(maps, generator=replace(maps.generator, kind=STUDENT)))
    return detector if detector.config.aqr == aqr else with_aqr(detector, aqr)


def distillation_loss(aqr: object, wanted: Tensor) -> Tensor:
    """Mean squared difference of the weights, over all processes.

    Args:
        aqr: What adaptive query routing reports, with (B, Q, 2) weights that carry a gradient.
        wanted: (B, Q, 2) the teacher's; NaN where there is nothing to learn.

    Returns:
        A scalar.
    """
    given = aqr.weights if isinstance(aqr, AqrOutput) else None
    known = ~wanted.isnan() if given is not None else torch.zeros_like(wanted, dtype=torch.bool)
    count = normalisers(known.sum().to(wanted.dtype)[None])[0]
    if given is None:  # nothing is modulated in this batch
        return wanted.new_zeros(())
    given = given.to(wanted.dtype)
    return (given - wanted.where(known, given.detach())).square().sum() / count
