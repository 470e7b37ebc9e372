"""One colour a class, and height as colour for points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aqr_perception.types import CLASS_NAMES

# RGB. Neighbours in the list differ in hue and in lightness, so that the colour-blind tell them;
# none is white or grey, which stand for the truth and for what is absent.
_RGB = {
    "car": (255, 158, 27), "truck": (255, 99, 71), "construction_vehicle": (233, 150, 190),
    "bus": (255, 215, 80), "trailer": (205, 133, 63), "barrier": (64, 205, 205),
    "motorcycle": (255, 61, 140), "bicycle": (220, 40, 220), "pedestrian": (70, 160, 255),
    "traffic_cone": (120, 220, 130)}


def class_rgb(label: int) -> tuple[int, int, int]:
    """Red, green, blue 0..255 of a class."""
    return _RGB[CLASS_NAMES[label]]


def class_bgr(label: int) -> tuple[int, int, int]:
    """The same in OpenCV's order."""
    red, green, blue = class_rgb(label)
    return blue, green, red


def height_bgr(height: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Colour of points by height above the ground [m]: blue at 0 by green to pale at 3 and above.

    Args:
        height: (N,).

    Returns:
        (N, 3) BGR.
    """
    stops = np.array([[165, 100, 50], [180, 165, 60], [120, 205, 130], [150, 235, 245]], np.float64)
    place = np.clip(np.asarray(height, np.float64), 0, 3)
    return np.stack([np.interp(place, np.arange(4), stops[:, channel]) for channel in range(3)],
                    axis=1).astype(np.uint8)


def depth_bgr(depth: NDArray[np.floating], near: float, far: float) -> NDArray[np.uint8]:
    """Colour of points by depth [m], evenly over its logarithm: red at ``near`` to blue at ``far``.

    Args:
        depth: (N,) above 0.
        near: Depth of the red end and before it [m].
        far: Depth of the blue end and beyond [m].

    Returns:
        (N, 3) BGR.
    """
    stops = np.array([[40, 40, 255], [0, 165, 255], [60, 255, 255], [90, 230, 60], [255, 200, 0],
                      [255, 70, 60]], np.float64)
    place = np.log(np.asarray(depth, np.float64) / near) / np.log(far / near) * (len(stops) - 1)
    return np.stack([np.interp(place, np.arange(len(stops)), stops[:, channel])
                     for channel in range(3)], axis=1).astype(np.uint8)
