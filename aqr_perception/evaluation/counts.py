"""What a person who looks at a frame asks: what was found, what was missed, what is not there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aqr_perception.evaluation.frames import EvaluationFrame
from aqr_perception.types import Annotations, Detections

SCORE = 0.3
"""A detection counts above this score."""
DISTANCE = 2.0
"""Two centres nearer than this in the x-y plane [m] are of one object."""


@dataclass(frozen=True)
class Counts:
    """How many objects were found, by plain counting.

    An object counts when at least one LiDAR point lies in its box, or nobody counted its points. It
    is found when the centre of any detection with a score above `SCORE` lies within `DISTANCE` of
    its own; a detection may find several objects, and several may find one. A detection is false
    when no object, with points or without, lies within `DISTANCE` of it. There is no limit of
    range. Figures of several frames are sums.

    Attributes:
        truths: Objects that count.
        found: Of those, found by a detection of whatever class.
        found_of_class: Of those, found by a detection of their own class.
        detections: Those with a score above `SCORE`.
        false: Of those, the false ones.
    """

    truths: int
    found: int
    found_of_class: int
    detections: int
    false: int

    @property
    def missed(self) -> int:
        """Objects that no detection of whatever class found."""
        return self.truths - self.found

    def line(self) -> str:
        """The counts as a sentence."""
        return (f"at score {SCORE:g} and {DISTANCE:g} m: {self.found} of {self.truths} objects "
                f"with a LiDAR point found ({self.found_of_class} as their class), {self.missed} "
                f"missed, {self.false} of {self.detections} detections false")


def count(frames: Iterable[EvaluationFrame | tuple[Detections, Annotations]]) -> Counts:
    """Count over frames; see `Counts`."""
    totals = np.zeros(5, np.int64)
    for frame in frames:
        detections, truth = ((frame.detections, frame.truth)
                             if isinstance(frame, EvaluationFrame) else frame)
        totals += _count(detections, truth)
    return Counts(*totals.tolist())


def _count(detections: Detections, truth: Annotations) -> NDArray[np.int64]:
    """(5,) in the order of `Counts`."""
    kept = detections.scores > SCORE
    center, labels = detections.boxes.center[kept, :2], detections.labels[kept]
    near = np.linalg.norm(truth.boxes.center[:, None, :2] - center[None], axis=-1) < DISTANCE
    counted = truth.num_lidar_pts != 0
    of_class = near & (truth.labels[:, None] == labels[None])
    return np.array([counted.sum(), near[counted].any(axis=1).sum(),
                     of_class[counted].any(axis=1).sum(), len(labels),
                     (~near.any(axis=0)).sum()])
