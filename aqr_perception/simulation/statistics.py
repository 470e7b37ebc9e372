"""How hard a set of frames is: distances and points of its boxes, beside two real frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aqr_perception.types import CLASS_NAMES, Annotations

FAR = 25.0
"""[m] beyond which a box counts as far."""
FEW = 10
"""Points up to which a box counts as sparse."""


@dataclass(frozen=True)
class Difficulty:
    """Of the boxes that hold at least one LiDAR point.

    Attributes:
        boxes: How many.
        far: Share beyond `FAR`.
        sparse: Share with `FEW` points or fewer.
        median_points: Their median.
    """

    boxes: int
    far: float
    sparse: float
    median_points: float


REAL = (("nuScenes scene-0061", Difficulty(66, .61, .80, 4.0)),
        ("nuScenes, another frame", Difficulty(37, .68, .73, 5.0)))
"""Two real frames, measured the same way."""


def difficulty(annotations: Iterable[Annotations]) -> Difficulty:
    """Measure a set of frames."""
    distances, points = _touched(annotations)
    if not len(points):
        return Difficulty(0, float("nan"), float("nan"), float("nan"))
    return Difficulty(len(points), float((distances > FAR).mean()), float((points <= FEW).mean()),
                      float(np.median(points)))


def table(annotations: Sequence[Annotations], name: str) -> str:
    """The figures as text: difficulty beside the real frames', then boxes by class."""
    rows = [(name, difficulty(annotations)), *REAL]
    lines = [f"{'boxes with a LiDAR point':34}{'number':>8}{'> 25 m':>9}{'<= 10 pts':>11}"
             f"{'median pts':>12}"]
    lines += [f"{label:34}{row.boxes:8d}{row.far:9.0%}{row.sparse:11.0%}{row.median_points:12.1f}"
              for label, row in rows]
    lines += ["", f"{'class':24}{'boxes a frame':>14}{'share':>8}{'> 25 m':>9}{'median pts':>12}"]
    total = max(difficulty(annotations).boxes, 1)
    for label, class_name in enumerate(CLASS_NAMES):
        own = [_of_class(frame, label) for frame in annotations]
        row = difficulty(own)
        lines.append(f"{class_name:24}{row.boxes / max(len(annotations), 1):14.2f}"
                     f"{row.boxes / total:8.1%}{row.far:9.0%}{row.median_points:12.1f}")
    return "\n".join(lines)


def _of_class(frame: Annotations, label: int) -> Annotations:
    own = frame.labels == label
    return Annotations(frame.boxes[own], frame.labels[own], frame.num_lidar_pts[own],
                       frame.visibility[own], frame.track_ids[own])


def _touched(annotations: Iterable[Annotations]
             ) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    frames = list(annotations)
    if not frames:
        return np.zeros(0), np.zeros(0, np.int64)
    points = np.concatenate([frame.num_lidar_pts for frame in frames])
    distances = np.concatenate([np.hypot(*frame.boxes.center[:, :2].T) for frame in frames])
    return distances[points > 0], points[points > 0]
