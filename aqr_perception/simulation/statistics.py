"""How near a set of frames is to reality: its boxes and its clouds, beside those of real frames."""

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
OWN_CAR = 3.0
"""[m] within which a return is of the car itself, or stands for none."""
SHARES = (.1, .25, .5, .75, .9)


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


@dataclass(frozen=True)
class CloudFigures:
    """Of the returns beyond `OWN_CAR`.

    Attributes:
        returned: Share of all beams that they are.
        ranges: Their quantiles at `SHARES` [m].
        intensities: The same of intensity 0..255.
        by_elevation: For eight groups of beams from the lowest up, the share that returned.
    """

    returned: float
    ranges: tuple[float, ...]
    intensities: tuple[float, ...]
    by_elevation: tuple[float, ...]


REAL = (("nuScenes scene-0061", Difficulty(66, .61, .80, 4.0)),
        ("nuScenes, another frame", Difficulty(37, .68, .73, 5.0)))
"""Two real frames, measured the same way."""
REAL_CLOUDS = (
    ("nuScenes scene-0061", CloudFigures(
        .754, (4.5, 5.8, 9.4, 18.8, 35.4), (4, 7, 12, 24, 45),
        (.37, .72, .94, .94, .97, .79, .71, .62))),
    ("nuScenes, another sweep", CloudFigures(
        .750, (4.3, 5.5, 9.1, 22.6, 39.8), (5, 9, 18, 38, 58),
        (.37, .71, .92, .86, .91, .84, .68, .72))))
"""Two real sweeps, measured the same way."""


def difficulty(annotations: Iterable[Annotations]) -> Difficulty:
    """Measure the boxes of a set of frames."""
    distances, points = _touched(annotations)
    if not len(points):
        return Difficulty(0, float("nan"), float("nan"), float("nan"))
    return Difficulty(len(points), float((distances > FAR).mean()), float((points <= FEW).mean()),
                      float(np.median(points)))


def difficulty_by_class(annotations: Sequence[Annotations]) -> dict[str, Difficulty]:
    """The same class by class."""
    return {name: difficulty([_of_class(frame, label) for frame in annotations])
            for label, name in enumerate(CLASS_NAMES)}


def cloud_figures(clouds: Sequence[NDArray[np.float32]]) -> CloudFigures:
    """Measure sweeps (N, 5) of a 32-beam LiDAR whose missing returns lie at its place.

    Beams are grouped by elevation in eight equal steps from -31.3° to 11.3°.
    """
    points = np.concatenate(clouds).astype(np.float64)
    distance = np.linalg.norm(points[:, :3], axis=1)
    real = distance > OWN_CAR
    elevation = np.degrees(np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1])))
    group = np.clip((elevation[real] + 31.34) / 5.33, 0, 7.99).astype(int)
    counts = np.bincount(group, minlength=8) * 8 / len(points)
    return CloudFigures(float(real.mean()), _quantiles(distance[real]),
                        _quantiles(points[real, 3] * 255), tuple(float(count) for count in counts))


def box_table(annotations: Sequence[Annotations], name: str) -> str:
    """Difficulty beside the real frames', then boxes by class, as text."""
    rows = [(name, difficulty(annotations)), *REAL]
    lines = [f"{'boxes with a LiDAR point':34}{'number':>8}{'> 25 m':>9}{'<= 10 pts':>11}"
             f"{'median pts':>12}"]
    lines += [f"{label:34}{row.boxes:8d}{row.far:9.0%}{row.sparse:11.0%}{row.median_points:12.1f}"
              for label, row in rows]
    lines += ["", f"{'class':24}{'boxes a frame':>14}{'share':>8}{'> 25 m':>9}{'median pts':>12}"]
    total = max(difficulty(annotations).boxes, 1)
    for class_name, row in difficulty_by_class(annotations).items():
        lines.append(f"{class_name:24}{row.boxes / max(len(annotations), 1):14.2f}"
                     f"{row.boxes / total:8.1%}{row.far:9.0%}{row.median_points:12.1f}")
    return "\n".join(lines)


def cloud_table(clouds: Sequence[NDArray[np.float32]], name: str) -> str:
    """Returns, ranges and intensities beside the real sweeps', as text."""
    shares = " ".join(f"{share:5.0%}" for share in SHARES)
    lines = [f"{'sweeps':34}{'returned':>9}   range [m] at {shares}   intensity at {shares}"]
    rows = [(name, cloud_figures(clouds)), *REAL_CLOUDS]
    for label, row in rows:
        ranges = " ".join(f"{value:5.1f}" for value in row.ranges)
        levels = " ".join(f"{value:5.0f}" for value in row.intensities)
        lines.append(f"{label:34}{row.returned:9.0%}{'':16}{ranges}{'':16}{levels}")
    lines += ["", f"{'returned, lowest beams first':34}"]
    lines += [f"{label:34}" + " ".join(f"{value:5.0%}" for value in row.by_elevation)
              for label, row in rows]
    return "\n".join(lines)


def _quantiles(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in np.quantile(values, SHARES)) if len(values) else ()


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
