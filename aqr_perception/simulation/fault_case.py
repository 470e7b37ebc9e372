"""What a fault gets to work on, and how it writes down what it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry import rigid
from aqr_perception.simulation.fault_labels import FaultLabels, clean_labels
from aqr_perception.types import Annotations, CameraImage, LidarCloud, SensorFrame

AGES = (.5, 1.0, 2.0)
"""How old stale data is, by severity [s]."""
LIDAR = 0
"""Number of the LiDAR among the sensors."""


@dataclass(frozen=True)
class Case:
    """What a fault gets to work on.

    Attributes:
        frame: The frame to spoil.
        history: Frames before it, oldest first; may be empty.
        severity: 1 to 3.
        rng: Source of every draw.
        annotations: The truth about the frame, if known.
    """

    frame: SensorFrame
    history: Sequence[SensorFrame]
    severity: int
    rng: np.random.Generator
    annotations: Annotations | None

    def level(self, values: Sequence[Any]) -> Any:
        """The entry for the severity."""
        return values[self.severity - 1]

    def cloud(self) -> NDArray[np.float32]:
        """The LiDAR's points; none where it is absent."""
        lidar = self.frame.lidar
        return np.zeros((0, 5), np.float32) if lidar is None else lidar.points

    def some_cameras(self, count: int) -> list[int]:
        """Numbers of up to ``count`` present cameras, drawn."""
        present = np.flatnonzero(self.frame.present[1:])
        return sorted(int(k) for k in self.rng.permutation(present)[:count])

    def all_cameras(self) -> list[int]:
        """Numbers of all present cameras."""
        return [int(k) for k in np.flatnonzero(self.frame.present[1:])]

    def cameras_of_level(self) -> list[int]:
        """Numbers of one, three or all but one of the cameras, drawn."""
        return self.some_cameras(self.level((1, 3, len(self.frame.images) - 1)))

    def earlier(self, age_s: float) -> SensorFrame:
        """The frame of the history whose age is nearest to ``age_s``; itself without any."""
        if not self.history:
            return self.frame
        ages = [abs((self.frame.stamp_ns - frame.stamp_ns) * 1e-9 - age_s)
                for frame in self.history]
        return self.history[int(np.argmin(ages))]


Result = tuple[SensorFrame, FaultLabels]

LOST_AFTER = 8.0
"""Metres of driving, a turn of two degrees counting as one, after which old data costs more than
none: about where it did on validation drives."""


def harm_of_age(case: Case, old: SensorFrame) -> tuple[float, bool]:
    """How much of old data still holds, 0..1, and whether to do without it.

    A car that stands sees nearly the same half a second later. Beyond `LOST_AFTER` the places no
    longer fit; where the poses are unknown, they are taken not to.
    """
    if case.frame.fixed_from_lidar is None or old.fixed_from_lidar is None:
        return 0.0, True
    moved = rigid.inverse(old.fixed_from_lidar) @ case.frame.fixed_from_lidar
    shift = float(np.linalg.norm(moved[:3, 3])) + 30 * abs(rigid.yaw_of(moved))
    return float(np.exp(-shift)), shift > LOST_AFTER


def labels_of(frame: SensorFrame, sensors: Sequence[int], intact: float, leave_out: bool,
            everywhere: bool = True, **places: Any) -> FaultLabels:
    """Labels of a frame some of whose sensors are faulty, the present ones among them."""
    labels = clean_labels(frame)
    hit = np.zeros(len(labels.intact), bool)
    hit[list(sensors)] = True
    hit &= frame.present
    return replace(labels, intact=np.where(hit, np.float32(intact), labels.intact),
                   everywhere=labels.everywhere | (hit & everywhere), leave_out=hit & leave_out,
                   **places)


def with_points(frame: SensorFrame, points: NDArray[np.float32]) -> SensorFrame:
    """The frame with another cloud, which claims to be the one expected."""
    if frame.lidar is None:
        return frame
    return replace(frame, lidar=LidarCloud(frame.lidar.stamp_ns, points.astype(np.float32)))


def with_images(frame: SensorFrame, changed: dict[int, CameraImage | None]) -> SensorFrame:
    """The frame with other pictures in some cameras, or none (None)."""
    return replace(frame, images=tuple(changed.get(k, image)
                                       for k, image in enumerate(frame.images)))


def repainted(case: Case, cameras: Sequence[int],
               paint: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> SensorFrame:
    """The frame with new pixels in some cameras."""
    changed: dict[int, CameraImage | None] = {}
    for k in cameras:
        image = case.frame.images[k]
        if image is not None:
            changed[k] = replace(image, pixels=paint(image.pixels))
    return with_images(case.frame, changed)


def numbers(cameras: Sequence[int]) -> list[int]:
    """Numbers of cameras among the sensors."""
    return [1 + k for k in cameras]


def level_turn(case: Case) -> rigid.Matrix:
    """A turn about the vertical by 5, 15 or 40 degrees, either way."""
    angle = np.radians(case.level((5.0, 15.0, 40.0))) * case.rng.choice([-1, 1])
    return rigid.from_xyz_yaw(0, 0, 0, float(angle))


def motion_over(case: Case) -> rigid.Matrix | None:
    """(4, 4) the car's motion over 0.1, 0.2 or 0.4 s, from the last two poses."""
    offset = case.level((.1, .2, .4))
    before = case.history[-1] if case.history else None
    if before is None or before.fixed_from_lidar is None or case.frame.fixed_from_lidar is None:
        return None
    elapsed = (case.frame.stamp_ns - before.stamp_ns) * 1e-9
    if elapsed <= 0:
        return None
    old_from_new = rigid.inverse(before.fixed_from_lidar) @ case.frame.fixed_from_lidar
    return rigid.interpolate(np.eye(4), old_from_new, offset / elapsed)


def rotation(vector: NDArray[np.floating]) -> rigid.Matrix:
    """(4, 4) rotation about the direction of a vector (3,) by its length [rad]."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(4)
    return rigid.from_translation_quaternion(
        [0, 0, 0], np.append(np.asarray(vector) / angle * np.sin(angle / 2), np.cos(angle / 2)))
