"""What a camera can see, as planes to cut lines and faces at, so that nothing is drawn mirrored.

A line that runs behind the camera has no projection there, and one that runs far out of the view
of a distorted lens would be folded back into the picture by the lens polynomial. Both are cut in
space, before projection.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry.camera import PinholeCamera

NEAR = 0.2
"""Depth [m] of the nearest thing that is drawn."""
MARGIN = 0.02
"""How far beyond the picture's border things are kept, as a share of the picture."""
STEEPEST = 8.0
"""Slope (x/z) that no view reaches beyond: 83° to each side."""
_BORDER_PIXELS = 24


class ViewLimits:
    """The space that a camera sees: in front of it, between four planes through its centre.

    Args:
        camera: Its lens.

    Attributes:
        slopes: Left, right (x/z), upper and lower (y/z) limit.
    """

    def __init__(self, camera: PinholeCamera) -> None:
        fraction = np.linspace(-MARGIN, 1 + MARGIN, _BORDER_PIXELS)
        ends = np.array([-MARGIN, 1 + MARGIN])
        across = np.stack(np.meshgrid(fraction, ends), axis=-1).reshape(-1, 2)
        down = np.stack(np.meshgrid(ends, fraction), axis=-1).reshape(-1, 2)
        border = np.concatenate([across, down]) * [camera.width, camera.height]
        with np.errstate(all="ignore"):  # a lens may have no inverse in its corners
            rays = camera.unproject(border, 1.0)[:, :2]
        rays = np.nan_to_num(rays, nan=0.0, posinf=STEEPEST, neginf=-STEEPEST)
        left, top = np.clip(rays.min(axis=0), -STEEPEST, STEEPEST)
        right, bottom = np.clip(rays.max(axis=0), -STEEPEST, STEEPEST)
        self.slopes = (float(left), float(right), float(top), float(bottom))
        # A point p of the camera frame is inside where planes @ p ≥ offsets.
        self._planes = np.array([[0, 0, 1], [1, 0, -left], [-1, 0, right], [0, 1, -top],
                                 [0, -1, bottom]], dtype=np.float64)
        self._offsets = np.array([NEAR, 0, 0, 0, 0])

    def sees(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(N,) which points (N, 3) [m] of the camera frame lie inside."""
        return (points @ self._planes.T >= self._offsets).all(axis=1)

    def cut_lines(self, starts: NDArray[np.float64], ends: NDArray[np.float64]
                  ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Cut lines to what is seen.

        Args:
            starts: (N, 3) [m] in the camera frame.
            ends: (N, 3).

        Returns:
            The cut starts and ends (N, 3), and (N,) whether anything of the line is seen.
        """
        from_start = starts @ self._planes.T - self._offsets
        from_end = ends @ self._planes.T - self._offsets
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = from_start / (from_start - from_end)
        # Going in raises the lower end of what is seen, going out lowers the upper one.
        lower = np.where((from_start < 0) & (from_end >= 0), crossing, 0.0).max(axis=1)
        upper = np.where((from_start >= 0) & (from_end < 0), crossing, 1.0).min(axis=1)
        seen = ~((from_start < 0) & (from_end < 0)).any(axis=1) & (lower < upper)
        along = ends - starts
        return starts + lower[:, None] * along, starts + upper[:, None] * along, seen

    def cut_face(self, corners: NDArray[np.float64]) -> NDArray[np.float64]:
        """Cut a convex face (N, 3) to what is seen (M, 3), M = 0 for nothing.

        One plane after another (Sutherland and Hodgman, 1974).
        """
        for plane, offset in zip(self._planes, self._offsets):
            distance = corners @ plane - offset
            kept = []
            for i in range(len(corners)):
                before = i - 1
                if (distance[i] >= 0) != (distance[before] >= 0):
                    share = distance[before] / (distance[before] - distance[i])
                    kept.append(corners[before] + share * (corners[i] - corners[before]))
                if distance[i] >= 0:
                    kept.append(corners[i])
            corners = np.array(kept).reshape(-1, 3)
        return corners
