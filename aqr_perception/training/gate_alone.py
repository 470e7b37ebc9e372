"""The gate's eye alone: what it thinks of sensors and tokens, taught without the decoder.

Whom to trust is known in training (`gate_labels`), and what the gate looks at comes from the
trunks. So a gate can learn to see, on a network that stays as it is, at the cost of the trunks and
the gate; it learns to act together with the decoder afterwards.
"""

from __future__ import annotations

import torch
from torch import nn

from aqr_perception.model.aqr.gate import GateRouter
from aqr_perception.model.aqr.history import look_at
from aqr_perception.model.aqr.output import Contrast, GateLogits
from aqr_perception.model.aqr.temporal import TemporalMemory
from aqr_perception.model.detector import Detector
from aqr_perception.types import Batch


class GateTask(nn.Module):
    """Trunks that stay as they are, and the gate that looks at their tokens.

    Args:
        detector: With a gate; its other parameters no longer ask for a gradient.

    Raises:
        ValueError: It has none that learns from what it sees.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        router = detector.decoder.router
        if not isinstance(router, GateRouter) or not router.config.learned:
            raise ValueError(f"a gate alone is to be trained, and aqr.mode is "
                             f"'{detector.config.aqr.mode}'; expected a gate that looks at frames")
        self.detector = detector

    def forward(self, batch: Batch, history: TemporalMemory | None
                ) -> tuple[GateLogits, Contrast | None]:
        """Judge the sensors and tokens of a batch.

        Args:
            batch: B frames.
            history: Of the frames before.

        Returns:
            Logits without those of queries, and the contrast for the agreement loss.
        """
        router = self.detector.decoder.router
        assert isinstance(router, GateRouter)
        with torch.no_grad():
            scene = look_at(self.detector, batch, history)
        return router.judge(scene)
