"""What the gate keeps of a frame, without running the decoder: the frame before, in training."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from aqr_perception.model.aqr.gate import GateRouter
from aqr_perception.model.aqr.places import full_precision
from aqr_perception.model.aqr.routing import Scene
from aqr_perception.model.aqr.temporal import TemporalMemory
from aqr_perception.model.tokens import as_known
from aqr_perception.types import Batch

if TYPE_CHECKING:
    from aqr_perception.model.detector import Detector


@torch.no_grad()
def look_back(detector: Detector, batch: Batch, history: TemporalMemory | None = None
              ) -> TemporalMemory | None:
    """Make the history that belongs to the frames after those of a batch.

    Equal to ``detector(batch, history=history).aqr.history`` at the cost of the trunks alone.
    Frame b of the next batch is compared with frame b of this one; `TemporalMemory.take` reorders.

    Args:
        detector: The network, in the mode (training or not) that the next batch will run in.
        batch: The frames before.
        history: Of the frames before those, or None.

    Returns:
        The history; None where AQR has no use for one.
    """
    router = detector.decoder.router
    if not isinstance(router, GateRouter) or not router.config.learned:
        return None
    scene = look_at(detector, batch, history)
    with full_precision(scene.memory.tokens):
        return router.remember(scene)


def look_at(detector: Detector, batch: Batch, history: TemporalMemory | None = None,
            placed: bool = False) -> Scene:
    """What AQR may look at in a batch before any query has looked at anything.

    Args:
        detector: The network.
        batch: B frames.
        history: Of the frames before.
        placed: Say where queries will start, too; else there are none.
    """
    batch, selection, _ = as_known(detector.decoder.router.receive(batch, history),
                                   detector.config)
    memory = detector.tokenizer(batch, selection)
    scene = detector.decoder.scene(memory, batch, history)
    if not placed:
        return scene
    heat = detector.heat(memory) if detector.heat else None
    queries = detector.place(heat, batch, selection.usable)
    return replace(scene, reference_points=queries.reference_points)
