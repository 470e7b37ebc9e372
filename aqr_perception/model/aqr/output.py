"""What comes out of AQR beside the detections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aqr_perception.model.aqr.monitor import AqrReport

if TYPE_CHECKING:
    from aqr_perception.model.aqr.temporal import TemporalMemory


@dataclass(frozen=True)
class GateLabels:
    """What is known about whom to trust: 1 keep, 0 leaving it out helps, NaN unknown.

    Attributes:
        frame: (B, S) whole sensors, or None.
        query: (B, Q, S) sensors for each matching query, or (L, B, Q, S) where queries move from
            layer to layer; or None.
        token: (B, T) tokens, or None.
        sound: (B, S) bool: nothing at all is known against what the sensor says, so that it may
            teach the descriptors to agree; or None.
    """

    frame: Tensor | None = None
    query: Tensor | None = None
    token: Tensor | None = None
    sound: Tensor | None = None


@dataclass(frozen=True)
class TokenLayout:
    """Where tokens stand: those of the bird's-eye view row by row, then each picture's; `Memory`.

    Attributes:
        bev_shape: Rows (y) and columns (x); (0, 0) without.
        views: The rig's cameras that have tokens, in order.
        image_shape: Rows and columns of each picture; (0, 0) without.
    """

    bev_shape: tuple[int, int]
    views: tuple[int, ...]
    image_shape: tuple[int, int]

    @property
    def sensor(self) -> Tensor:
        """(T,) int64 sensor of each token: 0 the LiDAR, then the cameras."""
        (rows, columns), (height, width) = self.bev_shape, self.image_shape
        sensors = torch.tensor([0, *(1 + view for view in self.views)])
        tokens = torch.tensor([rows * columns, *[height * width] * len(self.views)])
        return sensors.repeat_interleave(tokens)


@dataclass(frozen=True)
class GateLogits:
    """What the gate thinks: the logit of "keep", comparable with `GateLabels`.

    Attributes:
        frame: (B, S), or None where that part is switched off.
        query: (L, B, Q, S) of the matching queries in each decoder layer, or None.
        token: (L, B, T), or None.
        usable: (B, S) bool: sensors that were there to be judged.
        read: (B, T) bool: tokens of those sensors that attention reads.
        layout: Where the T tokens stand.
    """

    frame: Tensor | None
    query: Tensor | None
    token: Tensor | None
    usable: Tensor
    read: Tensor
    layout: TokenLayout


@dataclass(frozen=True)
class Contrast:
    """How alike each image column and each ray through the bird's-eye view are.

    Attributes:
        similarity: (B, V, W, W) cosine of column (row of the matrix) and ray; the diagonal holds
            the true pairs.
        usable: (B, V) bool: both sensors are there.
    """

    similarity: Tensor
    usable: Tensor


@dataclass(frozen=True)
class AqrOutput:
    """`DetectorOutput.aqr`.

    Attributes:
        report: What AQR did.
        factor: (B, T) factor on each token that the report sums up, without gradient; a picture of
            it shows the weight map.
        weights: (B, Q, 2) what each matching query gives to the LiDAR and the cameras, with its
            gradient, for distillation; None in ``gate``.
        logits: Of the gate, for its supervision; None in other modes.
        contrast: For the loss that teaches the sensors' descriptors to agree; None in evaluation
            and in other modes.
        history: To be handed in with the next frame; None where the mode keeps none.
    """

    report: AqrReport
    factor: Tensor
    weights: Tensor | None = None
    logits: GateLogits | None = None
    contrast: Contrast | None = None
    history: TemporalMemory | None = None
