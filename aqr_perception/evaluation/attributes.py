"""What nuScenes calls attributes: whether a thing moves, is parked, has a rider.

An attribute is an index into `ATTRIBUTES`, or `UNKNOWN`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry.boxes import Boxes3D
from aqr_perception.types import CLASS_NAMES

ATTRIBUTES = ("pedestrian.moving", "pedestrian.sitting_lying_down", "pedestrian.standing",
              "cycle.with_rider", "cycle.without_rider",
              "vehicle.moving", "vehicle.parked", "vehicle.stopped")
UNKNOWN = -1
MOVING_SPEED = 0.2
"""[m/s] above which a thing moves; the field's usual choice."""

_MOVING = {"pedestrian": "pedestrian.moving", "motorcycle": "cycle.with_rider",
           "bicycle": "cycle.with_rider", "barrier": None, "traffic_cone": None}
_STILL = {"pedestrian": "pedestrian.standing", "motorcycle": "cycle.without_rider",
          "bicycle": "cycle.without_rider", "bus": "vehicle.stopped", "barrier": None,
          "traffic_cone": None}


def attributes_from_motion(boxes: Boxes3D, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Guess attributes from speed, as detectors without a head for them do.

    With this on both sides the attribute error tells whether standing and moving things are told
    apart; it is not the error against nuScenes' annotated attributes.

    Args:
        boxes: N boxes.
        labels: (N,) index into `CLASS_NAMES`.

    Returns:
        (N,) attributes; `UNKNOWN` for barriers, cones, and where the velocity is unknown.
    """
    speed = np.linalg.norm(boxes.velocity, axis=1)
    with np.errstate(invalid="ignore"):
        attributes = np.where(speed > MOVING_SPEED, _indices(_MOVING, "vehicle.moving")[labels],
                              _indices(_STILL, "vehicle.parked")[labels])
    return np.where(np.isfinite(speed), attributes, UNKNOWN)


def _indices(by_class: dict[str, str | None], default: str) -> NDArray[np.int64]:
    names = [by_class.get(name, default) for name in CLASS_NAMES]
    return np.array([UNKNOWN if name is None else ATTRIBUTES.index(name) for name in names])
