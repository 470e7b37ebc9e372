"""Frames to be evaluated, and the table of boxes that the metrics are computed on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from aqr_perception.evaluation.attributes import ATTRIBUTES, UNKNOWN, attributes_from_motion
from aqr_perception.geometry.boxes import Boxes3D
from aqr_perception.types import CLASS_NAMES, Annotations, Detections, Mounting

REAR_AXLE = 0.94
"""From the middle of the rear axle forward to nuScenes' LiDAR [m]; ranges count from the axle."""


@dataclass(frozen=True)
class EvaluationFrame:
    """What was found in a frame, and what was there; both in one frame of reference.

    Attributes:
        detections: N boxes, in any order.
        truth: M boxes.
        range_origin: x, y [m] of the point that the classes' ranges are measured from. nuScenes
            takes the middle of the car's rear axle: (0, -0.94) in its LIDAR_TOP frame. The origin
            of the frame unless told otherwise.
        detection_attributes: (N,) index into `ATTRIBUTES`, -1 for none; None where unknown.
        truth_attributes: (M,) likewise. A truth without one is not asked for it.
    """

    detections: Detections
    truth: Annotations
    range_origin: tuple[float, float] = (0.0, 0.0)
    detection_attributes: NDArray[np.int64] | None = None
    truth_attributes: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        _check("detection", self.detections.boxes, self.detections.labels,
               self.detection_attributes)
        _check("truth", self.truth.boxes, self.truth.labels, self.truth_attributes)
        if np.isnan(self.detections.scores).any():
            raise ValueError("the score of a detection is not a number; expected 0 to 1")

    @staticmethod
    def from_motion(detections: Detections, truth: Annotations, mounting: Mounting
                    ) -> EvaluationFrame:
        """Take for attributes, of both, what the speed suggests.

        Args:
            detections: In the rig's LiDAR frame.
            truth: Likewise.
            mounting: The rig's; nuScenes' has its ranges measured from the rear axle.
        """
        behind = -REAR_AXLE if mounting.forward_axis == "y" else 0.0
        return EvaluationFrame(
            detections, truth, range_origin=(0.0, behind),
            detection_attributes=attributes_from_motion(detections.boxes, detections.labels),
            truth_attributes=attributes_from_motion(truth.boxes, truth.labels))


@dataclass(frozen=True)
class BoxTable:
    """Boxes of many frames, frame after frame, as columns of float64.

    Attributes:
        frame: (N,) index of the frame, ascending.
        label: (N,) index into `CLASS_NAMES`.
        center: (N, 2) x, y [m].
        size: (N, 3) length, width, height [m].
        yaw: (N,) [rad].
        velocity: (N, 2) [m/s]; NaN where unknown.
        attribute: (N,) index into `ATTRIBUTES` or `UNKNOWN`.
        distance: (N,) from the range origin, in the x-y plane [m].
        score: (N,) of detections; 0 for truth.
        points: (N,) LiDAR points in a truth; -1 where unknown, and for detections.
    """

    frame: NDArray[np.int64]
    label: NDArray[np.int64]
    center: NDArray[np.float64]
    size: NDArray[np.float64]
    yaw: NDArray[np.float64]
    velocity: NDArray[np.float64]
    attribute: NDArray[np.int64]
    distance: NDArray[np.float64]
    score: NDArray[np.float64]
    points: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, index: NDArray[np.integer] | NDArray[np.bool_]) -> BoxTable:
        """Select rows by mask or index array."""
        return BoxTable(**{field.name: getattr(self, field.name)[index] for field in fields(self)})


def tables(frames: Sequence[EvaluationFrame]) -> tuple[BoxTable, BoxTable]:
    """All detections, and all truths."""
    found = [_rows(index, frame.detections.boxes, frame.detections.labels, frame.range_origin,
                   frame.detection_attributes, frame.detections.scores, None)
             for index, frame in enumerate(frames)]
    there = [_rows(index, frame.truth.boxes, frame.truth.labels, frame.range_origin,
                   frame.truth_attributes, None, frame.truth.num_lidar_pts)
             for index, frame in enumerate(frames)]
    return _joined(found), _joined(there)


def _rows(index: int, boxes: Boxes3D, labels: NDArray[np.int64], origin: tuple[float, float],
          attributes: NDArray[np.int64] | None, scores: NDArray[np.float32] | None,
          points: NDArray[np.int64] | None) -> BoxTable:
    count = len(boxes)
    center = boxes.center[:, :2].astype(np.float64)
    return BoxTable(
        frame=np.full(count, index), label=np.asarray(labels, np.int64), center=center,
        size=boxes.size.astype(np.float64), yaw=boxes.yaw.astype(np.float64),
        velocity=boxes.velocity.astype(np.float64),
        attribute=np.full(count, UNKNOWN) if attributes is None else np.asarray(attributes),
        distance=np.linalg.norm(center - np.asarray(origin, np.float64), axis=1),
        score=np.zeros(count) if scores is None else np.asarray(scores, np.float64),
        points=np.full(count, -1) if points is None else np.asarray(points, np.int64))


def _joined(parts: list[BoxTable]) -> BoxTable:
    parts = parts or [_rows(0, Boxes3D.empty(), np.zeros(0, np.int64), (0.0, 0.0), None, None,
                            None)]
    return BoxTable(**{field.name: np.concatenate([getattr(part, field.name) for part in parts])
                       for field in fields(BoxTable)})


def _check(what: str, boxes: Boxes3D, labels: NDArray[np.int64],
           attributes: NDArray[np.int64] | None) -> None:
    """What the metrics would silently turn into nonsense."""
    if not (np.isfinite(boxes.center).all() and np.isfinite(boxes.yaw).all()):
        raise ValueError(f"a {what} has a centre or yaw that is not finite")
    if not (np.isfinite(boxes.size).all() and (boxes.size > 0).all()):
        raise ValueError(f"a {what} has a size that is not above 0")
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(CLASS_NAMES):
        raise ValueError(f"a {what} has label {labels.max()} or {labels.min()}; expected 0 to "
                         f"{len(CLASS_NAMES) - 1}")
    if attributes is None:
        return
    if len(attributes) != len(boxes) or (
            len(attributes) and not UNKNOWN <= attributes.min() <= attributes.max()
            < len(ATTRIBUTES)):
        raise ValueError(f"{what} attributes are {len(attributes)} numbers for {len(boxes)} boxes; "
                         f"expected one a box, -1 to {len(ATTRIBUTES) - 1}")
