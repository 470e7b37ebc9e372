"""Detections in the nuScenes submission format: one JSON file for many samples.

    {"meta": {"use_camera": bool, ...}, "results": {SAMPLE_TOKEN: [{"sample_token",
     "translation" [m], "size" w, l, h [m], "rotation" quaternion w, x, y, z, "velocity" [m/s],
     "detection_name", "detection_score", "attribute_name"}]}}

Boxes stand in nuScenes' global frame. nuScenes measures distances in its x-y plane, which is not
quite that of a LiDAR that tilts with the car: to get its figures exactly, evaluate in
`ego_centred_from_global`, and move the truth there as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqr_perception.evaluation.attributes import ATTRIBUTES, UNKNOWN
from aqr_perception.geometry import rigid
from aqr_perception.geometry.boxes import Boxes3D
from aqr_perception.types import CLASS_NAMES, Detections

MOST_BYTES = 1 << 30
MOST_SAMPLES = 100_000
MOST_BOXES = 500
"""A sample; the limit of the nuScenes challenge."""

_LARGEST = 1e9  # no place, size or speed on Earth
_NUMBERS = {"translation": 3, "size": 3, "rotation": 4, "velocity": 2, "detection_score": 1}


@dataclass(frozen=True)
class SubmittedBoxes:
    """The boxes of one sample in the global frame, in the order of the file.

    Attributes:
        center: (N, 3) [m].
        size: (N, 3) length, width, height [m].
        heading: (N, 3) unit vector along the length.
        velocity: (N, 2) [m/s]; NaN where unknown.
        scores: (N,)
        labels: (N,) index into `CLASS_NAMES`.
        attributes: (N,) index into `ATTRIBUTES`, -1 for none.
    """

    center: NDArray[np.float64]
    size: NDArray[np.float64]
    heading: NDArray[np.float64]
    velocity: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]
    attributes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.center)

    def in_frame(self, frame_from_global: rigid.Matrix, stamp_ns: int, frame_id: str
                 ) -> tuple[Detections, NDArray[np.int64]]:
        """Move the boxes into a frame; they stay upright in it.

        Returns:
            Detections, best first, and the attribute of each.
        """
        order = np.argsort(-self.scores, kind="stable")
        heading = rigid.rotate_vectors(frame_from_global, self.heading)
        flat = np.concatenate([self.velocity, np.zeros((len(self), 1))], axis=1)
        boxes = Boxes3D(
            center=rigid.transform_points(frame_from_global, self.center).astype(np.float32),
            size=self.size.astype(np.float32),
            yaw=np.arctan2(heading[:, 1], heading[:, 0]).astype(np.float32),
            velocity=rigid.rotate_vectors(frame_from_global, flat)[:, :2].astype(np.float32))
        return (Detections(stamp_ns, frame_id, boxes[order],
                           self.scores[order].astype(np.float32), self.labels[order]),
                self.attributes[order])


def ego_centred_from_global(global_from_ego: rigid.Matrix) -> rigid.Matrix:
    """(4, 4) into the frame with the global frame's axes and the car in its origin.

    Distances there are nuScenes' own, and its range origin is (0, 0).
    """
    return rigid.from_rotation_translation(np.eye(3), -global_from_ego[:3, 3])


def read_results(path: str | Path) -> dict[str, SubmittedBoxes]:
    """Read a results file.

    Returns:
        Boxes by sample token, in the order of the file.

    Raises:
        OSError: There is no such file.
        ValueError: It is too large, or not in the format; names the entry.
    """
    path = Path(path)
    results = _document(path).get("results")
    if not isinstance(results, dict):
        raise ValueError(f"{path}: has no object 'results' of lists by sample token")
    if len(results) > MOST_SAMPLES:
        raise ValueError(f"{path}: has {len(results)} samples; expected at most {MOST_SAMPLES}")
    samples = {}
    for token in list(results):
        samples[token] = _sample(f"{path}: results.{token}", token, results.pop(token))
    return samples


def _document(path: Path) -> Mapping[str, Any]:
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"{path}: has {size / 2**30:.1f} GiB; expected at most "
                         f"{MOST_BYTES >> 30} GiB")
    try:
        document = json.loads(path.read_bytes())
    except RecursionError:
        raise ValueError(f"{path}: is nested too deeply for a results file") from None
    except ValueError as error:  # JSON's own and UTF-8's
        raise ValueError(f"{path}: is not JSON ({error})") from None
    if not isinstance(document, dict):
        raise ValueError(f"{path}: holds a {type(document).__name__}; expected an object with "
                         "'meta' and 'results'")
    return document


def _sample(where: str, token: str, entries: object) -> SubmittedBoxes:
    if not isinstance(entries, list):
        raise ValueError(f"{where} is a {type(entries).__name__}; expected a list of boxes")
    if len(entries) > MOST_BOXES:
        raise ValueError(f"{where} has {len(entries)} boxes; expected at most {MOST_BOXES}")
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise ValueError(f"{where}[{index}] is a {type(entry).__name__}; expected an object")
        if entry.get("sample_token", token) != token:
            raise ValueError(f"{where}[{index}].sample_token is {entry['sample_token']!r}; "
                             f"expected {token!r}, under which it is listed")
    columns = {key: _numbers(where, entries, key, count) for key, count in _NUMBERS.items()}
    return SubmittedBoxes(
        center=columns["translation"],
        size=columns["size"][:, [1, 0, 2]],
        heading=_headings(columns["rotation"]),
        velocity=columns["velocity"],
        scores=columns["detection_score"][:, 0],
        labels=_choices(where, entries, "detection_name", CLASS_NAMES),
        attributes=_choices(where, entries, "attribute_name", ATTRIBUTES, optional=True))


def _numbers(where: str, entries: list[dict[str, Any]], key: str, count: int
             ) -> NDArray[np.float64]:
    """(N, count); of velocities NaN is allowed, sizes are above 0, a quaternion is not zero."""
    rows = np.empty((len(entries), count))
    for index, entry in enumerate(entries):
        value = entry.get(key)
        values = value if isinstance(value, list) else [value]
        if len(values) != count or not _fits(key, values):
            kind = {"size": " above 0", "rotation": " of a quaternion w, x, y, z"}.get(key, "")
            raise ValueError(f"{where}[{index}].{key} is {str(value)[:80]}; expected {count} "
                             f"number{'s' if count > 1 else ''}{kind}")
        rows[index] = values
    return rows


def _fits(key: str, values: list[Any]) -> bool:
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in values):
        return False
    if key != "velocity" and not all(abs(value) < _LARGEST for value in values):  # nor is NaN
        return False
    if key == "size":
        return min(values) > 0
    if key == "rotation":
        return max(map(abs, values)) > 1e-6
    return not any(abs(value) >= _LARGEST for value in values)


def _choices(where: str, entries: list[dict[str, Any]], key: str, names: tuple[str, ...],
             optional: bool = False) -> NDArray[np.int64]:
    """(N,) index into names; `UNKNOWN` where it is empty and may be."""
    indices = {name: index for index, name in enumerate(names)}
    if optional:
        indices[""] = UNKNOWN
    chosen = np.empty(len(entries), np.int64)
    for index, entry in enumerate(entries):
        value = entry.get(key)
        if not isinstance(value, str) or value not in indices:
            raise ValueError(f"{where}[{index}].{key} is {str(value)[:80]!r}; expected one of "
                             f"{', '.join(names)}{', or an empty string' if optional else ''}")
        chosen[index] = indices[value]
    return chosen


def _headings(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 3) where quaternions w, x, y, z turn the x axis to."""
    w, x, y, z = (rotation / np.linalg.norm(rotation, axis=1, keepdims=True)).T
    return np.stack([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)], axis=1)
