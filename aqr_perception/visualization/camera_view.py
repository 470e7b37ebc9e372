"""One camera's picture with boxes and other layers on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry import rigid
from aqr_perception.geometry.boxes import EDGES, Boxes3D
from aqr_perception.geometry.camera import PinholeCamera
from aqr_perception.types import Calibration, CameraImage
from aqr_perception.visualization.drawing import (
    DARK,
    GREY,
    WHITE,
    Bgr,
    Picture,
    line,
    shade,
    tag,
    text_size,
    write,
)
from aqr_perception.visualization.view_limits import ViewLimits

FRONT_FACE = (0, 3, 7, 4)
"""Corners of the face that looks along the heading, in the order of `Boxes3D.corners`."""
BEND_STEPS = 12
"""Pieces that a line is drawn in where the lens bends it."""
SMALL = 40.0
"""Boxes lower than this [px] are drawn thin and without a label."""
LEAST_SEEN = 12.0
"""A box of which less than this [px] reaches into the picture has no label."""


class Layer(Protocol):
    """What can be drawn into a camera's picture."""

    def draw(self, picture: Picture, calibration: Calibration) -> None:
        """Draw into a picture (H, W, 3) of any size with the camera's proportions.

        Args:
            picture: BGR; drawn into.
            calibration: Of the camera at its full size.
        """


@dataclass(frozen=True)
class DrawnBoxes:
    """Boxes and how to draw them.

    Attributes:
        boxes: In the LiDAR frame.
        colors: One each.
        labels: A text each; empty for none.
        outline: Thin lines only, for the truth.
    """

    boxes: Boxes3D
    colors: Sequence[Bgr]
    labels: Sequence[str]
    outline: bool = False

    @staticmethod
    def truth(boxes: Boxes3D) -> DrawnBoxes:
        """Thin and white."""
        return DrawnBoxes(boxes, [WHITE] * len(boxes), [""] * len(boxes), outline=True)

    def draw(self, picture: Picture, calibration: Calibration) -> None:
        """Draw them, as `draw_boxes`."""
        draw_boxes(picture, calibration, self)


def draw_boxes(picture: Picture, calibration: Calibration, drawn: DrawnBoxes) -> None:
    """Draw boxes as wires into a picture, far ones first, the face along the heading shaded.

    Args:
        picture: (H, W, 3) BGR of any size with the camera's proportions; drawn into.
        calibration: Of the camera at its full size.
        drawn: What.
    """
    height, width = picture.shape[:2]
    camera = calibration.camera.resized(width, height)
    limits = ViewLimits(camera)
    corners = rigid.transform_points(calibration.camera_from_lidar,
                                     drawn.boxes.corners().reshape(-1, 3).astype(np.float64))
    corners = corners.reshape(-1, 8, 3)
    places: list[tuple[NDArray[np.float64], int]] = []
    for index in np.argsort(-np.linalg.norm(corners.mean(axis=1), axis=1)):
        extent = _draw_box(picture, camera, limits, corners[index], drawn.colors[index],
                           drawn.outline)
        if extent is not None and drawn.labels[index]:
            places.append((extent, int(index)))
    _draw_labels(picture, places[::-1], drawn)


def _draw_box(picture: Picture, camera: PinholeCamera, limits: ViewLimits,
              corners: NDArray[np.float64], color: Bgr, outline: bool
              ) -> NDArray[np.float64] | None:
    """Draw one box (8, 3) of the camera frame; returns its left, top, right, bottom [px]."""
    edges = np.array(EDGES)
    starts, ends, seen = limits.cut_lines(corners[edges[:, 0]], corners[edges[:, 1]])
    if not seen.any():
        return None
    steps = BEND_STEPS if camera.is_distorted else 1
    share = np.linspace(0, 1, steps + 1)[:, None]
    strokes = [camera.project(start + (end - start) * share)[0]
               for start, end in zip(starts[seen], ends[seen])]
    points = np.concatenate(strokes)
    extent = np.concatenate([points.min(axis=0), points.max(axis=0)])
    small = extent[3] - extent[1] < SMALL
    if not outline:
        face = limits.cut_face(corners[list(FRONT_FACE)])
        if len(face) > 2:
            shade(picture, camera.project(face)[0], color, 0.35)
    for stroke in strokes:
        line(picture, stroke, color, 1 if small or outline else 2)
    return extent


def _draw_labels(picture: Picture, places: list[tuple[NDArray[np.float64], int]],
                 drawn: DrawnBoxes) -> None:
    """Write what large boxes are above them; where two would overlap, only the nearer one's."""
    height, width = picture.shape[:2]
    taken: list[tuple[float, float, float, float]] = []
    for (left, top, right, bottom), index in places:
        if bottom - top < SMALL or min(right, width) - max(left, 0) < LEAST_SEEN:
            continue
        across, down = text_size(drawn.labels[index], 0.4)
        x = float(np.clip(left, 0, max(width - across - 10, 0)))
        y = float(np.clip(top - down - 11, 0, height - down - 9))
        mine = (x, y, x + across + 10, y + down + 9)
        if any(mine[0] < other[2] and other[0] < mine[2] and mine[1] < other[3]
               and other[1] < mine[3] for other in taken):
            continue
        taken.append(mine)
        tag(picture, drawn.labels[index], (x, y), DARK, drawn.colors[index], 0.4, alpha=0.85)


def panel(image: CameraImage | None, name: str, size: tuple[int, int], stamp_ns: int,
          layers: Sequence[Layer]) -> Picture:
    """One camera's panel: its picture cut to the panel's shape, layers, name; grey where absent.

    Args:
        image: The picture, or None.
        name: The camera's.
        size: Width and height of the panel [px].
        stamp_ns: The frame's; how far the picture lies from it stands beside the name [ns].
        layers: What is drawn on it, the first lowest.

    Returns:
        (height, width, 3) BGR.
    """
    width, height = size
    if image is None:
        return _absent(f"{name} absent", width, height)
    source_height, source_width = image.pixels.shape[:2]
    tall = round(width * source_height / source_width)
    out: Picture = np.asarray(
        cv2.resize(image.pixels, (width, tall), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    for layer in layers:
        layer.draw(out, image.calibration)
    if tall < height:
        out = np.pad(out, ((0, height - tall), (0, 0), (0, 0)), constant_values=30)
    top = max(tall - height, 0) // 2
    out = np.ascontiguousarray(out[top:top + height])
    tag(out, f"{name}  {(image.stamp_ns - stamp_ns) / 1e6:+.0f} ms", (6, 6))
    return out


def _absent(text: str, width: int, height: int) -> Picture:
    """Grey with stripes, so that it is not taken for a dark picture."""
    out = np.full((height, width, 3), 52, np.uint8)
    for x in range(-height, width, 28):
        line(out, np.array([[x, height], [x + height, 0]]), (60, 60, 60), 6)
    across, down = text_size(text, 0.6)
    write(out, text, ((width - across) / 2, (height + down) / 2), GREY, 0.6)
    return out
