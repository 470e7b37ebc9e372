"""A pipeline without a network whose detections show everything that a frame holds.

One box a sensor: what differs in points, pixels, lens, pose or controls, differs in its box. So two
ways to the same frame are the same exactly when their detections are.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import cv2
import numpy as np

from aqr_perception.geometry import rigid
from aqr_perception.geometry.boxes import Boxes3D
from aqr_perception.types import CLASS_NAMES, Controls, Detections, SensorFrame


@dataclass(frozen=True)
class FingerprintTimes:
    inference: float


@dataclass(frozen=True)
class FingerprintResult:
    detections: Detections
    times: FingerprintTimes
    note: str = ""
    aqr: None = None
    used: tuple[bool, ...] = ()


class FingerprintPipeline:
    """Takes ``delay_s`` a frame, as a network would."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s

    def check(self, controls: Controls) -> None:
        """Nothing is beyond it."""

    def facts(self) -> dict[str, str]:
        return {"device": "none"}

    def __call__(self, frame: SensorFrame, controls: Controls) -> FingerprintResult:
        time.sleep(self.delay_s)
        center, size, yaw = [], [], []
        if frame.lidar is not None:
            points = frame.lidar.points.astype(np.float64)
            center.append(points[:, :3].mean(0))
            size.append(points[:, :3].std(0) + 0.1)
            yaw.append(points[:, 3].mean())
        for image in frame.images:
            if image is None:
                continue
            calibration = image.calibration
            u, v = calibration.camera.project(np.array([[0.3, 0.2, 2.0]]))[0][0]
            center.append(calibration.camera_from_lidar[:3, 3] + [u * 1e-3, v * 1e-3, 0.0])
            size.append(np.array(cv2.mean(image.pixels)[:3]) / 255 + 0.01)
            yaw.append(rigid.yaw_of(calibration.camera_from_lidar))
        count = len(center)
        center.append([controls.gains.lidar, controls.gains.camera, controls.score_threshold])
        size.append([1.0, 1.0, frame.present.sum()])
        yaw.append(0.0 if frame.fixed_from_lidar is None else rigid.yaw_of(frame.fixed_from_lidar))
        boxes = Boxes3D(np.array(center), np.array(size), np.array(yaw),
                        np.zeros((count + 1, 2)))
        return FingerprintResult(Detections(
            frame.stamp_ns, frame.frame_id, boxes,
            np.linspace(0.9, 0.5, count + 1, dtype=np.float32),
            np.arange(count + 1) % len(CLASS_NAMES)), FingerprintTimes(self.delay_s * 1e3))
