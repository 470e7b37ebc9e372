"""What the gate knows while a frame runs through the decoder, and what it hands on."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from aqr_perception.model.aqr.alignment import Alignment
from aqr_perception.model.aqr.evidence import Evidence
from aqr_perception.model.aqr.output import AqrOutput, Contrast
from aqr_perception.model.aqr.routing import Scene
from aqr_perception.model.aqr.temporal import TemporalMemory, remember
from aqr_perception.model.memory import Memory


@dataclass
class GateState:
    """One forward pass: what all layers share, and what each of them decided."""

    scene: Scene
    history: TemporalMemory | None
    evidence: Evidence | None
    contrast: Contrast | None
    hidden: Tensor
    frame_logits: Tensor
    token_logits: Tensor | None
    frame_bias: Tensor
    alignment: Alignment | None = None
    query_base: Tensor | None = None
    query_logits: list[Tensor] = field(default_factory=list)
    query_bias: list[Tensor] = field(default_factory=list)
    token_bias: list[Tensor] = field(default_factory=list)
    mass: list[Tensor] = field(default_factory=list)


def history_of(scene: Scene) -> TemporalMemory | None:
    """What was kept of the frame before."""
    history: TemporalMemory | None = (scene.history.history if isinstance(scene.history, AqrOutput)
                                      else scene.history)
    return history


def kept_of(scene: Scene, evidence: Evidence, frame: Tensor) -> TemporalMemory:
    """What the next frame is compared with; of an absent sensor is thought what was."""
    trust = frame.sigmoid().where(evidence.maps.present, evidence.trusted)
    return remember(evidence.maps, scene, trust)


def read_tokens(memory: Memory) -> Tensor:
    """(B, T) bool: tokens that are there and that attention reads."""
    there = memory.present[:, memory.token_sensor]
    if memory.chosen is None:
        return there
    return there & torch.zeros_like(there).scatter(1, memory.chosen, True)


def contrast_of(evidence: Evidence) -> Contrast:
    """Which column of the picture belongs to which ray, camera by camera."""
    similar = evidence.maps.columns @ evidence.along.transpose(-1, -2)
    present = evidence.maps.present
    return Contrast(similar, present[:, :1] & present[:, 1:])
