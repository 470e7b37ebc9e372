"""Points as they come, before anything is done with them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST_POINTS = 10_000_000
"""Of one cloud: above any LiDAR's, below what would fill the memory."""
LONGEST_DT_S = 60.0
"""No point of a cloud is older or newer than this [s]."""


def sound_points(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Leave out points whose numbers cannot be: one of them would spoil all that a network says.

    Args:
        points: (N, 5) x, y, z [m], intensity, dt [s].

    Returns:
        (M, 5); the same array where all are sound.

    Raises:
        ValueError: No point that is finite has a dt within `LONGEST_DT_S`: its unit is another.
    """
    finite = np.isfinite(points).all(axis=1)
    in_time = np.abs(points[:, 4]) <= LONGEST_DT_S  # nor what is not a number
    sound = finite & in_time
    if sound.all():
        return points
    if finite.any() and not sound.any():
        raise ValueError(f"the cloud's field dt goes to {np.abs(points[finite, 4]).max():g}; "
                         f"expected seconds, of at most {LONGEST_DT_S:g}")
    return points[sound]
