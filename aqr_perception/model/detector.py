"""The network: CMT (Yan et al., ICCV 2023), with adaptive query routing.

Points and images each run through a trunk of their own (`tokens`); what comes out lies side by side
as tokens with positions (`memory`, `position`); learned queries look at all of it, layer by layer,
with adaptive query routing on the way (`decoder`, `aqr`); a head reads a class and a box off each
query (`head`), and `box_coder` turns those into detections.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from aqr_perception.model.aqr import build_router
from aqr_perception.model.aqr.alignment import Alignment, moved_back
from aqr_perception.model.aqr.routing import Router
from aqr_perception.model.config import DetectorConfig
from aqr_perception.model.decoder import Decoder, Queries
from aqr_perception.model.heat import HeatHead, place_queries
from aqr_perception.model.seed import all_logits
from aqr_perception.model.tokens import Tokenizer, as_known
from aqr_perception.types import Batch, DetectorOutput, Heat


class Denoising(Protocol):
    """Extra queries of training (`training.denoising`); they stand before the others."""

    reference_points: Tensor
    """(B, D, 3) in [0, 1] of the detection range."""
    blocked: Tensor
    """(D + Q, D + Q) bool, True where the row's query may not see the column's."""


class Detector(nn.Module):
    """Batch → DetectorOutput.

    Attributes:
        config: What it was built from.
        metadata: What its weights file says about it (training command, seed, metrics).
    """

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        self.metadata: dict[str, Any] = {"trained": False}
        self.tokenizer = Tokenizer(config)
        self.reference_points = nn.Parameter(torch.rand(config.decoder.queries, 3))
        router = build_router(config.decoder.channels, config.decoder.layers, config.aqr)
        self.decoder = Decoder(config, router or Router())
        self.heat = HeatHead(config.decoder.channels) if config.decoder.heat else None

    @property
    def trained(self) -> bool:
        """Whether its weights come from training; random ones find nothing."""
        return bool(self.metadata.get("trained", False))

    def forward(self, batch: Batch, denoising: Denoising | None = None, history: Any = None
                ) -> DetectorOutput:
        """Detect.

        Args:
            batch: B frames; any sensor may be absent.
            denoising: Extra queries, in training.
            history: ``aqr.history`` of the output for the frames before, or None.

        Returns:
            All decoder layers in training mode, the last one in evaluation.
        """
        batch, selection, usable = as_known(self.decoder.router.receive(batch, history),
                                            self.config)
        memory = self.tokenizer(batch, selection)
        heat = self.heat(memory) if self.heat else None
        look = self.decoder.look(memory, batch, selection, history)
        batch = batch if look.batch is None else look.batch
        queries = self.place(heat, batch, look.trusted)
        references = queries.reference_points
        if denoising is not None:
            queries = queries.behind(denoising.reference_points, denoising.blocked, memory,
                                     selection)
        logits, boxes, report = self.decoder(memory, queries, batch, selection, history,
                                             look)

        if isinstance(look.alignment, Alignment):
            boxes = moved_back(boxes, look.alignment)

        noisy = queries.denoising
        return DetectorOutput(
            logits=logits[:, :, noisy:], boxes=boxes[:, :, noisy:], reference_points=references,
            has_input=usable.any(dim=1), dn_logits=logits[:, :, :noisy] if noisy else None,
            dn_boxes=boxes[:, :, :noisy] if noisy else None, heat=heat, aqr=report)

    def place(self, heat: Heat | None, batch: Batch, usable: Tensor) -> Queries:
        """Where the queries start: at fixed places, or where something seems to be.

        Args:
            heat: What the tokens seem to hold, or None.
            batch: B frames.
            usable: (B, S) bool, sensors that may say so.
        """
        references = self.reference_points.expand(len(usable), -1, -1)
        if heat is None or not self.config.decoder.placed:
            return Queries(references)
        references, tokens = place_queries(self.config, heat, batch.image_from_lidar, usable,
                                           references)
        if not self.config.decoder.seeded:
            return Queries(references)
        return Queries(references, tokens=tokens, heat=all_logits(heat, self.reference_points))
