"""A frame as one picture: all cameras with the boxes drawn in, for the eye to check."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry import rigid
from aqr_perception.geometry.boxes import EDGES
from aqr_perception.types import CLASS_NAMES, Annotations, CameraImage, SensorFrame

COLORS = ((0, 200, 255), (255, 130, 0), (0, 130, 255), (255, 0, 255), (150, 120, 255), (0, 0, 255),
          (255, 255, 0), (80, 255, 160), (0, 255, 0), (0, 70, 255))
"""BGR of each class."""
_LAYOUT = ("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_LEFT", "CAM_BACK",
           "CAM_BACK_RIGHT")
_NEAR = 0.3


def contact_sheet(frame: SensorFrame, annotations: Annotations | None = None,
                  seen_only: bool = True) -> NDArray[np.uint8]:
    """Pictures side by side in rows of three.

    Args:
        frame: Absent cameras stay grey.
        annotations: Boxes to draw; None draws none.
        seen_only: Leave out boxes without a LiDAR point.

    Returns:
        (H, W, 3) uint8 BGR.
    """
    by_name = dict(zip(frame.camera_names, frame.images))
    order = [name for name in _LAYOUT if name in by_name]
    order += [name for name in frame.camera_names if name not in order]
    shapes = [image.pixels.shape for image in frame.images if image is not None]
    if not shapes:
        raise ValueError("the frame has no picture to show")
    blank = np.full(shapes[0], 128, np.uint8)
    tiles = []
    for name in order:
        image = by_name[name]
        tiles.append(blank if image is None else image.pixels if annotations is None
                     else draw_boxes(image, annotations, seen_only))
    tiles += [blank] * (-len(tiles) % 3)
    return np.vstack([np.hstack(tiles[k:k + 3]) for k in range(0, len(tiles), 3)])


def draw_boxes(image: CameraImage, annotations: Annotations, seen_only: bool = True
               ) -> NDArray[np.uint8]:
    """A picture with the edges of the boxes that lie before the camera."""
    pixels = image.pixels.copy()
    camera = image.calibration.camera
    corners = rigid.transform_points(image.calibration.camera_from_lidar,
                                     annotations.boxes.corners().astype(np.float64))
    for label, points, box in zip(annotations.labels, annotations.num_lidar_pts, corners):
        if seen_only and points == 0:
            continue
        for first, second in EDGES:
            _draw_edge(pixels, box[first], box[second], camera.intrinsics,
                       COLORS[label % len(CLASS_NAMES)])
    return pixels


def _draw_edge(pixels: NDArray[np.uint8], start: NDArray[np.float64], end: NDArray[np.float64],
               intrinsics: NDArray[np.float64], color: tuple[int, int, int]) -> None:
    """One edge, cut where it passes behind the camera."""
    if start[2] < end[2]:
        start, end = end, start
    if start[2] < _NEAR:
        return
    if end[2] < _NEAR:
        end = start + (end - start) * (start[2] - _NEAR) / (start[2] - end[2])
    ends = [(intrinsics @ point)[:2] / point[2] for point in (start, end)]
    a, b = (tuple(round(float(x)) for x in np.clip(pixel, -20_000, 20_000)) for pixel in ends)
    cv2.line(pixels, a, b, color, 1, cv2.LINE_AA)
