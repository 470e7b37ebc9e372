"""The nuScenes detection metrics (configuration ``detection_cvpr_2019``).

Definitions: Caesar et al., "nuScenes: A multimodal dataset for autonomous driving", CVPR 2020,
section 3.1, and the nuScenes devkit, with which figures agree to 1e-6. Two of its filters have no
counterpart here: points of radars do not save a truth that no LiDAR point hits, and bicycles in
bicycle racks are not removed, since frames carry neither.

A truth whose attribute is unknown is not asked for it, as in the devkit; where that holds for all
that were matched, the class has the attribute error 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aqr_perception.evaluation.attributes import UNKNOWN
from aqr_perception.evaluation.frames import BoxTable, EvaluationFrame, tables
from aqr_perception.evaluation.matching import by_score, candidate_pairs, match
from aqr_perception.types import CLASS_NAMES, Annotations, Detections

ERRORS = ("ATE", "ASE", "AOE", "AVE", "AAE")
"""Mean errors of true positives: translation [m], scale [1 - IoU], orientation [rad], velocity
[m/s], attribute [1 - accuracy]."""
_RECALL_POINTS = 101
_MEAN_AP_WEIGHT = 5
_UNDEFINED_ERRORS = {"traffic_cone": ("AOE", "AVE", "AAE"), "barrier": ("AVE", "AAE")}
_RANGES = {"pedestrian": 40.0, "motorcycle": 40.0, "bicycle": 40.0, "traffic_cone": 30.0,
           "barrier": 30.0}


@dataclass(frozen=True)
class Protocol:
    """What counts.

    Attributes:
        class_ranges: (K,) boxes as far from the range origin as this, or farther, are left out
            [m].
        min_points: A truth with a known number of LiDAR points below this does not count.
        ignores_sparse: What becomes of such a truth. False: it is not there, and a detection of
            it is a false positive. True: it takes part in matching like any other, and a
            detection that is matched to it counts neither way.
        match_distances: AP is the mean over these [m].
        error_distance: Errors are those of the matches at this one [m].
        min_recall: Up to here the curves are left out.
        min_precision: Precision below counts as none.
    """

    class_ranges: tuple[float, ...] = tuple(_RANGES.get(name, 50.0) for name in CLASS_NAMES)
    min_points: int = 1
    ignores_sparse: bool = False
    match_distances: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    error_distance: float = 2.0
    min_recall: float = 0.1
    min_precision: float = 0.1

    @property
    def first_point(self) -> int:
        """Index of the first of the 101 points of recall that counts."""
        return round((_RECALL_POINTS - 1) * self.min_recall) + 1


NUSCENES = Protocol()
NEAR = Protocol(class_ranges=(30.0,) * len(CLASS_NAMES), min_points=5, ignores_sparse=True)
"""Within 30 m, truths with five points or more; see `Protocol.ignores_sparse`."""


@dataclass(frozen=True)
class DetectionMetrics:
    """How good detections are.

    Attributes:
        distances: (D,) of the columns of ``average_precision`` [m].
        average_precision: (K, D) by class and match distance; 0 for a class without truths.
        errors: (K, 5) by class in the order of `ERRORS`; NaN where not defined, 1 where less than
            the least recall is reached.
        truths: (K,) that counted.
        detections: (K,) in range.
        frames: Evaluated.
    """

    distances: tuple[float, ...]
    average_precision: NDArray[np.float64]
    errors: NDArray[np.float64]
    truths: NDArray[np.int64]
    detections: NDArray[np.int64]
    frames: int

    @property
    def class_ap(self) -> NDArray[np.float64]:
        """(K,) AP, the mean over distances."""
        return self.average_precision.mean(axis=1)

    @property
    def mean_ap(self) -> float:
        """The mean over classes (mAP)."""
        return float(self.class_ap.mean())

    @property
    def mean_errors(self) -> NDArray[np.float64]:
        """(5,) the mean of each error over the classes that define it (mATE ... mAAE)."""
        return np.nanmean(self.errors, axis=0)

    @property
    def nds(self) -> float:
        """The nuScenes detection score."""
        scores = np.maximum(1.0 - self.mean_errors, 0.0)
        return float((_MEAN_AP_WEIGHT * self.mean_ap + scores.sum())
                     / (_MEAN_AP_WEIGHT + len(scores)))


def evaluate(frames: Iterable[EvaluationFrame | tuple[Detections, Annotations]],
             protocol: Protocol = NUSCENES) -> DetectionMetrics:
    """Compute the metrics over frames.

    Args:
        frames: Detections and truth of each frame; a plain pair has its ranges measured from the
            origin and no attributes.
        protocol: `NUSCENES` or `NEAR`.

    Raises:
        ValueError: A box has a size of 0, or something is not finite.
    """
    listed = [frame if isinstance(frame, EvaluationFrame) else EvaluationFrame(*frame)
              for frame in frames]
    detections, truth = tables(listed)
    ranges = np.array(protocol.class_ranges)
    detections = detections[detections.distance < ranges[detections.label]]
    truth = truth[truth.distance < ranges[truth.label]]
    counted = (truth.points < 0) | (truth.points >= protocol.min_points)
    if not protocol.ignores_sparse:
        truth, counted = truth[counted], counted[counted]

    precisions, errors = [], []
    for label in range(len(CLASS_NAMES)):
        own = truth.label == label
        precision, error = _evaluate_class(detections[detections.label == label], truth[own],
                                           counted[own], label, protocol)
        precisions.append(precision)
        errors.append(error)
    return DetectionMetrics(
        distances=protocol.match_distances,
        average_precision=np.array(precisions), errors=np.array(errors),
        truths=np.bincount(truth.label[counted], minlength=len(CLASS_NAMES)),
        detections=np.bincount(detections.label, minlength=len(CLASS_NAMES)),
        frames=len(listed))


def _evaluate_class(detections: BoxTable, truth: BoxTable, counted: NDArray[np.bool_], label: int,
                    protocol: Protocol) -> tuple[list[float], NDArray[np.float64]]:
    """AP at each match distance, and the five errors."""
    detections = detections[by_score(detections.score)]
    reach = max(*protocol.match_distances, protocol.error_distance)
    pairs = candidate_pairs(detections, truth, reach)

    def matched_at(distance: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ranks of the detections that count, and the truth of each or -1."""
        row = match(pairs, distance, len(detections), len(truth))
        kept = np.flatnonzero((row < 0) | counted[row] if len(truth) else row < 0)
        return kept, row[kept]

    precisions = []
    for distance in protocol.match_distances:
        kept, row = matched_at(distance)
        precision, _ = _curves(row >= 0, detections.score[kept], int(counted.sum()))
        precisions.append(_average_precision(precision, protocol))

    kept, row = matched_at(protocol.error_distance)
    _, confidence = _curves(row >= 0, detections.score[kept], int(counted.sum()))
    hit = row >= 0
    found = detections[kept[hit]]
    errors = _mean_errors(_errors(found, truth[row[hit]], label), found.score, confidence, protocol)
    for name in _UNDEFINED_ERRORS.get(CLASS_NAMES[label], ()):
        errors[ERRORS.index(name)] = np.nan
    return precisions, errors


def _curves(hit: NDArray[np.bool_], scores: NDArray[np.float64], truths: int
            ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision and score (101,) over recall 0, 0.01 ... 1; 0 beyond the recall that is reached.

    Args:
        hit: (N,) which detections, best first, are true positives.
        scores: (N,) theirs.
        truths: Their number.
    """
    if not truths or not hit.any():
        return np.zeros(_RECALL_POINTS), np.zeros(_RECALL_POINTS)
    hits = np.cumsum(hit)
    recall = hits / truths
    precision = hits / np.arange(1, len(hit) + 1)
    grid = np.linspace(0, 1, _RECALL_POINTS)
    return (np.interp(grid, recall, precision, right=0),
            np.interp(grid, recall, scores, right=0))


def _average_precision(precision: NDArray[np.float64], protocol: Protocol) -> float:
    """Area under the curve above the least recall and precision, 1 for a perfect one."""
    above = np.maximum(precision[protocol.first_point:] - protocol.min_precision, 0.0)
    return float(above.mean() / (1.0 - protocol.min_precision))


def _errors(found: BoxTable, truth: BoxTable, label: int) -> NDArray[np.float64]:
    """(N, 5) errors of N matches in the order of `ERRORS`; NaN where one is unknown."""
    smaller = np.minimum(found.size, truth.size).prod(axis=1)
    union = found.size.prod(axis=1) + truth.size.prod(axis=1) - smaller
    # A barrier looks the same from behind.
    period = np.pi if CLASS_NAMES[label] == "barrier" else 2 * np.pi
    turn = (truth.yaw - found.yaw + period / 2) % period - period / 2
    return np.stack([
        np.linalg.norm(found.center - truth.center, axis=1),
        1.0 - smaller / union,
        np.abs(turn),
        np.linalg.norm(found.velocity - truth.velocity, axis=1),
        np.where(truth.attribute == UNKNOWN, np.nan, found.attribute != truth.attribute),
    ], axis=1)


def _mean_errors(errors: NDArray[np.float64], scores: NDArray[np.float64],
                 confidence: NDArray[np.float64], protocol: Protocol) -> NDArray[np.float64]:
    """(5,) the mean over recall of each error's running mean, best matches first.

    Args:
        errors: (N, 5) of N matches.
        scores: (N,) theirs, descending.
        confidence: (101,) from `_curves`; places the running means on the axis of recall.
        protocol: Where recall begins.
    """
    reached = np.flatnonzero(confidence)
    if not len(reached) or reached[-1] < protocol.first_point:
        return np.ones(len(ERRORS))
    span = slice(protocol.first_point, reached[-1] + 1)
    return np.array([np.interp(confidence[span], scores[::-1], _running_mean(column)[::-1]).mean()
                     for column in errors.T])


def _running_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of the first 1, 2 ... N values without NaN: 0 before the first, 1 if there is none."""
    known = ~np.isnan(values)
    if not known.any():
        return np.ones(len(values))
    return np.nancumsum(values) / np.maximum(np.cumsum(known), 1)
