"""How the inputs flow and what became of the frames. Pure: time is an argument.

One thread writes and another reads: what is read is a snapshot.
"""

from __future__ import annotations

import statistics
import threading
from collections import deque
from dataclasses import dataclass, replace
from itertools import pairwise

from aqr_perception.runtime.mode import SensorUse, describe

SECOND = 1_000_000_000
WINDOW_NS = 5 * SECOND
"""Time over which rates, jitter and losses are taken."""
KEPT = 400
"""Messages remembered of one input: 5 s at 80 Hz."""
GAP = 1.5
"""A step between stamps above so many usual ones has lost messages in it."""


@dataclass(frozen=True)
class FlowReport:
    """How the messages of one input come.

    Attributes:
        received: Since the start.
        rate_hz: Over the window; 0 where it holds fewer than two.
        silent_s: Since the last message [s]; None before the first.
        jitter_ms: Standard deviation of the steps between arrivals [ms].
        lost: Messages that the steps between stamps lack, over the window.
        refused: Messages that were not taken, since the start.
        refusal: Why the newest message was not taken; empty where it was.
        newest_stamp_ns: Of the messages that were taken [ns]; None before the first.
    """

    received: int = 0
    rate_hz: float = 0.0
    silent_s: float | None = None
    jitter_ms: float = 0.0
    lost: int = 0
    refused: int = 0
    refusal: str = ""
    newest_stamp_ns: int | None = None


class FlowMonitor:
    """Watches the messages of one input (or the results of one output)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._arrivals: deque[tuple[int, int]] = deque(maxlen=KEPT)
        self._received = 0
        self._refused = 0
        self._refusal = ""
        self._last_ns: int | None = None

    def note(self, stamp_ns: int, now_ns: int) -> None:
        """Take a message's stamp and arrival [ns]."""
        with self._lock:
            self._received += 1
            self._last_ns = now_ns
            self._refusal = ""
            self._arrivals.append((now_ns, stamp_ns))

    def refuse(self, reason: str, now_ns: int) -> None:
        """Take a message that is of no use, with the reason."""
        with self._lock:
            self._received += 1
            self._refused += 1
            self._last_ns = now_ns
            self._refusal = reason

    def report(self, now_ns: int) -> FlowReport:
        """Sum up."""
        with self._lock:
            kept = list(self._arrivals)
            report = FlowReport(
                self._received, refused=self._refused, refusal=self._refusal,
                silent_s=None if self._last_ns is None else (now_ns - self._last_ns) / SECOND,
                newest_stamp_ns=kept[-1][1] if kept else None)
        kept = [item for item in kept if now_ns - item[0] <= WINDOW_NS]
        if len(kept) < 2:
            return report
        arrivals, stamps = zip(*kept)
        span_ns = arrivals[-1] - arrivals[0]
        steps_ms = [(later - earlier) / 1e6 for earlier, later in pairwise(arrivals)]
        return replace(report, rate_hz=(len(kept) - 1) * SECOND / span_ns if span_ns else 0.0,
                       jitter_ms=statistics.pstdev(steps_ms), lost=_lost(stamps))


def _lost(stamps: tuple[int, ...]) -> int:
    steps = [later - earlier for earlier, later in pairwise(stamps) if later > earlier]
    if not steps:
        return 0
    usual = statistics.median(steps)
    return sum(round(step / usual) - 1 for step in steps if step > GAP * usual)


@dataclass(frozen=True)
class RunReport:
    """What became of the frames.

    Attributes:
        results: Published ones, as a flow.
        dropped: Frames that gave no result.
        drop: Why the last of them gave none; empty once one was published after it.
        sensors: (S,) what the last frame had of each sensor; empty before the first.
        busy_s: How long the frame at work has been at it [s]; None where there is none.
        set_s: Since the last set of inputs was there [s]; None before the first.
    """

    results: FlowReport = FlowReport()
    dropped: int = 0
    drop: str = ""
    sensors: tuple[SensorUse, ...] = ()
    busy_s: float | None = None
    set_s: float | None = None

    @property
    def mode(self) -> str:
        """Who took part in the last frame, in words; empty before the first."""
        return describe(self.sensors) if self.sensors else ""


class RunMonitor:
    """Follows the frames from the set of messages to the result."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._results = FlowMonitor()
        self._report = RunReport()
        self._busy_ns: int | None = None
        self._set_ns: int | None = None

    def set_came(self, now_ns: int) -> None:
        """A set of inputs is there."""
        with self._lock:
            self._set_ns = now_ns

    def begin(self, now_ns: int) -> None:
        """Work on a frame begins."""
        with self._lock:
            self._busy_ns = now_ns

    def end(self) -> None:
        """Work on it ends, with or without a result."""
        with self._lock:
            self._busy_ns = None

    def assembled(self, sensors: tuple[SensorUse, ...]) -> None:
        """It is known what the frame at work has of each sensor."""
        with self._lock:
            self._report = replace(self._report, sensors=sensors)

    def published(self, stamp_ns: int, now_ns: int) -> int:
        """The frame at work gave a result, which was published.

        Returns:
            How many by now.
        """
        self._results.note(stamp_ns, now_ns)
        with self._lock:
            self._report = replace(self._report, drop="")
        return self._results.report(now_ns).received

    def dropped(self, reason: str) -> int:
        """A frame, or a message that would have been part of one, gave no result.

        Returns:
            How many by now.
        """
        with self._lock:
            self._report = replace(self._report, dropped=self._report.dropped + 1, drop=reason)
            return self._report.dropped

    def report(self, now_ns: int) -> RunReport:
        """Sum up."""
        with self._lock:
            report, busy_ns, set_ns = self._report, self._busy_ns, self._set_ns
        return replace(
            report, results=self._results.report(now_ns),
            busy_s=None if busy_ns is None else (now_ns - busy_ns) / SECOND,
            set_s=None if set_ns is None else (now_ns - set_ns) / SECOND)
