"""The scene from above: points by height, range rings, boxes with heading and velocity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry import rigid
from aqr_perception.types import CameraImage, LidarCloud, Mounting
from aqr_perception.visualization.camera_view import DrawnBoxes
from aqr_perception.visualization.colors import height_bgr
from aqr_perception.visualization.drawing import (
    GREY,
    WHITE,
    Bgr,
    Picture,
    arrow,
    fill,
    line,
    shade,
    tag,
    text_size,
    write,
)
from aqr_perception.visualization.view_limits import ViewLimits

BACKGROUND = (20, 17, 15)
RING = (66, 58, 52)
VIEW = (120, 105, 90)
VIEW_REACH = 11.0
"""Length of the sectors that show where cameras look [m]."""
VELOCITY_SECONDS = 1.0
"""A velocity is drawn as the way of this time [s]."""
SLOWEST = 0.5
"""Slower objects [m/s] have no arrow."""


@dataclass(frozen=True)
class BirdsEyeView:
    """A canvas over the ground with the LiDAR in the middle, the car's front up.

    Attributes:
        size: Width and height [px].
        reach: From the middle to an edge [m].
        mounting: How the LiDAR frame lies to the model frame, which gives forward and the ground.
    """

    size: int
    reach: float
    mounting: Mounting

    @property
    def scale(self) -> float:
        """Pixels a metre."""
        return self.size / (2 * self.reach)

    def draw(self, cloud: LidarCloud | None, images: Sequence[CameraImage | None],
             layers: Sequence[DrawnBoxes]) -> Picture:
        """Draw it.

        Args:
            cloud: Points, or None where the LiDAR is absent.
            images: The cameras, for the sectors in which they look.
            layers: Boxes in the LiDAR frame, the first lowest.

        Returns:
            (size, size, 3) BGR.
        """
        out = np.full((self.size, self.size, 3), BACKGROUND, np.uint8)
        for image in images:
            if image is not None:
                self._view(out, image)
        self._rings(out)
        if cloud is not None:
            self._points(out, cloud)
        self._car(out)
        for layer in layers:
            self._boxes(out, layer)
        self._distances(out)
        if cloud is None:
            text = "LiDAR absent"
            write(out, text, ((self.size - text_size(text, 0.6)[0]) / 2, 30), GREY, 0.6)
        return out

    def pixels(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, 2) pixels of points (N, 3) of the LiDAR frame: forward is up."""
        moved = rigid.transform_points(self.mounting.model_from_lidar,
                                       np.asarray(points, np.float64))
        return self.size / 2 + moved[:, :2] * [self.scale, -self.scale]

    def _view(self, out: Picture, image: CameraImage) -> None:
        """The sector that a camera sees, from where it sits."""
        left, right, _, _ = ViewLimits(image.calibration.camera).slopes
        angles = np.linspace(np.arctan(left), np.arctan(right), 12)
        arc = VIEW_REACH * np.stack([np.sin(angles), np.zeros(12), np.cos(angles)], axis=1)
        lidar_from_camera = rigid.inverse(image.calibration.camera_from_lidar)
        sector = rigid.transform_points(lidar_from_camera, np.concatenate([np.zeros((1, 3)), arc]))
        shade(out, self.pixels(sector), VIEW, 0.16)

    def _rings(self, out: Picture) -> None:
        middle = (self.size // 2, self.size // 2)
        for distance in range(10, int(self.reach * 1.5), 10):
            cv2.circle(out, middle, round(distance * self.scale), RING, 1, cv2.LINE_AA)

    def _distances(self, out: Picture) -> None:
        """Numbers on every second ring, to the lower right, where a road seldom is."""
        for distance in range(20, int(self.reach), 20):
            place = self.size / 2 + distance * self.scale * np.sqrt(0.5)
            tag(out, f"{distance} m", (place - 18, place - 8), GREY, BACKGROUND, 0.36)

    def _points(self, out: Picture, cloud: LidarCloud) -> None:
        xyz = cloud.points[:, :3]
        xyz = xyz[np.isfinite(xyz).all(axis=1)]
        height = xyz[:, 2] + self.mounting.height
        order = np.argsort(height, kind="stable")  # high ones on top
        places = np.floor(self.pixels(xyz[order]))
        inside = ((places >= 0) & (places < self.size)).all(axis=1)
        columns, rows = places[inside].astype(np.int64).T
        out[rows, columns] = height_bgr(height[order][inside])

    def _boxes(self, out: Picture, layer: DrawnBoxes) -> None:
        boxes = layer.boxes
        corners = self.pixels(boxes.corners()[:, :4].reshape(-1, 3)).reshape(-1, 4, 2)
        velocity = np.where(np.isfinite(boxes.velocity), boxes.velocity, 0.0)
        later = boxes.center.copy()
        later[:, :2] += velocity * VELOCITY_SECONDS
        centers, ends = self.pixels(boxes.center), self.pixels(later)
        for i, color in enumerate(layer.colors):
            if not layer.outline:
                shade(out, corners[i], color, 0.3)
            line(out, corners[i], color, closed=True)
            line(out, np.stack([centers[i], corners[i, [0, 3]].mean(axis=0)]), color)
            if not layer.outline and np.linalg.norm(velocity[i]) > SLOWEST:
                arrow(out, centers[i], ends[i], _lighter(color))

    def _car(self, out: Picture) -> None:
        """A car's outline round the LiDAR, as large as it is."""
        half_width, front, back = 0.95, 2.9, 1.7
        shape = np.array([[-half_width, -back], [-half_width, front - 0.7], [0, front],
                          [half_width, front - 0.7], [half_width, -back]])
        fill(out, self.size / 2 + shape * [self.scale, -self.scale], WHITE)


def _lighter(color: Bgr) -> Bgr:
    """Half way to white."""
    blue, green, red = ((channel + 255) // 2 for channel in color)
    return blue, green, red
