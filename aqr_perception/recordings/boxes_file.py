"""Truth and detections as JSON: the boxes of one frame, in its LiDAR frame.

    {"frame": "LIDAR_TOP", "boxes": [{"class_name", "center" [m], "size_lwh" [m], "yaw" [rad],
     "velocity" [m/s] or null, "num_lidar_pts"}]}

Detections are the same with a ``score`` in each box.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry.boxes import Boxes3D
from aqr_perception.recordings.frame_directory import read_json
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
    entries = [entry for entry in _entries(path) if entry.get("class_name") in CLASS_NAMES]
    boxes, labels = _boxes(path, entries)
    visibility = [entry.get("visibility") for entry in entries]
    return Annotations(
        boxes=boxes, labels=labels,
        num_lidar_pts=_integers(path, entries, "num_lidar_pts"),
        visibility=np.array([np.nan if share is None else float(share) for share in visibility],
                            np.float32),
        track_ids=_integers(path, entries, "instance_id"))


def read_detections(path: str | Path, stamp_ns: int = 0) -> Detections:
    """Read what `write_detections` wrote.

    Raises:
        OSError: There is no such file.
        ValueError: It is damaged.
    """
    path = Path(path)
    entries = _entries(path)
    unknown = {str(entry.get("class_name")) for entry in entries} - set(CLASS_NAMES)
    if unknown:
        raise ValueError(f"{path}: names the class {sorted(unknown)[0]}; expected one of "
                         f"{', '.join(CLASS_NAMES)}")
    boxes, labels = _boxes(path, entries)
    scores = np.array([_numbers(path, index, entry, "score", 1)[0]
                       for index, entry in enumerate(entries)], np.float32)
    order = np.argsort(-scores, kind="stable")
    frame_id = str(read_json(path).get("frame", ""))
    return Detections(stamp_ns, frame_id, boxes[order], scores[order], labels[order])


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
    _write(path, frame_id, entries)


def write_detections(path: str | Path, detections: Detections) -> None:
    """Write detections, best first."""
    _write(path, detections.frame_id, detections_to_entries(detections))


def detections_to_entries(detections: Detections) -> list[dict[str, Any]]:
    """The entries of the ``boxes`` list of one frame."""
    entries = _to_entries(detections.boxes, detections.labels)
    for entry, score in zip(entries, detections.scores):
        entry["score"] = float(score)
    return entries


def _entries(path: Path) -> list[Mapping[str, Any]]:
    entries = read_json(path).get("boxes")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{path}: has no list 'boxes' of objects")
    if len(entries) > MOST_BOXES:
        raise ValueError(f"{path}: has {len(entries)} boxes; expected at most {MOST_BOXES}")
    return entries


def _boxes(path: Path, entries: list[Mapping[str, Any]]) -> tuple[Boxes3D, NDArray[np.int64]]:
    rows = np.zeros((len(entries), 9), np.float32)
    for index, entry in enumerate(entries):
        rows[index, :3] = _numbers(path, index, entry, "center", 3)
        rows[index, 3:6] = _numbers(path, index, entry, "size_lwh", 3)
        rows[index, 6] = _numbers(path, index, entry, "yaw", 1)[0]
        rows[index, 7:] = (np.nan if entry.get("velocity") is None
                           else _numbers(path, index, entry, "velocity", 2, finite=False))
    labels = np.array([CLASS_NAMES.index(entry["class_name"]) for entry in entries], np.int64)
    return Boxes3D(rows[:, :3], rows[:, 3:6], rows[:, 6], rows[:, 7:]), labels


def _numbers(path: Path, index: int, entry: Mapping[str, Any], key: str, count: int,
             finite: bool = True) -> NDArray[np.float64]:
    try:
        values = np.array(entry.get(key), dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        values = np.zeros(0)
    if len(values) != count or (finite and not np.isfinite(values).all()):
        raise ValueError(f"{path}: boxes[{index}].{key} is {entry.get(key)!r}; expected "
                         f"{count} number{'s' if count > 1 else ''}")
    return values


def _integers(path: Path, entries: list[Mapping[str, Any]], key: str) -> NDArray[np.int64]:
    values = [entry.get(key, -1) for entry in entries]
    for index, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
            raise ValueError(f"{path}: boxes[{index}].{key} is {value!r}; expected a whole number")
    return np.array(values, np.int64)


def _to_entries(boxes: Boxes3D, labels: NDArray[np.int64]) -> list[dict[str, Any]]:
    return [{"class_name": CLASS_NAMES[labels[i]], "center": boxes.center[i].tolist(),
             "size_lwh": boxes.size[i].tolist(), "yaw": float(boxes.yaw[i]),
             "velocity": boxes.velocity[i].tolist() if np.isfinite(boxes.velocity[i]).all()
             else None} for i in range(len(boxes))]


def _write(path: str | Path, frame_id: str, entries: list[dict[str, Any]]) -> None:
    document = {"frame": frame_id, "center": "geometric centre",
                "yaw": "rad about +z, 0 along +x, length along the heading", "boxes": entries}
    Path(path).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
