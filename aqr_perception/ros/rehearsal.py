"""A frame of a rig's shape with nothing real in it, to warm the network up before the road."""

from __future__ import annotations

import numpy as np

from aqr_perception.geometry import rigid
from aqr_perception.geometry.camera import PinholeCamera
from aqr_perception.types import (
    Calibration,
    CameraImage,
    LidarCloud,
    Mounting,
    SensorFrame,
)

WIDTH, HEIGHT, FOCAL = 1600, 900, 1250.0
BEAMS, AZIMUTHS = 32, 1085
_CAMERA_FROM_FORWARD = np.array([  # x right, y down, z forward ← x forward, y left, z up
    [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])


def rehearsal_frame(camera_names: tuple[str, ...], mounting: Mounting, shrink: int = 1
                    ) -> SensorFrame:
    """Make a frame: grey pictures all around, and a sweep over flat ground.

    Args:
        camera_names: The rig's cameras, spread evenly over the circle.
        mounting: How the LiDAR frame lies to the network's.
        shrink: Pictures are so many times smaller than 1600×900, and the sweep has so many times
            fewer points; both show the same.
    """
    width, height, focal = WIDTH // shrink, HEIGHT // shrink, FOCAL / shrink
    images = []
    for index, name in enumerate(camera_names):
        turned = rigid.from_xyz_yaw(0.0, 0.0, 0.0, 2 * np.pi * index / len(camera_names))
        camera = PinholeCamera(width, height, np.array(
            [[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]]))
        images.append(CameraImage(name, 0, np.full((height, width, 3), 114, np.uint8),
                                  Calibration(camera, _CAMERA_FROM_FORWARD @ turned)))
    return SensorFrame(0, "lidar", LidarCloud(0, _ground_sweep(mounting, shrink)), tuple(images),
                       camera_names)


def _ground_sweep(mounting: Mounting, shrink: int) -> np.ndarray:
    """(N, 5) where the beams of a spinning LiDAR meet the ground, the upper ones at 50 m."""
    elevation = np.deg2rad(np.linspace(-30.0, 10.0, BEAMS))[:, None]
    azimuth = np.linspace(-np.pi, np.pi, AZIMUTHS // shrink, endpoint=False)[None]
    height = max(mounting.height, 1.0)
    distance = np.minimum(height / np.maximum(np.tan(-elevation), 1e-6), 50.0)
    points = np.zeros((BEAMS, AZIMUTHS // shrink, 5), np.float32)
    points[..., 0] = distance * np.cos(azimuth)
    points[..., 1] = distance * np.sin(azimuth)
    points[..., 2] = distance * np.tan(elevation) + height - mounting.height
    points[..., 3] = 0.2
    return points.reshape(-1, 5)
