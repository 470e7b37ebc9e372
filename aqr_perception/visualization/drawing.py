"""Strokes that all pictures share, with OpenCV; coordinates are pixels, fractions count."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Bgr = tuple[int, int, int]
Picture = NDArray[np.uint8]

WHITE = (240, 240, 240)
GREY = (150, 150, 150)
DARK = (24, 22, 20)
FONT = cv2.FONT_HERSHEY_DUPLEX
_SHIFT = 4
"""OpenCV takes coordinates in 1/2^4 px."""
_FARTHEST = 1e6
"""Pixels; nothing is meant beyond, and OpenCV's integers hold it."""


def write(picture: Picture, text: str, place: tuple[float, float], color: Bgr = WHITE,
          scale: float = 0.5) -> float:
    """Write ASCII text with its baseline's left end at ``place``; returns its width [px]."""
    left, base = round(place[0]), round(place[1])
    cv2.putText(picture, text, (left, base), FONT, scale, color, 1, cv2.LINE_AA)
    return text_size(text, scale)[0]


def text_size(text: str, scale: float = 0.5) -> tuple[int, int]:
    """Width and height of a text above its baseline [px]."""
    (width, height), _ = cv2.getTextSize(text, FONT, scale, 1)
    return width, height


def tag(picture: Picture, text: str, corner: tuple[float, float], color: Bgr = WHITE,
        ground: Bgr = DARK, scale: float = 0.45, alpha: float = 0.7) -> None:
    """Write text on a ground of its own, ``corner`` being its upper left one."""
    width, height = text_size(text, scale)
    left, top = corner
    shade(picture, rectangle(left, top, width + 10, height + 9), ground, alpha)
    write(picture, text, (left + 5, top + height + 4), color, scale)


def rectangle(left: float, top: float, width: float, height: float) -> NDArray[np.float64]:
    """(4, 2) corners."""
    return np.array([[left, top], [left + width, top], [left + width, top + height],
                     [left, top + height]], dtype=np.float64)


def line(picture: Picture, points: NDArray[np.floating], color: Bgr, thickness: int = 1,
         closed: bool = False) -> None:
    """Draw a line through points (N, 2)."""
    cv2.polylines(picture, [_fixed(points)], closed, color, thickness, cv2.LINE_AA, _SHIFT)


def arrow(picture: Picture, start: NDArray[np.floating], end: NDArray[np.floating], color: Bgr,
          thickness: int = 1, head: float = 7.0) -> None:
    """Draw an arrow whose head is ``head`` px long at most, a third of the arrow at most."""
    along = np.asarray(end, np.float64) - start
    length = float(np.linalg.norm(along))
    if length < 1.0:
        return
    along /= length
    across = np.array([-along[1], along[0]])
    back = end - along * min(head, length / 3)
    barb = across * min(head, length / 3) * 0.5
    line(picture, np.stack([start, back]), color, thickness)
    fill(picture, np.stack([end, back + barb, back - barb]), color)


def fill(picture: Picture, polygon: NDArray[np.floating], color: Bgr) -> None:
    """Fill a convex polygon (N, 2)."""
    cv2.fillConvexPoly(picture, _fixed(polygon), color, cv2.LINE_AA, _SHIFT)


def shade(picture: Picture, polygon: NDArray[np.floating], color: Bgr, alpha: float) -> None:
    """Lay a colour over a convex polygon (N, 2); ``alpha`` 0 nothing, 1 opaque."""
    height, width = picture.shape[:2]
    low = np.floor(np.clip(polygon.min(axis=0), 0, [width, height])).astype(int)
    high = np.ceil(np.clip(polygon.max(axis=0) + 1, 0, [width, height])).astype(int)
    if (high <= low).any():
        return
    window = picture[low[1]:high[1], low[0]:high[0]]
    covered = window.copy()
    fill(covered, polygon - low, color)
    cv2.addWeighted(covered, alpha, window, 1 - alpha, 0, dst=window)


def _fixed(points: NDArray[np.floating]) -> NDArray[np.int32]:
    limited = np.clip(np.asarray(points, np.float64), -_FARTHEST, _FARTHEST)
    return np.round(limited * 2 ** _SHIFT).astype(np.int32)
