"""Several sweeps of a LiDAR as one cloud, the car's motion between them taken out."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry import rigid

NEAREST = 2.5
"""Points of older sweeps closer to the sensor than this [m] are left out: they are the car itself,
or beams without a return, and would stand behind the car that has moved on."""


def far_points(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Leave out what is closer to the sensor than `NEAREST`.

    Args:
        points: (N, 5) of one sweep, as `join_sweeps` takes them.

    Returns:
        (M, 5); the same array where nothing is near.
    """
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    far = x * x + y * y + z * z >= NEAREST ** 2
    return points if far.all() else points[far]


def join_sweeps(newest: NDArray[np.float32],
                older: Iterable[tuple[NDArray[np.float32], rigid.Matrix, float]]
                ) -> NDArray[np.float32]:
    """Put older sweeps behind the newest.

    What moved by itself leaves a trail; ``dt`` tells the network how old each part of it is.

    Args:
        newest: (N, 5) x, y, z [m], intensity, dt [s], in the LiDAR frame at the newest stamp.
        older: For each of the others its `far_points` (M, 5) in the LiDAR frame at their own
            stamp, the transform newest_from_older (4, 4), and how much older it is [s].

    Returns:
        (N + ..., 5), the newest first; dt of the others grows by their age.
    """
    older = list(older)
    joined = np.empty((len(newest) + sum(len(points) for points, _, _ in older), 5), np.float32)
    joined[:len(newest)] = newest
    begin = len(newest)
    for points, newest_from_older, age in older:
        moved = joined[begin:begin + len(points)]
        turn = np.eye(5, dtype=np.float32)  # all five columns in one product: intensity, dt stay
        turn[:3, :3] = newest_from_older[:3, :3].T
        rigid.rows_times(points, turn, moved)
        moved += np.array([*newest_from_older[:3, 3], 0.0, age], np.float32)
        begin += len(points)
    return joined
