"""The LiDAR drawn on the cameras' pictures: where the two disagree, calibration or stamps do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry import rigid
from aqr_perception.types import Calibration, Mounting, SensorFrame
from aqr_perception.visualization.camera_view import panel
from aqr_perception.visualization.colors import depth_bgr
from aqr_perception.visualization.drawing import GREY, Picture, tag, text_size, write
from aqr_perception.visualization.picture import BACKGROUND, GAP, HEADER, PANEL, arranged
from aqr_perception.visualization.view_limits import ViewLimits

NEAR, FAR = 3.0, 60.0
"""Depths [m] of the two ends of the colours."""
POINT_PIXELS = 2
"""Width and height of a point [px]."""
SCALE_WIDTH = 160
"""Of the colours' legend [px]."""


@dataclass(frozen=True)
class DrawnPoints:
    """Points coloured by their depth.

    Attributes:
        points: (N, 3) finite [m] in the LiDAR frame.
    """

    points: NDArray[np.floating]

    def draw(self, picture: Picture, calibration: Calibration) -> None:
        """Draw what the camera sees of them, near ones on top.

        Args:
            picture: (H, W, 3) BGR of any size with the camera's proportions; drawn into.
            calibration: Of the camera at its full size; its distortion counts.
        """
        height, width = picture.shape[:2]
        camera = calibration.camera.resized(width, height)
        seen = rigid.transform_points(calibration.camera_from_lidar,
                                      self.points.astype(np.float64))
        seen = seen[ViewLimits(camera).sees(seen)]
        seen = seen[np.argsort(-seen[:, 2], kind="stable")]
        pixels, visible = camera.project(seen)
        columns, rows = np.round(pixels[visible]).astype(np.int64).T
        colors = depth_bgr(seen[visible, 2], NEAR, FAR)
        for down in range(POINT_PIXELS):
            for across in range(POINT_PIXELS):
                picture[np.minimum(rows + down, height - 1),
                        np.minimum(columns + across, width - 1)] = colors


def draw_lidar_on_images(frame: SensorFrame, mounting: Mounting | None = None,
                         captions: Mapping[str, str] | None = None) -> Picture:
    """Draw the newest sweep on all pictures of a frame, arranged as `picture.draw_frame` does.

    Args:
        frame: What the sensors saw; absent cameras become grey panels.
        mounting: The rig's.
        captions: What stands below in a camera's panel, by the camera's name; ASCII.

    Returns:
        (H, W, 3) BGR; its size depends on the number of cameras alone.
    """
    captions = captions or {}
    layers = [] if frame.lidar is None else [DrawnPoints(frame.lidar.newest_sweep())]
    rows = arranged(frame, mounting or Mounting())
    width = len(rows[0]) * (PANEL[0] + GAP) - GAP
    height = HEADER + sum(bool(row) for row in rows) * (PANEL[1] + GAP)
    out = np.full((height, max(width, 0), 3), BACKGROUND, np.uint8)
    for row, indices in enumerate(rows):
        for column, index in enumerate(indices):
            name = frame.camera_names[index]
            view = panel(frame.images[index], name, PANEL, frame.stamp_ns, layers)
            if captions.get(name):
                tag(view, captions[name], (6, PANEL[1] - 26))
            x, y = column * (PANEL[0] + GAP), HEADER + row * (PANEL[1] + GAP)
            out[y:y + PANEL[1], x:x + PANEL[0]] = view
    _header(out, frame)
    return out


def _header(out: Picture, frame: SensorFrame) -> None:
    text = "LiDAR absent" if frame.lidar is None else "LiDAR on the images"
    x = 14 + write(out, text, (14, 32), scale=0.7) + 40
    near, far = f"{NEAR:g} m", f"{FAR:g} m"
    write(out, near, (x, 31), GREY)
    left = x + text_size(near)[0] + 8
    scale = depth_bgr(np.geomspace(NEAR, FAR, SCALE_WIDTH), NEAR, FAR)
    shown = out[20:32, left:left + SCALE_WIDTH]
    shown[:] = scale[:shown.shape[1]]
    write(out, far, (left + SCALE_WIDTH + 8, 31), GREY)
