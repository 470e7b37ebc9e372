"""A detector that is looked into while it works: its gate, its monitor, the factors it applied."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aqr_perception.experiment.calibration import auroc
from aqr_perception.experiment.oracle import told_the_truth
from aqr_perception.geometry import rigid
from aqr_perception.model.aqr.output import AqrOutput, GateLabels, GateLogits
from aqr_perception.model.detector import Detector
from aqr_perception.model.inputs import prepare, to_device
from aqr_perception.runtime.pipeline import DetectionPipeline
from aqr_perception.simulation.fault_labels import FaultLabels
from aqr_perception.training.gate_labels import KnownFaults, gate_labels
from aqr_perception.types import Batch, Controls, Detections, DetectorOutput, Mounting, SensorFrame

ALL_BOXES = Controls(score_threshold=0.0)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Look:
    """One frame.

    Attributes:
        detections: What was found.
        milliseconds: That the pipeline took.
        seen: Numbers of the monitor and the gate by name, see `_numbers`; empty without AQR.
    """

    detections: Detections
    milliseconds: float
    seen: dict[str, Any]


class WatchedDetector:
    """One network, with a pipeline of its own for every setting that frames are shown in.

    Args:
        detector: To be measured.
        device: Where.
        oracle: See `RunConfig`.

    Attributes:
        shown: The last frame, as it was shown.
    """

    def __init__(self, detector: Detector, device: torch.device, oracle: str = "") -> None:
        self.detector = detector.to(device).eval()
        self.device = device
        self.mounting = Mounting()
        self._oracle = oracle
        self.shown: SensorFrame | None = None
        self._last: tuple[Batch, DetectorOutput] | None = None
        self._hook = self.detector.register_forward_hook(self._keep)

    def pipeline(self) -> DetectionPipeline:
        """One more that runs the same network."""
        return DetectionPipeline(self.detector, self.device, self.mounting)

    def close(self) -> None:
        """Look no longer."""
        self._hook.remove()

    def __call__(self, pipeline: DetectionPipeline, frame: SensorFrame, labels: FaultLabels
                 ) -> Look:
        """Run one frame.

        Args:
            pipeline: Of the setting.
            frame: As it is shown.
            labels: What is wrong with it.
        """
        self.shown = frame
        faults = KnownFaults((labels,), rigid.inverse(self.mounting.model_from_lidar)[None])
        if self._oracle:
            batch = prepare([frame], self.detector.config, self.mounting, ALL_BOXES)
            with told_the_truth(self.detector, self._oracle, batch, faults):
                result = pipeline(frame, ALL_BOXES)
        else:
            result = pipeline(frame, ALL_BOXES)
        assert self._last is not None
        seen = _numbers(*self._last, faults, self.detector)
        self._last = None
        return Look(result.detections, result.times.total, seen)

    def _keep(self, module: torch.nn.Module, inputs: tuple[Batch, ...], output: DetectorOutput
              ) -> None:
        self._last = inputs[0], output


def _numbers(batch: Batch, output: DetectorOutput, faults: KnownFaults, detector: Detector
             ) -> dict[str, Any]:
    """What AQR did with a frame; the two columns are the LiDAR and the cameras, S are the sensors.

    Returns:
        ``mean_weight``, ``relative_change``, ``max_change``, ``outside_band`` (2), ``kept`` and
        ``mass`` (S, None where unknown), ``largest_factor``; of a gate that puts sensors right,
        ``put_right`` (see `AqrReport`); of a gate, ``leave_out`` (S: 1 where
        the detector is expected to do better without, 0 where not, None where nobody knows or the
        sensor is absent), ``query_auroc`` and ``token_auroc`` of "leave this out" within the frame
        (None where all are alike).
    """
    if not isinstance(output.aqr, AqrOutput):
        return {}
    report = output.aqr.report
    numbers: dict[str, Any] = {
        name: [_plain(value) for value in getattr(report, field)[0].double().tolist()]
        for name, field in (("mean_weight", "mean_weight"), ("relative_change", "relative_change"),
                            ("max_change", "max_change"), ("outside_band", "outside_band"),
                            ("kept", "mean_gate"), ("mass", "mass"))}
    if report.put_right is not None:
        numbers["put_right"] = [_plain(value) for value in report.put_right[0].double().tolist()]
    factor = output.aqr.factor
    numbers["largest_factor"] = float(factor.max()) if factor.numel() else None
    labels = gate_labels(output, faults, to_device(batch, CPU), detector.config)
    if labels is not None and output.aqr.logits is not None:
        numbers |= _of_gate(output.aqr.logits, labels)
    return numbers


def _of_gate(logits: GateLogits, labels: GateLabels) -> dict[str, Any]:
    assert labels.frame is not None
    usable = logits.usable[0].cpu().numpy()
    keep = np.where(usable, labels.frame[0].cpu().numpy(), np.nan)
    found: dict[str, Any] = {"leave_out": [_plain(float(1 - value)) for value in keep],
                             "query_auroc": None, "token_auroc": None}
    if logits.query is not None and labels.query is not None:
        wanted = np.where(usable, labels.query[0, 0].cpu().numpy(), np.nan)
        found["query_auroc"] = _within(logits.query[0, 0], wanted)
    if logits.token is not None and labels.token is not None:
        read = logits.read[0].cpu().numpy()
        wanted = np.where(read, labels.token[0].cpu().numpy(), np.nan)
        found["token_auroc"] = _within(logits.token.mean(0)[0], wanted)
    return found


def _within(logits: torch.Tensor, keep: NDArray[np.floating]) -> float | None:
    """AUROC of low logits for what is to be left out, where that is known."""
    values, known = logits.double().cpu().numpy(), ~np.isnan(keep)
    return _plain(auroc(-values[known], keep[known] < 0.5))


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
