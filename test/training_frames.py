"""Made-up frames to train on: coloured blocks on a plain, seen by two cameras and a LiDAR."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from aqr_perception.geometry import rigid
from aqr_perception.geometry.boxes import Boxes3D
from aqr_perception.geometry.camera import PinholeCamera
from aqr_perception.model.config import DetectorConfig, tiny
from aqr_perception.types import Annotations, Calibration, CameraImage, LidarCloud, SensorFrame

CAMERAS = ("front", "back")
FORWARD_CAMERA = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # x right, y down, z forward


def small_config() -> DetectorConfig:
    """The tiny preset, cut down so that a step takes a few hundredths of a second."""
    config = tiny()
    assert config.image is not None
    assert config.lidar is not None
    return replace(
        config, image=replace(config.image, width=96, height=32, channels=(8, 8, 16, 16)),
        lidar=replace(config.lidar, voxel_size=(2.25, 2.25, 8.0), grid=(1, 48, 48),
                      sparse_channels=(16,), trunk_channels=(16, 16), trunk_layers=(1, 1),
                      neck_channels=16),
        decoder=replace(config.decoder, channels=32, heads=2, layers=2, feedforward=32,
                        queries=32, placed=8, placed_by_images=4, head_channels=16))


def make_frame(seed: int) -> tuple[SensorFrame, Annotations]:
    """A few blocks around the car, their faces filled with points and pixels."""
    return _seen_from(*_world(seed), np.eye(4), 10**9)


def make_drive(seed: int, frames: int, speed: float = 4.0
               ) -> list[tuple[SensorFrame, Annotations]]:
    """The same, and the car drives past along the model frame's y, at 2 Hz; nothing else moves."""
    world = _world(seed)
    return [_seen_from(*world, rigid.from_xyz_yaw(0, speed * 0.5 * k, 0, 0.03 * k),
                       10**9 + k * 500_000_000) for k in range(frames)]


def _world(seed: int) -> tuple[Boxes3D, np.ndarray, np.ndarray]:
    """Boxes, labels and points (N, 3)."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 5))
    center = np.concatenate([rng.uniform(-25, 25, (count, 2)), np.full((count, 1), -1.0)], axis=1)
    boxes = Boxes3D(center, np.tile([4.0, 2.0, 1.6], (count, 1)), rng.uniform(-3, 3, count),
                    rng.normal(0, 2, (count, 2)))
    labels = rng.integers(0, 2, count)
    points = [rng.uniform([-40, -40, -1.9], [40, 40, -1.8], (400, 3))]
    points += [corner.mean(axis=0) + rng.uniform(-0.5, 0.5, (60, 3)) * np.ptp(corner, axis=0)
               for corner in boxes.corners()]
    xyz = np.concatenate(points).astype(np.float32)
    return boxes, labels, xyz


def _seen_from(boxes: Boxes3D, labels: np.ndarray, xyz: np.ndarray, fixed_from_lidar: np.ndarray,
               stamp_ns: int) -> tuple[SensorFrame, Annotations]:
    lidar_from_fixed = rigid.inverse(fixed_from_lidar)
    boxes, count = boxes.transformed(lidar_from_fixed), len(boxes)
    cloud = np.zeros((len(xyz), 5), np.float32)
    cloud[:, :3], cloud[:, 3] = rigid.transform_points(lidar_from_fixed, xyz), 0.3
    images = tuple(_picture(name, turn, boxes, labels, stamp_ns)
                   for name, turn in zip(CAMERAS, (0, np.pi)))
    frame = SensorFrame(stamp_ns, "lidar", LidarCloud(stamp_ns, cloud), images, CAMERAS,
                        fixed_from_lidar)
    annotations = Annotations(boxes, labels.astype(np.int64), np.full(count, 60, np.int64),
                              np.ones(count, np.float32), np.arange(count))
    return frame, annotations


def _picture(name: str, turn: float, boxes: Boxes3D, labels: np.ndarray, stamp_ns: int
             ) -> CameraImage:
    camera = PinholeCamera(192, 108, np.array([[90.0, 0, 96], [0, 90.0, 54], [0, 0, 1]]))
    rotation = FORWARD_CAMERA @ rigid.from_xyz_yaw(0, 0, 0, turn)[:3, :3]
    camera_from_lidar = rigid.from_rotation_translation(rotation, np.zeros(3))
    pixels = np.full((108, 192, 3), 90, np.uint8)
    for corners, label in zip(boxes.corners(), labels):
        seen = rigid.transform_points(camera_from_lidar, corners.astype(np.float64))
        if seen[:, 2].min() < 1:
            continue
        hull = cv2.convexHull(camera.project(seen)[0].astype(np.int32))
        cv2.fillConvexPoly(pixels, hull, (40, 60, 230) if label else (230, 90, 30))
    return CameraImage(name, stamp_ns, pixels, Calibration(camera, camera_from_lidar, name))


class MadeUpFrames:
    """A `FrameSource` of ``count`` frames."""

    def __init__(self, count: int) -> None:
        self._frames = [make_frame(seed) for seed in range(count)]

    def __len__(self) -> int:
        return len(self._frames)

    def read(self, index: int) -> tuple[SensorFrame, Annotations]:
        return self._frames[index]

    def history(self, index: int, length: int) -> list[SensorFrame]:
        """None follows another."""
        return []


class MadeUpDrives:
    """A `FrameSource` of drives of four frames each."""

    LENGTH = 4

    def __init__(self, count: int) -> None:
        self._frames = [frame for seed in range(count) for frame in make_drive(seed, self.LENGTH)]

    def __len__(self) -> int:
        return len(self._frames)

    def read(self, index: int) -> tuple[SensorFrame, Annotations]:
        return self._frames[index]

    def history(self, index: int, length: int) -> list[SensorFrame]:
        first = max(index - index % self.LENGTH, index - length)
        return [frame for frame, _ in self._frames[first:index]]
