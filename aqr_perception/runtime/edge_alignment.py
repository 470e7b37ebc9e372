"""How well the LiDAR's edges lie on those of one camera's picture.

After Levinson and Thrun, "Automatic Online Calibration of Cameras and Lasers" (2013): where the
LiDAR sees something stand out before what is behind it, the picture mostly has an edge. The
picture's strength of edges, summed at those places, is largest for the right calibration; turned
calibrations tell what it would be by chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry import rigid
from aqr_perception.types import Calibration, CameraImage, LidarCloud
from aqr_perception.visualization.view_limits import ViewLimits

TURN_DEGREES = (0.5, 1.0, 2.0)
_DIRECTIONS = (("up", (1, 0, 0)), ("down", (-1, 0, 0)), ("right", (0, 1, 0)), ("left", (0, -1, 0)),
               ("clockwise", (0, 0, 1)), ("counterclockwise", (0, 0, -1)))
TURN_WORDS = tuple(f"{degrees:g} degrees {word}" for degrees in TURN_DEGREES
                   for word, _ in _DIRECTIONS)
"""Which way each turn moves the points in the picture."""
_TURNS = np.stack([np.eye(3), *(cv2.Rodrigues(np.radians(degrees) * np.array(axis, np.float64))[0]
                                for degrees in TURN_DEGREES for _, axis in _DIRECTIONS)])

CELL_DEGREES = (0.4, 1.4)
"""Across and along: a beam wide (0.33 degrees in nuScenes) and a ring high (1.33 degrees)."""
BESIDE = 3
"""Cells to each side in which what lies beside a point is looked for."""
LEAST_STEP, LEAST_SHARE = 1.0, 0.15
"""A point stands out where what lies beside it is farther by this [m] and by this share."""
NEAREST, FARTHEST = 1.0, 60.0
"""Range of points that count [m]."""
THICKNESS = 0.3
"""Points of a cell this much behind its nearest still belong to the same thing [m]."""
LONGER_SIDE = 800
"""Larger pictures are made smaller before their edges are taken [px]."""
SMOOTH, SPREAD = 1.0, 2.0
"""Blur before the gradient is taken, and of the gradient: a beam's width is 4 px [px]."""


@dataclass(frozen=True)
class EdgeSums:
    """What one picture gives.

    Attributes:
        strength: (1 + T,) sum of the picture's edge strength at the LiDAR's edges: as calibrated,
            then for each of `TURN_WORDS`.
        count: (1 + T,) edges that lie in the picture.
    """

    strength: NDArray[np.float64]
    count: NDArray[np.int64]

    def __add__(self, other: EdgeSums) -> EdgeSums:
        """Both together, as if of one picture."""
        return EdgeSums(self.strength + other.strength, self.count + other.count)


def edge_sums(image: CameraImage, cloud: LidarCloud) -> EdgeSums:
    """Measure one picture against the newest sweep of a cloud.

    The turns are about the axes of the camera. Only edges along the car's upright count: a LiDAR
    sees few others well, since its beams lie closer to each other across than along.
    """
    calibration = image.calibration
    points = standing_out(cloud.newest_sweep(), calibration)
    strength = edge_strength(image.pixels, calibration)
    height, width = strength.shape
    camera = calibration.camera.resized(width, height)
    pixels, visible = camera.project((points @ _TURNS.transpose(0, 2, 1)).reshape(-1, 3))
    columns, rows = np.round(np.where(visible[:, None], pixels, 0.0)).astype(np.int64).T
    found = np.where(visible, strength[rows, columns], 0.0).reshape(len(_TURNS), -1)
    return EdgeSums(found.sum(axis=1, dtype=np.float64),
                    visible.reshape(len(_TURNS), -1).sum(axis=1))


def standing_out(points: NDArray[np.floating], calibration: Calibration) -> NDArray[np.float64]:
    """Points behind whose left or right side, as the camera sees them, there is a gap in depth.

    Cells of the directions from the camera hold their nearest point each; so nothing need be known
    of the LiDAR's beams, and what the camera cannot see behind something near does not count.

    Args:
        points: (N, 3) finite [m] in the LiDAR frame.
        calibration: Of the camera.

    Returns:
        (E, 3) [m] in the camera frame.
    """
    seen = rigid.transform_points(calibration.camera_from_lidar, points.astype(np.float64))
    seen = seen[ViewLimits(calibration.camera).sees(seen)]
    distance = np.linalg.norm(seen, axis=1)
    kept = distance > NEAREST
    seen, distance = seen[kept], distance[kept]
    if not len(seen):
        return seen
    right, down = _upright(calibration)
    across = np.degrees(np.arctan2(seen[:, :2] @ right, seen[:, 2]))
    along = np.degrees(np.arcsin(np.clip(seen[:, :2] @ down / distance, -1, 1)))
    cells = np.floor(np.stack([along / CELL_DEGREES[1], across / CELL_DEGREES[0]])).astype(np.int64)
    row, column = cells - cells.min(axis=1, keepdims=True)
    column += BESIDE  # room to look beside the outermost
    nearest = np.full((row.max() + 1, column.max() + 1 + BESIDE), np.inf)
    np.minimum.at(nearest, (row, column), distance)
    step = np.maximum(LEAST_STEP, LEAST_SHARE * distance)
    stands_out = np.zeros(len(seen), bool)
    for side in (-1, 1):
        beside = np.full(len(seen), np.inf)
        for cell in range(1, BESIDE + 1):
            beside = np.where(np.isinf(beside), nearest[row, column + side * cell], beside)
        stands_out |= np.isfinite(beside) & (beside - distance > step)
    in_front = distance <= nearest[row, column] + THICKNESS
    return seen[stands_out & in_front & (distance < FARTHEST)]


def edge_strength(pixels: NDArray[np.uint8], calibration: Calibration) -> NDArray[np.float32]:
    """Change of brightness across the car's upright, spread to some pixels around.

    Args:
        pixels: (H, W, 3) BGR.
        calibration: Tells how the picture lies to the car's upright.

    Returns:
        (h, w), of the same proportions and at most `LONGER_SIDE` px long.
    """
    height, width = pixels.shape[:2]
    scale = min(1.0, LONGER_SIDE / max(height, width))
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    grey = cv2.cvtColor(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    smooth = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), SMOOTH)
    right, _ = _upright(calibration)
    gradient = (float(right[0]) * cv2.Sobel(smooth, cv2.CV_32F, 1, 0)
                + float(right[1]) * cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    return np.asarray(cv2.GaussianBlur(np.abs(gradient), (0, 0), SPREAD), dtype=np.float32)


def _upright(calibration: Calibration) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors (2,) to the right and down in the picture, as the LiDAR's z axis says.

    A camera that looks straight up or down has no such; its own axes are taken.
    """
    down = -calibration.camera_from_lidar[:2, 2]
    length = float(np.linalg.norm(down))
    down = down / length if length > 0.3 else np.array([0.0, 1.0])
    return np.array([down[1], -down[0]]), down
