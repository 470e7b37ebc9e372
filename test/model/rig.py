"""Small synthetic frames for tests of the network: four cameras around a LiDAR."""

from __future__ import annotations

import numpy as np

from aqr_perception.geometry import rigid
from aqr_perception.geometry.camera import PinholeCamera
from aqr_perception.types import Calibration, CameraImage, LidarCloud, SensorFrame

NAMES = ("front", "left", "back", "right")


def camera(width=160, height=90, focal=110.0, **lens):
    """An ideal pinhole unless told otherwise."""
    intrinsics = [[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]
    return PinholeCamera(width, height, np.array(intrinsics), **lens)


def camera_from_lidar(yaw):
    """Optical frame (z forward, y down) of a camera that looks along ``yaw`` from 0.5 m away."""
    forward = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    rotation = np.stack([right, [0.0, 0.0, -1.0], forward])
    return rigid.from_rotation_translation(rotation, -rotation @ (0.5 * forward))


def make_frame(seed=0, points=800, views=4, size=(160, 90), stamp_ns=1_000_000_000):
    """A frame of noise, all sensors there."""
    rng = np.random.default_rng(seed)
    cloud = np.zeros((points, 5), np.float32)
    cloud[:, :2] = rng.uniform(-50, 50, (points, 2))
    cloud[:, 2] = rng.uniform(-2, 1, points)
    cloud[:, 3] = rng.random(points)
    images = []
    for view, name in zip(range(views), NAMES):
        pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        pose = camera_from_lidar(np.pi / 2 + view * np.pi / 2)
        images.append(CameraImage(name, stamp_ns, pixels, Calibration(camera(*size), pose)))
    return SensorFrame(stamp_ns, "lidar", LidarCloud(stamp_ns, cloud), tuple(images),
                       NAMES[:views], np.eye(4))
