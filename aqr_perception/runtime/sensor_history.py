"""What the synchroniser keeps of one sensor. Pure; times are nanoseconds."""

from __future__ import annotations

import itertools
import statistics
from collections import deque
from dataclasses import dataclass, field

from aqr_perception.runtime.sample_set import Sample

ARRIVALS = 6
"""Arrivals from which a sensor's usual step is taken: their median step."""


@dataclass
class SensorHistory:
    """The last messages of a sensor.

    Attributes:
        limit: So many are kept.
        others: (S,) messages of every sensor up to this one's last.
        samples: In the order of their stamps, those that a coming set may still want.
        stamps: The recent ones, to know what comes twice.
        arrivals: The last ones [ns].
        period_ns: From stamp to stamp; None before the second one.
        last_stamp_ns: The newest stamp; None before the first.
    """

    limit: int
    others: list[int]
    samples: deque[Sample] = field(default_factory=deque)
    stamps: deque[int] = field(init=False)
    arrivals: deque[int] = field(default_factory=lambda: deque(maxlen=ARRIVALS))
    period_ns: int | None = None
    last_stamp_ns: int | None = None

    def __post_init__(self) -> None:
        self.stamps = deque(maxlen=self.limit)

    def note(self, stamp_ns: int, now_ns: int) -> None:
        """Take the stamp of a message that came now, one that had not come before."""
        self.stamps.append(stamp_ns)
        self.arrivals.append(now_ns)
        self._measure_period(stamp_ns)

    def insert(self, sample: Sample) -> None:
        """Keep a sample in its place by stamp; of too many, the oldest goes."""
        place = len(self.samples)
        while place and self.samples[place - 1].stamp_ns > sample.stamp_ns:
            place -= 1
        self.samples.insert(place, sample)
        if len(self.samples) > self.limit:
            self.samples.popleft()

    def drop_before(self, stamp_ns: int) -> None:
        """Let go of samples that are older than a stamp."""
        while self.samples and self.samples[0].stamp_ns < stamp_ns:
            self.samples.popleft()

    def closest(self, stamp_ns: int) -> Sample | None:
        """The sample with the stamp that is closest to this one; None where there is none."""
        return min(self.samples, key=lambda item: abs(item.stamp_ns - stamp_ns), default=None)

    def usual_step_ns(self) -> float | None:
        """From arrival to arrival; None before the second one."""
        if len(self.arrivals) < 2:
            return None
        return statistics.median(
            later - earlier for earlier, later in itertools.pairwise(self.arrivals))

    def _measure_period(self, stamp_ns: int) -> None:
        """Follow the sensor's period by its shortest recent step, so that a gap does not count."""
        if self.last_stamp_ns is not None and stamp_ns > self.last_stamp_ns:
            step = stamp_ns - self.last_stamp_ns
            period = self.period_ns
            self.period_ns = step if period is None or step < period else (
                period + min(step - period, period // 8))
        self.last_stamp_ns = max(stamp_ns, self.last_stamp_ns or stamp_ns)
