"""The scene from above: points by height, range rings, boxes with heading and velocity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry import rigid
from aqr_perception.geometry.boxes import Boxes3D
from aqr_perception.types import LidarCloud, Mounting
from aqr_perception.visualization.camera_view import Bgr, label
from aqr_perception.visualization.colors import height_bgr

BACKGROUND = (24, 20, 18)
RING = (70, 62, 56)
VELOCITY_SECONDS = 1.0
"""A velocity is drawn as the way of this time [s]."""


@dataclass(frozen=True)
class BirdsEyeView:
    """A canvas over the ground with the car in the middle, its front up.

    Attributes:
        size: Width and height [px].
        reach: From the middle to an edge [m].
        mounting: How the LiDAR frame lies to the model frame, which gives forward and the ground.
    """

    size: int
    reach: float
    mounting: Mounting

    def draw(self, cloud: LidarCloud | None, boxes: Boxes3D, colors: Sequence[Bgr],
             truth: Boxes3D | None = None) -> NDArray[np.uint8]:
        """Draw it.

        Args:
            cloud: Points, or None where the LiDAR is absent.
            boxes: Detections in the LiDAR frame.
            colors: A box each.
            truth: Drawn thin and white.

        Returns:
            (size, size, 3) BGR.
        """
        out = np.full((self.size, self.size, 3), BACKGROUND, np.uint8)
        self._rings(out)
        if cloud is not None:
            self._points(out, cloud)
        else:
            label(out, "LiDAR absent", (self.size // 2 - 60, 40), (160, 160, 160))
        if truth is not None:
            self._boxes(out, truth, [(255, 255, 255)] * len(truth), 1)
        self._boxes(out, boxes, colors, 2)
        self._car(out)
        return out

    def pixels(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, 2) pixels of points (N, 3) of the LiDAR frame: forward is up."""
        moved = rigid.transform_points(self.mounting.model_from_lidar,
                                       np.asarray(points, np.float64))
        scale = self.size / (2 * self.reach)
        return np.stack([self.size / 2 + moved[:, 0] * scale,
                         self.size / 2 - moved[:, 1] * scale], axis=1)

    def _rings(self, out: NDArray[np.uint8]) -> None:
        middle = (self.size // 2, self.size // 2)
        for distance in range(10, int(self.reach * 1.4), 10):
            radius = round(distance * self.size / (2 * self.reach))
            cv2.circle(out, middle, radius, RING, 1, cv2.LINE_AA)
            if distance % 20 == 0 and distance < self.reach:
                label(out, f"{distance} m", (middle[0] + 4, middle[1] - radius + 4),
                      (150, 140, 130), 0.4)

    def _points(self, out: NDArray[np.uint8], cloud: LidarCloud) -> None:
        xyz = cloud.points[:, :3]
        xyz = xyz[np.isfinite(xyz).all(axis=1)]
        height = xyz[:, 2] + self.mounting.height
        order = np.argsort(height, kind="stable")  # high ones on top
        places = np.floor(self.pixels(xyz[order])).astype(np.int64)
        inside = ((places >= 0) & (places < self.size)).all(axis=1)
        columns, rows = places[inside].T
        out[rows, columns] = height_bgr(height[order][inside])

    def _boxes(self, out: NDArray[np.uint8], boxes: Boxes3D, colors: Sequence[Bgr],
               thickness: int) -> None:
        if not len(boxes):
            return
        corners = self.pixels(boxes.corners()[:, :4].reshape(-1, 3)).reshape(-1, 4, 2)
        ahead = boxes.center + np.stack([np.cos(boxes.yaw) * boxes.size[:, 0] * 0.75,
                                         np.sin(boxes.yaw) * boxes.size[:, 0] * 0.75,
                                         np.zeros(len(boxes))], axis=1)
        later = boxes.center.copy()
        later[:, :2] += np.nan_to_num(boxes.velocity) * VELOCITY_SECONDS
        for footprint, middle, front, end, speed, color in zip(
                corners, self.pixels(boxes.center), self.pixels(ahead), self.pixels(later),
                np.linalg.norm(np.nan_to_num(boxes.velocity), axis=1), colors):
            self._line(out, footprint, color, thickness, closed=True)
            self._line(out, np.stack([middle, front]), color, thickness)
            if speed > 0.5:
                a, b = (tuple(int(x) for x in np.clip(place, -9999, 9999))
                        for place in (middle, end))
                cv2.arrowedLine(out, a, b, (255, 255, 255), 1, cv2.LINE_AA, tipLength=0.25)

    @staticmethod
    def _line(out: NDArray[np.uint8], points: NDArray[np.float64], color: Bgr, thickness: int,
              closed: bool = False) -> None:
        fixed = np.round(np.clip(points, -9999, 9999) * 8).astype(np.int32)  # 1/8 px
        cv2.polylines(out, [fixed], closed, color, thickness, cv2.LINE_AA, shift=3)

    def _car(self, out: NDArray[np.uint8]) -> None:
        middle, scale = self.size / 2, self.size / (2 * self.reach)
        length, width = 4.5 * scale / 2, 1.9 * scale / 2
        shape = np.array([[middle - width, middle + length], [middle - width, middle - length / 2],
                          [middle, middle - length], [middle + width, middle - length / 2],
                          [middle + width, middle + length]])
        cv2.fillPoly(out, [np.round(shape).astype(np.int32)], (235, 235, 235), cv2.LINE_AA)
