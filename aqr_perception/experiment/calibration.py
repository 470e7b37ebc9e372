"""How well a gate tells what to leave out, and which of two sensors that disagree lies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Numbers = Mapping[str, Any]
"""Of one frame, see `watching`."""


def auroc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative; ties: half.

    Args:
        scores: (N,).
        positive: (N,) bool.

    Returns:
        0 to 1; NaN where there are no positives or no negatives.
    """
    values, wanted = np.asarray(scores, np.float64), np.asarray(positive, bool)
    positives = int(wanted.sum())
    negatives = len(wanted) - positives
    if not positives or not negatives:
        return math.nan
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]  # equal ones share the mean of theirs
    above = ranks[wanted].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def sensor_auroc(faulty: Iterable[Numbers], clean: Iterable[Numbers]) -> float:
    """Of "leave out this whole sensor", from the share of attention that the gate lets it keep.

    Positives are the sensors of faulty frames that are better left out; negatives are the others,
    and all those of clean frames. NaN where nothing is to be left out as a whole.
    """
    scores: list[float] = []
    wanted: list[bool] = []
    for numbers in (*faulty, *clean):
        for kept, leave_out in zip(numbers.get("kept", ()), numbers.get("leave_out", ())):
            if kept is not None and leave_out is not None:
                scores.append(1 - kept)
                wanted.append(leave_out > 0.5)
    return auroc(scores, wanted)


def share_kept(frames: Iterable[Numbers], leave_out: bool) -> float:
    """Mean share of its attention that the gate lets a sensor keep; AUROC says only the order.

    Args:
        frames: Of one fault, or clean ones.
        leave_out: Of sensors that are better left out (0 would be right), or of the others (1).

    Returns:
        0 to 1; NaN without such sensors.
    """
    kept = [share for numbers in frames
            for share, better_without in zip(numbers.get("kept", ()), numbers.get("leave_out", ()))
            if share is not None and better_without is not None
            and (better_without > 0.5) == leave_out]
    return float(np.mean(kept)) if kept else math.nan


def share_put_right(frames: Iterable[Numbers]) -> float:
    """Share of frames in which a sensor was put right; NaN where none ever is."""
    places = [numbers["put_right"][:3] for numbers in frames if numbers.get("put_right")]
    return float(np.mean([any(place) for place in places])) if places else math.nan


def mean_of(name: str, frames: Iterable[Numbers]) -> float:
    """Mean of a number over the frames that have it; NaN without any."""
    values = [numbers[name] for numbers in frames if numbers.get(name) is not None]
    return float(np.mean(values)) if values else math.nan


def blame_auroc(lidar_lies: Sequence[Numbers], cameras_lie: Sequence[Numbers]) -> float:
    """Of "it is the LiDAR that lies" on matched pairs, which differ in who does.

    The score is how much less the gate lets the LiDAR keep than the cameras on the average. Frames
    in which neither is better left out (the car stood) do not count.
    """
    scores, wanted = [], []
    for frames, lidar in ((lidar_lies, True), (cameras_lie, False)):
        for numbers in frames:
            kept, leave_out = numbers.get("kept", ()), numbers.get("leave_out", ())
            cameras = [value for value in kept[1:] if value is not None]
            if not cameras or kept[0] is None or not any(leave_out):
                continue
            scores.append(float(np.mean(cameras)) - kept[0])
            wanted.append(lidar)
    return auroc(scores, wanted)
