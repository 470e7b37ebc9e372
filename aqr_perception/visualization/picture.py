"""One picture of one frame: all cameras as they sit on the car, and the scene from above."""

from __future__ import annotations

from datetime import datetime, timezone

import numpy as np
from numpy.typing import NDArray

from aqr_perception.types import (
    CLASS_NAMES,
    Annotations,
    Detections,
    Mounting,
    SensorFrame,
)
from aqr_perception.visualization.birdseye import BirdsEyeView
from aqr_perception.visualization.camera_view import DrawnBoxes, panel
from aqr_perception.visualization.colors import class_bgr, height_bgr
from aqr_perception.visualization.drawing import (
    GREY,
    WHITE,
    Picture,
    arrow,
    fill,
    line,
    rectangle,
    text_size,
    write,
)

PANEL = (640, 360)
GAP = 8
HEADER = 48
FOOTER = 44
REACH = 54.0
"""Of the scene from above [m]: that of the network."""
BACKGROUND = (34, 30, 28)


def draw_frame(frame: SensorFrame, detections: Detections, annotations: Annotations | None = None,
               mounting: Mounting | None = None, title: str = "") -> Picture:
    """Draw a frame.

    Args:
        frame: What the sensors saw; absent ones become grey panels.
        detections: In class colours.
        annotations: The truth, thin and white; objects without a LiDAR point are left out.
        mounting: The rig's.
        title: Stands in the header before the time; ASCII.

    Returns:
        (H, W, 3) BGR.
    """
    mounting = mounting or Mounting()
    labels = [f"{name.replace('_', ' ')} {score:.2f}"
              for name, score in zip(detections.class_names, detections.scores)]
    layers = [DrawnBoxes(detections.boxes, [class_bgr(label) for label in detections.labels],
                         labels)]
    if annotations is not None:
        layers.insert(0, DrawnBoxes.truth(annotations.boxes[annotations.num_lidar_pts != 0]))
    rows = arranged(frame, mounting)
    side = 2 * PANEL[1] + GAP
    left = len(rows[0]) * (PANEL[0] + GAP)
    out = np.full((HEADER + side + FOOTER, left + side, 3), BACKGROUND, np.uint8)
    for row, indices in enumerate(rows):
        for column, index in enumerate(indices):
            x, y = column * (PANEL[0] + GAP), HEADER + row * (PANEL[1] + GAP)
            out[y:y + PANEL[1], x:x + PANEL[0]] = panel(
                frame.images[index], frame.camera_names[index], PANEL, frame.stamp_ns, layers)
    scene = BirdsEyeView(side, REACH, mounting).draw(frame.lidar, frame.images, layers)
    out[HEADER:HEADER + side, left:] = scene
    _header(out, frame, detections, layers, title)
    _legend(out, detections, annotations is not None)
    return out


def arranged(frame: SensorFrame, mounting: Mounting) -> tuple[list[int], list[int]]:
    """Cameras by where they look: those ahead from left to right, below them those behind.

    The row behind is ordered as a look into mirrors: the one to the left stands left. A camera that
    is absent, whose calibration is therefore not known, is taken to look into the widest gap that
    the others leave, which is where it looks when the cameras see all round.
    """
    bearing: dict[int, float] = {}
    for index, image in enumerate(frame.images):
        if image is not None:
            axis = (mounting.model_from_lidar[:3, :3]
                    @ image.calibration.camera_from_lidar[2, :3])
            bearing[index] = float(np.arctan2(-axis[0], axis[1]))  # 0 ahead, + to the left
    for index, image in enumerate(frame.images):
        if image is None:
            bearing[index] = _widest_gap(list(bearing.values()))
    half = (len(frame.images) + 1) // 2
    by_side = sorted(bearing, key=lambda index: abs(bearing[index]))
    upper = sorted(by_side[:half], key=lambda index: -bearing[index])
    lower = sorted(by_side[half:], key=lambda index: -np.sin(bearing[index]))
    return upper, lower


def _widest_gap(bearings: list[float]) -> float:
    """The direction [rad] in the middle between two neighbours that are furthest apart."""
    if not bearings:
        return 0.0
    around = np.sort(bearings)
    gaps = np.diff(np.append(around, around[0] + 2 * np.pi))
    widest = int(gaps.argmax())
    return float((around[widest] + gaps[widest] / 2 + np.pi) % (2 * np.pi) - np.pi)


def _header(out: Picture, frame: SensorFrame, detections: Detections, layers: list[DrawnBoxes],
            title: str) -> None:
    seconds, nanoseconds = divmod(frame.stamp_ns, 1_000_000_000)
    when = datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    text = f"{title}    " if title else ""
    x = 14 + write(out, f"{text}{when}.{nanoseconds // 1_000_000:03d} UTC", (14, 32), scale=0.7)
    cameras = sum(image is not None for image in frame.images)
    facts = [f"{len(detections)} detections", f"{cameras} of {len(frame.images)} cameras",
             "no LiDAR" if frame.lidar is None else f"{len(frame.lidar.points)} points"]
    if len(layers) > 1:
        facts.insert(1, f"{len(layers[0].boxes)} objects in truth")
    write(out, "  |  ".join(facts), (x + 32, 32), GREY, 0.6)


def _legend(out: Picture, detections: Detections, with_truth: bool) -> None:
    """Classes with how many of each were found; and on the right what the scene's marks mean."""
    counts = np.bincount(detections.labels, minlength=len(CLASS_NAMES))
    x, base = 14.0, out.shape[0] - 16
    for index, name in enumerate(CLASS_NAMES):
        found = counts[index] > 0
        fill(out, rectangle(x, base - 12, 12, 12), class_bgr(index) if found else (80, 80, 80))
        text = f"{name.replace('_', ' ')} {counts[index]}"
        x += 48 + write(out, text, (x + 20, base), WHITE if found else GREY)
    x = out.shape[1] - 14.0
    for draw, text in ((_height_scale, "height 0 to 3 m"), (_motion_sign, "1 s of motion"),
                       *([(_truth_sign, "truth")] if with_truth else [])):
        x -= text_size(text)[0]
        write(out, text, (x, base), GREY)
        x -= 50
        draw(out, x, base)
        x -= 28


def _height_scale(out: Picture, x: float, base: float) -> None:
    colors: NDArray[np.uint8] = height_bgr(np.linspace(0, 3, 42))
    left, bottom = round(x), round(base)
    out[bottom - 10:bottom, left:left + 42] = colors


def _motion_sign(out: Picture, x: float, base: float) -> None:
    arrow(out, np.array([x + 6.0, base - 5.0]), np.array([x + 42.0, base - 5.0]), WHITE)


def _truth_sign(out: Picture, x: float, base: float) -> None:
    line(out, rectangle(x + 14, base - 11, 26, 11), WHITE, closed=True)
