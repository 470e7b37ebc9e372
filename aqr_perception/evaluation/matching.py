"""Which detection belongs to which truth, by distance on the ground."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aqr_perception.evaluation.frames import BoxTable


@dataclass(frozen=True)
class CandidatePairs:
    """Pairs of one class and frame that are close enough, in the order in which they may match.

    Attributes:
        detection: (P,) rank of the detection, best score first; ascending.
        truth: (P,) row of the truth.
        distance: (P,) between the centres in the x-y plane [m]; ascending for each detection.
    """

    detection: NDArray[np.int64]
    truth: NDArray[np.int64]
    distance: NDArray[np.float64]


def by_score(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """(N,) rows best first; of equal scores the later row first, as nuScenes has it."""
    return np.argsort(scores, kind="stable")[::-1]


def candidate_pairs(detections: BoxTable, truth: BoxTable, reach: float) -> CandidatePairs:
    """Find every pair of one frame whose centres are nearer than ``reach`` [m].

    Args:
        detections: Of one class, best first (`by_score`).
        truth: Of that class, frame after frame.
        reach: The largest distance at which `match` will be asked.
    """
    frame_after_frame = np.argsort(detections.frame, kind="stable")
    frames = np.intersect1d(detections.frame, truth.frame)
    detection_starts, detection_ends, truth_starts, truth_ends = (
        np.searchsorted(column, frames, side) for column in
        (detections.frame[frame_after_frame], truth.frame) for side in ("left", "right"))
    ranks, rows, distances = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
    for i in range(len(frames)):  # the matrix of a frame is small, that of all frames is not
        own = frame_after_frame[detection_starts[i]:detection_ends[i]]
        between = np.linalg.norm(
            detections.center[own, None] - truth.center[None, truth_starts[i]:truth_ends[i]],
            axis=-1)
        near, row = np.nonzero(between < reach)
        ranks.append(own[near])
        rows.append(row + truth_starts[i])
        distances.append(between[near, row])
    pairs = CandidatePairs(np.concatenate(ranks), np.concatenate(rows), np.concatenate(distances))
    order = np.lexsort((pairs.truth, pairs.distance, pairs.detection))
    return CandidatePairs(pairs.detection[order], pairs.truth[order], pairs.distance[order])


def match(pairs: CandidatePairs, distance: float, detections: int, truths: int
          ) -> NDArray[np.int64]:
    """Give each detection, best first, the nearest truth that is still free.

    Args:
        pairs: From `candidate_pairs`.
        distance: A match is nearer than this [m].
        detections: Their number.
        truths: Their number.

    Returns:
        (detections,) row of the truth by rank; -1 where there is none.
    """
    matched = [-1] * detections
    taken = [False] * truths
    close = pairs.distance < distance
    for rank, row in zip(pairs.detection[close].tolist(), pairs.truth[close].tolist()):
        if matched[rank] < 0 and not taken[row]:
            matched[rank] = row
            taken[row] = True
    return np.array(matched, dtype=np.int64)
