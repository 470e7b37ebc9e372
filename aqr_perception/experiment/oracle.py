"""The truth about faults in place of the gate: what a gate could gain at best.

The network looks at the frames once to find out where queries and tokens stand, and once more with
what is known about those places.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from aqr_perception.model.aqr.gate import GateRouter
from aqr_perception.model.aqr.output import GateLabels
from aqr_perception.model.detector import Detector
from aqr_perception.model.inputs import to_device
from aqr_perception.training.gate_labels import KnownFaults, gate_labels
from aqr_perception.types import Batch


@contextmanager
def told_the_truth(detector: Detector, level: str, batch: Batch, faults: KnownFaults
                   ) -> Iterator[None]:
    """While this lasts, the truth about one batch stands in for the gate.

    Args:
        detector: With a gate; in the mode (training or not) that the batch will be run in.
        level: ``frame``, ``query`` or ``token``.
        batch: That will be run, on any device.
        faults: What is wrong with it.
    """
    router = detector.decoder.router
    assert isinstance(router, GateRouter)
    device = detector.reference_points.device
    with torch.no_grad(), _still(detector), torch.random.fork_rng():
        output = detector(to_device(batch, device))
    labels = gate_labels(output, faults, to_device(batch, torch.device("cpu")), detector.config)
    assert labels is not None
    router.oracle = _at_level(labels, level)
    try:
        yield
    finally:
        router.oracle = None


def _at_level(labels: GateLabels, level: str) -> GateLabels:
    """Only what is known at one level; queries where they start."""
    if level == "frame":
        return GateLabels(frame=labels.frame)
    if level == "query":
        assert labels.query is not None
        return GateLabels(query=labels.query[0])
    return GateLabels(token=labels.token)


@contextmanager
def _still(detector: Detector) -> Iterator[None]:
    """Batch normalisation keeps its running statistics."""
    norms = [module for module in detector.modules() if isinstance(module, _BatchNorm)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, before):
            norm.momentum = momentum
