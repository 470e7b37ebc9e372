"""The truth about faults in place of the gate: what a gate could gain at best.

The network looks at the frames once to find out where queries and tokens stand, and once more with
what is known about those places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from aqr_perception.model.aqr.gate import GateRouter
from aqr_perception.model.aqr.output import GateLabels
from aqr_perception.model.detector import Detector
from aqr_perception.model.inputs import to_device
from aqr_perception.training.gate_labels import KnownFaults, gate_labels
from aqr_perception.types import Batch


@contextmanager
def told_the_truth(detector: Detector, level: str, batch: Batch, faults: KnownFaults,
                   precision: Callable[[], AbstractContextManager[object]] = nullcontext
                   ) -> Iterator[None]:
    """While this lasts, the truth about one batch stands in for the gate.

    At each level a sensor that is to be left out as a whole is: else it would still say where
    queries start.

    Args:
        detector: With a gate; in the mode (training or not) that the batch will be run in.
        level: ``frame``, ``query`` or ``token``.
        batch: That will be run, on any device.
        faults: What is wrong with it.
        precision: Makes the context that it will be run in; in another one queries may start in
            another order, and labels go by their number.
    """
    router = detector.decoder.router
    assert isinstance(router, GateRouter)
    known_batch = to_device(batch, torch.device("cpu"))

    def labels_when(oracle: GateLabels) -> GateLabels:
        """What is known of the places that queries have while this stands in for the gate."""
        router.oracle = oracle
        with torch.no_grad(), _still(detector), torch.random.fork_rng(), precision():
            output = detector(to_device(batch, detector.reference_points.device))
        labels = gate_labels(output, faults, known_batch, detector.config)
        assert labels is not None
        return labels

    try:
        labels = labels_when(GateLabels())
        told = GateLabels(frame=labels.frame)  # also decides who says where queries start
        if level == "query":
            known = labels_when(told).query
            assert known is not None
            told = replace(told, query=known[0])
        elif level == "token":
            told = replace(told, token=labels.token)
        router.oracle = told
        yield
    finally:
        router.oracle = None


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
