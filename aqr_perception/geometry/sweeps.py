"""Several sweeps of a LiDAR as one cloud, the car's motion between them taken out."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry import rigid

NEAREST = 2.5
"""Points of older sweeps closer to the sensor than this [m] are left out: they are the car itself,
or beams without a return, and would stand behind the car that has moved on."""


def join_sweeps(newest: NDArray[np.float32],
                older: Iterable[tuple[NDArray[np.float32], rigid.Matrix, float]]
                ) -> NDArray[np.float32]:
    """Put older sweeps behind the newest.

    What moved by itself leaves a trail; ``dt`` tells the network how old each part of it is.

    Args:
        newest: (N, 5) x, y, z [m], intensity, dt [s], in the LiDAR frame at the newest stamp.
        older: For each of the others its points (M, 5) in the LiDAR frame at their own stamp, the
            transform newest_from_older (4, 4), and how much older it is [s].

    Returns:
        (N + ..., 5), the newest first; dt of the others grows by their age.
    """
    parts = [newest]
    for points, newest_from_older, age in older:
        far = np.square(points[:, :3]).sum(axis=1) >= NEAREST ** 2
        kept = points[far]
        matrix = newest_from_older.astype(np.float32)
        moved = np.empty_like(kept)
        moved[:, :3] = kept[:, :3] @ matrix[:3, :3].T + matrix[:3, 3]
        moved[:, 3], moved[:, 4] = kept[:, 3], kept[:, 4] + np.float32(age)
        parts.append(moved)
    return np.concatenate(parts)
