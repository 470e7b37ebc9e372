"""One picture of one frame: all cameras as they sit on the car, and the scene from above."""

from __future__ import annotations

from datetime import datetime, timezone

import cv2
import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry.boxes import Boxes3D
from aqr_perception.types import (
    CLASS_NAMES,
    Annotations,
    Detections,
    Mounting,
    SensorFrame,
)
from aqr_perception.visualization.birdseye import BirdsEyeView
from aqr_perception.visualization.camera_view import label, panel
from aqr_perception.visualization.colors import class_bgr

PANEL_WIDTH = 560
PANEL_HEIGHT = 315
GAP = 6
HEADER = 44
FOOTER = 40
REACH = 54.0
BACKGROUND = (38, 34, 32)


def draw_frame(frame: SensorFrame, detections: Detections, annotations: Annotations | None = None,
               mounting: Mounting | None = None, title: str = "") -> NDArray[np.uint8]:
    """Draw a frame.

    Args:
        frame: What the sensors saw; absent ones become grey panels.
        detections: In class colours.
        annotations: The truth, thin and white; objects without a LiDAR point are left out.
        mounting: The rig's.
        title: Stands in the header beside the time.

    Returns:
        (H, W, 3) BGR.
    """
    mounting = mounting or Mounting()
    colors = [class_bgr(label_) for label_ in detections.labels]
    truth = None if annotations is None else annotations.boxes[annotations.num_lidar_pts != 0]
    upper, lower = _arranged(frame, mounting)
    columns = max(len(upper), len(lower), 1)
    side = 2 * PANEL_HEIGHT + GAP
    width = columns * (PANEL_WIDTH + GAP) + side
    out = np.full((HEADER + side + FOOTER, width, 3), BACKGROUND, np.uint8)
    for row, indices in enumerate((upper, lower)):
        for column, index in enumerate(indices):
            view = panel(frame.images[index], frame.camera_names[index], PANEL_WIDTH, PANEL_HEIGHT,
                         detections.boxes, colors, truth)
            top, left = HEADER + row * (PANEL_HEIGHT + GAP), column * (PANEL_WIDTH + GAP)
            out[top:top + PANEL_HEIGHT, left:left + PANEL_WIDTH] = view
    scene = BirdsEyeView(side, REACH, mounting).draw(frame.lidar, detections.boxes, colors, truth)
    out[HEADER:HEADER + side, width - side:] = scene
    _header(out, frame, detections, truth, title)
    _legend(out, detections, truth is not None)
    return out


def _arranged(frame: SensorFrame, mounting: Mounting) -> tuple[list[int], list[int]]:
    """Cameras by where they look: those ahead from left to right, below them those behind.

    The row behind is ordered as a look into mirrors: the one to the left stands left. Cameras
    without calibration (absent ones) fill the rows up in the rig's order.
    """
    bearing: dict[int, float] = {}
    for index, image in enumerate(frame.images):
        if image is not None:
            model_from_lidar = mounting.model_from_lidar[:3, :3]
            axis = model_from_lidar @ image.calibration.camera_from_lidar[2, :3]
            bearing[index] = float(np.arctan2(-axis[0], axis[1]))  # 0 ahead, + to the left
    half = (len(frame.images) + 1) // 2
    ahead = sorted(bearing, key=lambda index: abs(bearing[index]))[:half]
    upper = sorted(ahead, key=lambda index: -bearing[index])
    behind = [index for index in bearing if index not in ahead]
    lower = sorted(behind, key=lambda index: np.sin(bearing[index]), reverse=True)
    for index in range(len(frame.images)):
        if index not in bearing:
            (upper if len(upper) < half else lower).append(index)
    return upper, lower


def _header(out: NDArray[np.uint8], frame: SensorFrame, detections: Detections,
            truth: Boxes3D | None, title: str) -> None:
    seconds = frame.stamp_ns * 1e-9
    when = datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    text = f"{title + '   ' if title else ''}{when} UTC   {len(detections)} detections"
    if truth is not None:
        text += f"   {len(truth)} objects in truth (white)"
    label(out, text, (14, 29), (235, 235, 235), 0.65)


def _legend(out: NDArray[np.uint8], detections: Detections, with_truth: bool) -> None:
    """Classes with how many of each were found."""
    counts = np.bincount(detections.labels, minlength=len(CLASS_NAMES))
    left, base = 14, out.shape[0] - 14
    for index, name in enumerate(CLASS_NAMES):
        text = f"{name.replace('_', ' ')} {counts[index]}"
        color = class_bgr(index) if counts[index] else (120, 120, 120)
        cv2.rectangle(out, (left, base - 12), (left + 12, base), color, -1)
        label(out, text, (left + 18, base), (235, 235, 235) if counts[index] else (140, 140, 140),
              0.5)
        left += 34 + cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0]
