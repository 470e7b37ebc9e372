"""Where the time goes: percentiles of each stage over the last frames. Pure Python."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

STAGES = ("wait", "decode", "preprocess", "transfer", "inference", "postprocess", "publish",
          "stamp_to_publish")
"""In order: from the anchor's arrival to the start of work, messages → frame, the four of
`runtime.pipeline.StageTimes`, the sending; and the whole, from the frame's stamp."""
WINDOW = 200
"""Frames that the percentiles are taken of."""


@dataclass(frozen=True)
class Percentiles:
    """Of one stage over the window.

    Attributes:
        count: How many frames the window holds.
        p50: Half of them took no longer [ms].
        p90: Nine in ten.
        p99: 99 in a hundred.
    """

    count: int
    p50: float
    p90: float
    p99: float


def percentile(ordered: list[float], share: float) -> float:
    """Value below which a share of the values lies, between two of them by linear interpolation.

    Args:
        ordered: Ascending, at least one.
        share: 0 to 1.
    """
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


class LatencyWindow:
    """The last frames' times; one thread adds while another reads.

    Args:
        size: Frames that are kept.
    """

    def __init__(self, size: int = WINDOW) -> None:
        self._size = size
        self._times: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def add(self, times_ms: Mapping[str, float]) -> None:
        """Take one frame's times by stage [ms]; a frame may lack some."""
        with self._lock:
            for stage, time_ms in times_ms.items():
                self._times.setdefault(stage, deque(maxlen=self._size)).append(time_ms)

    def summary(self) -> dict[str, Percentiles]:
        """Percentiles by stage, in the order of `STAGES`, then what else was added."""
        with self._lock:
            kept = {stage: list(times) for stage, times in self._times.items()}
        order = sorted(kept, key=lambda stage: STAGES.index(stage) if stage in STAGES
                       else len(STAGES))
        return {stage: _percentiles(sorted(kept[stage])) for stage in order}


def _percentiles(ordered: list[float]) -> Percentiles:
    return Percentiles(len(ordered), *(percentile(ordered, share) for share in (0.5, 0.9, 0.99)))
