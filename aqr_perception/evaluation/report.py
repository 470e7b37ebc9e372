"""Figures as a table and as JSON: over all boxes, near ones, and under faults of sensors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from aqr_perception.evaluation.counts import DISTANCE, SCORE, Counts, count
from aqr_perception.evaluation.frames import EvaluationFrame
from aqr_perception.evaluation.metrics import (
    ERRORS,
    NEAR,
    NUSCENES,
    DetectionMetrics,
    evaluate,
)
from aqr_perception.types import CLASS_NAMES, Annotations, Detections

FAULT_METRICS = ("mAP", "NDS")
"""What resistance to faults is computed of."""


@dataclass(frozen=True)
class FaultResult:
    """The metrics under one fault at one severity.

    Attributes:
        fault: Its name.
        severity: 1 is the mildest.
        metrics: Over all boxes.
    """

    fault: str
    severity: int
    metrics: DetectionMetrics


@dataclass(frozen=True)
class Report:
    """Everything that an evaluation has to say.

    Attributes:
        overall: Over all boxes, without faults.
        near: Over boxes that `metrics.NEAR` counts.
        counts: What was found, missed and false at one score; see `counts.Counts`.
        faults: One entry for each fault and severity, in any order.
    """

    overall: DetectionMetrics
    near: DetectionMetrics
    counts: Counts
    faults: tuple[FaultResult, ...] = ()

    @staticmethod
    def of(frames: Iterable[EvaluationFrame | tuple[Detections, Annotations]],
           faults: Sequence[FaultResult] = ()) -> Report:
        """Evaluate frames over all boxes and over near ones."""
        listed = list(frames)
        return Report(evaluate(listed, NUSCENES), evaluate(listed, NEAR), count(listed),
                      tuple(faults))

    @property
    def fault_names(self) -> list[str]:
        """Each fault once, in the order of their first entries."""
        return list(dict.fromkeys(result.fault for result in self.faults))

    def severities(self, fault: str) -> list[FaultResult]:
        """The entries of one fault, mildest first."""
        return sorted((result for result in self.faults if result.fault == fault),
                      key=lambda result: result.severity)

    def resistance(self, fault: str, metric: str) -> float:
        """Resistance ability (RA) to one fault, see `resistance_ability`."""
        return resistance_ability(_figure(self.overall, metric),
                                  [_figure(result.metrics, metric)
                                   for result in self.severities(fault)])

    def mean_resistance(self, metric: str) -> float:
        """The mean of RA over faults (mRA); NaN without faults."""
        values = [self.resistance(fault, metric) for fault in self.fault_names]
        return sum(values) / len(values) if values else math.nan

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary; what is not defined is None.

        Keys: ``mAP``, ``NDS``, ``mATE`` ... ``mAAE``, ``AP`` by class, ``AP_by_distance``,
        ``errors`` by class, ``truths``, ``detections``, ``frames``; ``near`` with the same keys;
        ``counts`` with those of `counts.Counts` and what they are taken at; ``faults`` by name,
        each with ``severities`` and ``RA``; ``mRA``.
        """
        return {
            **_metrics_json(self.overall),
            "near": _metrics_json(self.near),
            "counts": {"score": SCORE, "distance": DISTANCE, **asdict(self.counts),
                       "missed": self.counts.missed},
            "faults": {fault: {
                "severities": {str(result.severity): {
                    metric: _number(_figure(result.metrics, metric)) for metric in FAULT_METRICS}
                    for result in self.severities(fault)},
                "RA": {metric: _number(self.resistance(fault, metric))
                       for metric in FAULT_METRICS}} for fault in self.fault_names},
            "mRA": {metric: _number(self.mean_resistance(metric)) for metric in FAULT_METRICS},
        }

    def table(self) -> str:
        """Text: a line of figures, a row a class, the near boxes, a row a fault."""
        parts = [_metrics_table("all boxes", self.overall),
                 _metrics_table("near: within 30 m, 5 points or more", self.near),
                 self.counts.line()]
        if self.faults:
            parts.append(self._fault_table())
        return "\n\n".join(parts)

    def _fault_table(self) -> str:
        levels = sorted({result.severity for result in self.faults})
        width = max(len("fault"), *(len(fault) for fault in self.fault_names))
        lines = [f"{'fault':{width}}" + "".join(f"{f'{metric} {level}':>8}"
                                                for metric in FAULT_METRICS for level in levels)
                 + "".join(f"{'RA ' + metric:>8}" for metric in FAULT_METRICS)]
        for fault in self.fault_names:
            cells = []
            for metric in FAULT_METRICS:
                values = {result.severity: _figure(result.metrics, metric)
                          for result in self.severities(fault)}
                cells += [values.get(level, math.nan) for level in levels]
            cells += [self.resistance(fault, metric) for metric in FAULT_METRICS]
            lines.append(f"{fault:{width}}" + "".join(_cell(value, 8) for value in cells))
        lines.append("mRA: " + ", ".join(f"{metric} {self.mean_resistance(metric):.3f}"
                                         for metric in FAULT_METRICS))
        return "\n".join(lines)


def resistance_ability(clean: float, faulty: Sequence[float]) -> float:
    """Mean over severities of M_fault / M_clean (MultiCorrupt, Beemelmanns et al., 2024).

    NaN where there is no severity, or nothing was found without the fault either.
    """
    if not faulty or clean <= 0:
        return math.nan
    return sum(faulty) / len(faulty) / clean


def _figure(metrics: DetectionMetrics, name: str) -> float:
    return metrics.mean_ap if name == "mAP" else metrics.nds


def _metrics_json(metrics: DetectionMetrics) -> dict[str, Any]:
    return {
        "mAP": metrics.mean_ap,
        "NDS": metrics.nds,
        **{f"m{name}": float(value) for name, value in zip(ERRORS, metrics.mean_errors)},
        "AP": {name: float(value) for name, value in zip(CLASS_NAMES, metrics.class_ap)},
        "AP_by_distance": {name: {str(distance): float(value)
                                  for distance, value in zip(metrics.distances, row)}
                           for name, row in zip(CLASS_NAMES, metrics.average_precision)},
        "errors": {name: {error: _number(value) for error, value in zip(ERRORS, row)}
                   for name, row in zip(CLASS_NAMES, metrics.errors)},
        "truths": dict(zip(CLASS_NAMES, metrics.truths.tolist())),
        "detections": dict(zip(CLASS_NAMES, metrics.detections.tolist())),
        "frames": metrics.frames,
    }


def _metrics_table(title: str, metrics: DetectionMetrics) -> str:
    lines = [f"{title}, {metrics.frames} frame{'' if metrics.frames == 1 else 's'}: "
             f"mAP {metrics.mean_ap:.4f}, NDS {metrics.nds:.4f}",
             ", ".join(f"m{name} {value:.4f}" for name, value in zip(ERRORS, metrics.mean_errors)),
             f"{'class':22}{'truths':>8}{'found':>8}{'AP':>8}"
             + "".join(f"{f'@{distance:g} m':>8}" for distance in metrics.distances)
             + "".join(f"{name:>8}" for name in ERRORS)]
    for label, name in enumerate(CLASS_NAMES):
        figures = [metrics.class_ap[label], *metrics.average_precision[label],
                   *metrics.errors[label]]
        lines.append(f"{name:22}{metrics.truths[label]:8d}{metrics.detections[label]:8d}"
                     + "".join(_cell(float(value), 8) for value in figures))
    return "\n".join(lines)


def _cell(value: float, width: int) -> str:
    return f"{value:{width}.3f}" if math.isfinite(value) else f"{'-':>{width}}"


def _number(value: float | np.floating) -> float | None:
    return float(value) if math.isfinite(value) else None
