"""One camera's picture with boxes on it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry import rigid
from aqr_perception.geometry.boxes import EDGES, Boxes3D
from aqr_perception.types import Calibration, CameraImage

NEAR = 0.3
"""Depth [m] at which lines that run behind the camera are cut."""
STEPS = 12
"""Pieces a line is drawn in where the lens bends it."""
FRONT_FACE = ((0, 5), (1, 4))
"""Diagonals of the face that looks along the heading, in the order of `Boxes3D.corners`."""

Bgr = tuple[int, int, int]


def draw_boxes(picture: NDArray[np.uint8], calibration: Calibration, boxes: Boxes3D,
               colors: Sequence[Bgr], thickness: int = 2) -> None:
    """Draw boxes of the LiDAR frame as wires into a picture, their front crossed.

    Args:
        picture: (H, W, 3) BGR of any size with the camera's proportions; drawn into.
        calibration: Of the camera at its full size.
        boxes: In the LiDAR frame.
        colors: A box each.
        thickness: Of the lines [px].
    """
    height, width = picture.shape[:2]
    camera = calibration.camera.resized(width, height)
    scaled = Calibration(camera, calibration.camera_from_lidar)
    order = np.argsort(-np.linalg.norm(boxes.center, axis=1))  # near ones over far ones
    corners = rigid.transform_points(calibration.camera_from_lidar,
                                     boxes.corners().reshape(-1, 3).astype(np.float64))
    corners = corners.reshape(-1, 8, 3)
    for index in order:
        if corners[index, :, 2].max() <= NEAR:
            continue
        for start, end in (*EDGES, *FRONT_FACE):
            _draw_line(picture, scaled, corners[index, start], corners[index, end],
                       colors[index], thickness if (start, end) in EDGES else 1)


def _draw_line(picture: NDArray[np.uint8], calibration: Calibration, start: NDArray[np.float64],
               end: NDArray[np.float64], color: Bgr, thickness: int) -> None:
    """Draw a line of the camera frame, cut at the near plane."""
    if start[2] < end[2]:
        start, end = end, start
    if start[2] <= NEAR:
        return
    if end[2] < NEAR:
        end = start + (end - start) * (start[2] - NEAR) / (start[2] - end[2])
    steps = STEPS if calibration.camera.is_distorted else 1
    points = start + (end - start) * np.linspace(0, 1, steps + 1)[:, None]
    pixels, _ = calibration.camera.project(points)
    limit = 4.0 * max(picture.shape)  # OpenCV draws in 16-bit fixed point
    if not np.isfinite(pixels).all() or np.abs(pixels).max() > limit * 4:
        pixels = np.clip(np.nan_to_num(pixels, nan=0.0), -limit * 4, limit * 4)
    cv2.polylines(picture, [np.round(pixels).astype(np.int32)], False, color, thickness,
                  cv2.LINE_AA)


def panel(image: CameraImage | None, name: str, width: int, height: int, boxes: Boxes3D,
          colors: Sequence[Bgr], truth: Boxes3D | None = None) -> NDArray[np.uint8]:
    """One camera's panel: its picture cut to the panel's shape, boxes, name; grey where absent.

    Args:
        image: The picture, or None.
        name: The camera's.
        width: Of the panel [px].
        height: Likewise.
        boxes: Detections, in the LiDAR frame.
        colors: A box each.
        truth: Drawn thin and white.

    Returns:
        (height, width, 3) BGR.
    """
    if image is None:
        empty = np.full((height, width, 3), 58, np.uint8)
        label(empty, f"{name}  absent", (width // 2 - 70, height // 2), (150, 150, 150))
        return empty
    source_height, source_width = image.pixels.shape[:2]
    tall = round(width * source_height / source_width)
    out: NDArray[np.uint8] = np.asarray(
        cv2.resize(image.pixels, (width, tall), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    if truth is not None:
        draw_boxes(out, image.calibration, truth, [(255, 255, 255)] * len(truth), 1)
    draw_boxes(out, image.calibration, boxes, colors, 2)
    if tall < height:
        out = np.pad(out, ((0, height - tall), (0, 0), (0, 0)), constant_values=30)
    top = (tall - height) // 2 if tall > height else 0
    out = np.ascontiguousarray(out[top:top + height])
    label(out, name, (10, 24), (255, 255, 255))
    return out


def label(picture: NDArray[np.uint8], text: str, place: tuple[int, int], color: Bgr,
          scale: float = 0.55) -> None:
    """Write text with a dark edge, readable on anything."""
    for shade, thickness in (((20, 20, 20), 4), (color, 1)):
        cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, shade, thickness,
                    cv2.LINE_AA)
