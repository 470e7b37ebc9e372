"""What a fault left intact: by sensor, by place, and whether doing without the sensor helps."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry import rigid
from aqr_perception.geometry.boxes import Boxes3D
from aqr_perception.types import Calibration, SensorFrame

MARGIN = 0.5
"""How far around a removed or invented object the cloud counts as wrong [m]."""


@dataclass(frozen=True)
class FaultLabels:
    """The truth about one faulty frame.

    Sensors are in the frame's order: the LiDAR, then the cameras.

    Attributes:
        fault: Its name; ``none`` for a clean frame.
        severity: 1 to 3; 0 for a clean frame.
        intact: (S,) share of what the sensor says that is still so, 0..1.
        everywhere: (S,) whether the fault touches all that the sensor says; else only the places
            below.
        leave_out: (S,) whether the detector is expected to do better without the whole sensor.
        sectors: (K, 2) azimuths about +z of the LiDAR frame, from and to counter-clockwise [rad],
            in which the cloud is empty though things are there.
        missing: Objects whose points were taken away.
        ghosts: Objects that are not there and have points.
        image_damage: By camera (H, W) bool, True where pixels are worthless; None where all of
            them are as good as each other.
        calibrations: True lens and pose of each camera, to find the pixels of a place.
    """

    fault: str
    severity: int
    intact: NDArray[np.float32]
    everywhere: NDArray[np.bool_]
    leave_out: NDArray[np.bool_]
    image_damage: tuple[NDArray[np.bool_] | None, ...]
    calibrations: tuple[Calibration | None, ...]
    sectors: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    missing: Boxes3D = field(default_factory=Boxes3D.empty)
    ghosts: Boxes3D = field(default_factory=Boxes3D.empty)

    def damaged_at(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Where a regional fault lies.

        Args:
            points: (Q, 3) places in the LiDAR frame [m].

        Returns:
            (Q, S), True where what that sensor says about that place is wrong or gone. A camera
            that does not see the place has False.
        """
        points = np.asarray(points, np.float64).reshape(-1, 3)
        out = np.zeros((len(points), len(self.intact)), bool)
        azimuth = np.arctan2(points[:, 1], points[:, 0])
        for start, end in self.sectors.astype(np.float64):
            out[:, 0] |= (azimuth - start) % (2 * np.pi) < (end - start) % (2 * np.pi) + 1e-9
        for boxes in (self.missing, self.ghosts):
            out[:, 0] |= near_boxes(points, boxes, MARGIN)
        for k, (damage, calibration) in enumerate(zip(self.image_damage, self.calibrations)):
            if damage is None or calibration is None:
                continue
            local = rigid.transform_points(calibration.camera_from_lidar, points)
            pixels, seen = calibration.camera.project(local)
            column, row = np.round(pixels[seen]).astype(int).T
            out[seen, 1 + k] = damage[np.clip(row, 0, len(damage) - 1),
                                      np.clip(column, 0, damage.shape[1] - 1)]
        return out

    def intact_at(self, points: NDArray[np.floating]) -> NDArray[np.float32]:
        """(Q, S) how far each sensor can be believed about each place (Q, 3), 0..1."""
        damaged = self.damaged_at(points)
        return np.where(self.everywhere, self.intact, 1.0 - damaged).astype(np.float32)

    def leave_out_at(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(Q, S) where the detector is expected to do better without a sensor."""
        return self.leave_out | self.damaged_at(points)


def clean_labels(frame: SensorFrame) -> FaultLabels:
    """Labels of a frame without a fault; an absent sensor has nothing that could be believed."""
    sensors = 1 + len(frame.images)
    return FaultLabels(
        fault="none", severity=0, intact=frame.present.astype(np.float32),
        everywhere=~frame.present, leave_out=np.zeros(sensors, bool),
        image_damage=(None,) * len(frame.images),
        calibrations=tuple(None if image is None else image.calibration
                           for image in frame.images))


def near_boxes(points: NDArray[np.float64], boxes: Boxes3D, margin: float) -> NDArray[np.bool_]:
    """(Q,) whether a place lies in the plan of any box, grown by a margin [m]."""
    out = np.zeros(len(points), bool)
    for center, size, yaw in zip(boxes.center, boxes.size, boxes.yaw):
        dx, dy = points[:, 0] - center[0], points[:, 1] - center[1]
        cosine, sine = np.cos(yaw), np.sin(yaw)
        out |= ((np.abs(cosine * dx + sine * dy) <= size[0] / 2 + margin)
                & (np.abs(cosine * dy - sine * dx) <= size[1] / 2 + margin))
    return out
