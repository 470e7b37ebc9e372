"""Truth and detections as JSON: the boxes of one frame, in its LiDAR frame.

    {"frame": "LIDAR_TOP", "boxes": [{"class_name", "center" [m], "size_lwh" [m], "yaw" [rad],
     "velocity" [m/s] or null, "num_lidar_pts"}]}

Truth may further have ``visibility`` (0..1) and ``instance_id`` in each box. Detections have a
``score`` in each box, and the frame's ``stamp_ns``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry.boxes import Boxes3D
from aqr_perception.recordings.json_file import read_json
from aqr_perception.types import CLASS_NAMES, Annotations, Detections

ANNOTATIONS = "gt_boxes.json"
MOST_BOXES = 100_000


def read_annotations(folder: str | Path) -> Annotations | None:
    """Read the truth of a frame directory; None where it has none.

    Boxes of other classes than `CLASS_NAMES` are left out.

    Raises:
        ValueError: The file is damaged.
    """
    path = Path(folder) / ANNOTATIONS
    if not path.exists():
        return None
    entries = [entry for entry in _entries(path, read_json(path))
               if entry.values.get("class_name") in CLASS_NAMES]
    boxes, labels = _boxes(entries)
    return Annotations(
        boxes=boxes, labels=labels,
        num_lidar_pts=_whole_numbers(entries, "num_lidar_pts"),
        visibility=np.array([entry.numbers("visibility", 1, default=np.nan)[0]
                             for entry in entries], np.float32),
        track_ids=_whole_numbers(entries, "instance_id"))


def read_detections(path: str | Path) -> Detections:
    """Read what `write_detections` wrote; where the file names no stamp, it is 0.

    Raises:
        OSError: There is no such file.
        ValueError: It is damaged, or names a class that is none of `CLASS_NAMES`.
    """
    path = Path(path)
    document = read_json(path)
    entries = _entries(path, document)
    for entry in entries:
        if entry.values.get("class_name") not in CLASS_NAMES:
            raise entry.error("class_name", f"one of {', '.join(CLASS_NAMES)}")
    stamp_ns = document.get("stamp_ns", 0)
    if isinstance(stamp_ns, bool) or not isinstance(stamp_ns, int):
        raise ValueError(f"{path}: stamp_ns is {stamp_ns!r}; expected a whole number")
    boxes, labels = _boxes(entries)
    scores = np.array([entry.numbers("score", 1)[0] for entry in entries], np.float32)
    order = np.argsort(-scores, kind="stable")
    return Detections(stamp_ns, str(document.get("frame", "")), boxes[order], scores[order],
                      labels[order])


def write_annotations(path: str | Path, annotations: Annotations, frame_id: str) -> None:
    """Write the truth of one frame."""
    entries = _to_entries(annotations.boxes, annotations.labels)
    for index, entry in enumerate(entries):
        if annotations.num_lidar_pts[index] >= 0:
            entry["num_lidar_pts"] = int(annotations.num_lidar_pts[index])
        if np.isfinite(annotations.visibility[index]):
            entry["visibility"] = float(annotations.visibility[index])
        if annotations.track_ids[index] >= 0:
            entry["instance_id"] = int(annotations.track_ids[index])
    _write(path, _document(frame_id, entries))


def write_detections(path: str | Path, detections: Detections) -> None:
    """Write the detections of one frame, best first."""
    _write(path, _detections_document(detections))


def write_detections_of_frames(path: str | Path, frames: Sequence[Detections]) -> None:
    """Write the detections of several frames: ``{"frames": [...]}``, each as of one frame."""
    _write(path, {"frames": [_detections_document(detections) for detections in frames]})


class _Entry:
    """One box of a file, read with errors that name the place."""

    def __init__(self, path: Path, index: int, values: Mapping[str, Any]) -> None:
        self.values = values
        self._where = f"{path}: boxes[{index}]"

    def error(self, key: str, expected: str) -> ValueError:
        return ValueError(f"{self._where}.{key} is {self.values.get(key)!r}; expected {expected}")

    def numbers(self, key: str, count: int, default: float | None = None) -> NDArray[np.float64]:
        """``count`` finite numbers.

        With a default, absent or null stands for ``count`` times it, and a null among the numbers
        for NaN.
        """
        given = self.values.get(key)
        if given is None and default is not None:
            return np.full(count, default)
        try:
            numbers = np.array(given, dtype=np.float64).reshape(-1)
        except (TypeError, ValueError, OverflowError):
            numbers = np.zeros(0)
        if len(numbers) != count or (default is None and not np.isfinite(numbers).all()):
            raise self.error(key, f"{count} numbers" if count > 1 else "a number")
        return numbers


def _entries(path: Path, document: Mapping[str, Any]) -> list[_Entry]:
    boxes = document.get("boxes")
    if not isinstance(boxes, list) or not all(isinstance(box, dict) for box in boxes):
        raise ValueError(f"{path}: has no list 'boxes' of objects")
    if len(boxes) > MOST_BOXES:
        raise ValueError(f"{path}: has {len(boxes)} boxes; expected at most {MOST_BOXES}")
    return [_Entry(path, index, box) for index, box in enumerate(boxes)]


def _boxes(entries: list[_Entry]) -> tuple[Boxes3D, NDArray[np.int64]]:
    rows = np.zeros((len(entries), 9), np.float32)
    for row, entry in zip(rows, entries):
        row[:3] = entry.numbers("center", 3)
        row[3:6] = entry.numbers("size_lwh", 3)
        row[6] = entry.numbers("yaw", 1)[0]
        row[7:] = entry.numbers("velocity", 2, default=np.nan)
        if row[3:6].min() < 0:
            raise entry.error("size_lwh", "lengths that are not negative")
    labels = np.array([CLASS_NAMES.index(entry.values["class_name"]) for entry in entries],
                      np.int64)
    return Boxes3D(rows[:, :3], rows[:, 3:6], rows[:, 6], rows[:, 7:]), labels


def _whole_numbers(entries: list[_Entry], key: str) -> NDArray[np.int64]:
    """(N,) int64; -1 where an entry says nothing."""
    for entry in entries:
        value = entry.values.get(key, -1)
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
            raise entry.error(key, "a whole number")
    return np.array([entry.values.get(key, -1) for entry in entries], np.int64)


def _to_entries(boxes: Boxes3D, labels: NDArray[np.int64]) -> list[dict[str, Any]]:
    return [{"class_name": CLASS_NAMES[labels[i]], "center": boxes.center[i].tolist(),
             "size_lwh": boxes.size[i].tolist(), "yaw": float(boxes.yaw[i]),
             "velocity": boxes.velocity[i].tolist() if np.isfinite(boxes.velocity[i]).all()
             else None} for i in range(len(boxes))]


def _detections_document(detections: Detections) -> dict[str, Any]:
    entries = _to_entries(detections.boxes, detections.labels)
    for entry, score in zip(entries, detections.scores):
        entry["score"] = float(score)
    return {"stamp_ns": int(detections.stamp_ns), **_document(detections.frame_id, entries)}


def _document(frame_id: str, entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {"frame": frame_id, "center": "geometric centre",
            "yaw": "rad about +z, 0 along +x, length along the heading", "boxes": entries}


def _write(path: str | Path, document: dict[str, Any]) -> None:
    Path(path).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
