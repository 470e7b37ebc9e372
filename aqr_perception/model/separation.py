"""Detections of one class that stand too close together to be two objects.

A set predictor such as CMT learns to say each object once. A small one that was trained for an hour
has not; for such a network the weaker of two is left out, by the distance of their centres
(circle NMS; Yin et al., CenterPoint, 2021).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def kept_apart(centers: NDArray[np.floating], labels: NDArray[np.int64],
               separation: Sequence[float]) -> NDArray[np.bool_]:
    """Which detections stay.

    Args:
        centers: (N, 2) x, y [m], best first.
        labels: (N,) class index.
        separation: (K,) by class, the least distance of two centres [m]; 0: any.

    Returns:
        (N,) bool: no better one of the same class that stays is nearer than its class's distance.
    """
    kept = np.ones(len(centers), dtype=bool)
    for label in np.unique(labels):
        least = separation[label]
        if least <= 0:
            continue
        members = np.flatnonzero(labels == label)
        xy = centers[members].astype(np.float64)
        near = np.square(xy[:, None] - xy[None]).sum(-1) < least ** 2
        alive = np.ones(len(members), dtype=bool)
        for one in range(len(members)):
            if alive[one]:
                alive[one + 1:] &= ~near[one, one + 1:]
        kept[members] = alive
    return kept
