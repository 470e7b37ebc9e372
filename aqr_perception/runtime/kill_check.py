"""What a detector did while sensors failed: judged from what was sent and what was heard.

Pure. Times are nanoseconds of one clock (that of all processes of the machine), stamps are those
of the sensors. Sensors are indices: 0 the LiDAR, 1..V the cameras.
"""

from __future__ import annotations

import bisect
import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SECOND = 1_000_000_000
Sensors = frozenset[int]


@dataclass(frozen=True)
class SentSet:
    """One period of the sensors.

    Attributes:
        stamp_ns: Of all its messages [ns].
        sent_ns: When its first message went out [ns].
        late_ns: How much too late that was [ns].
        alive: The sensors that sent.
    """

    stamp_ns: int
    sent_ns: int
    late_ns: int
    alive: Sensors


@dataclass(frozen=True)
class Heard:
    """What came from the detector, in the order of arrival.

    Attributes:
        outputs: Stamp and arrival of each result [ns].
        modes: Arrival [ns] and words of each change of those who take part.
        end_ns: When it was last listened to [ns].
    """

    outputs: Sequence[tuple[int, int]]
    modes: Sequence[tuple[int, str]]
    end_ns: int


@dataclass(frozen=True)
class VehicleRun:
    """All that was written down while sensors died and came back.

    Attributes:
        sent: The sets, in order; first and last with all sensors alive.
        heard: What came of them.
        passed_over: Sets that it left for a newer one, by its own count.
        dropped: Those that it could make no detections of, likewise.
        stages: Its latencies: median, 90th and 99th percentile [ms] by stage.
        deadline_s: Its longest wait for a sensor [s].
    """

    sent: Sequence[SentSet]
    heard: Heard
    passed_over: int
    dropped: int
    stages: Mapping[str, tuple[float, float, float]]
    deadline_s: float


@dataclass(frozen=True)
class KillResult:
    """What came of killing some sensors and reviving them.

    Attributes:
        killed: Empty for the time before the first kill.
        gap_s: Longest time without output, from the kill to the next one [s].
        mask_s: From the first set without them until the detector says so [s]; None: never.
        false_masks: How often it said afterwards that a dead one takes part.
        short_masks: How often it said afterwards that a living one does not.
        recovery_s: From the first set with them until the detector says so [s]; None: never.
    """

    killed: Sensors
    gap_s: float
    mask_s: float | None = 0.0
    false_masks: int = 0
    short_masks: int = 0
    recovery_s: float | None = 0.0


@dataclass(frozen=True)
class SetCounts:
    """What became of the sets.

    Attributes:
        sent: All.
        processed: Those that a result came of.
        in_order: Whether results came in the order of their stamps, each once.
        newest: Whether the last one that was sent was processed.
        outdated: Those that were processed though a newer one was there when their turn came.
    """

    sent: int
    processed: int
    in_order: bool
    newest: bool
    outdated: int


def living_in(mode: str, cameras: Sequence[str]) -> Sensors:
    """Which sensors take part: `runtime.mode.describe` the other way round.

    Args:
        mode: As ``LiDAR + 5 of 6 cameras; CAM_FRONT absent``; one that does not end so, as
            ``no output``, names none.
        cameras: (V,) their names.
    """
    head, *remarks = mode.split("; ")
    if not head.endswith(" cameras"):
        return frozenset()
    absent = {name for remark in remarks if remark.endswith(" absent")
              for name in remark.removesuffix(" absent").split(", ")}
    return frozenset(sensor for sensor, name in enumerate(("LiDAR", *cameras))
                     if name not in absent)


def choose_kills(sensors: int, pairs: int | None, seed: int = 0) -> list[Sensors]:
    """Each sensor alone, then pairs of them.

    Args:
        sensors: How many there are.
        pairs: How many pairs, drawn without repetition; None for all.
        seed: Of the draw.

    Raises:
        ValueError: There are not so many pairs.
    """
    every = [frozenset(pair) for pair in itertools.combinations(range(sensors), 2)]
    if pairs is not None and not 0 <= pairs <= len(every):
        raise ValueError(f"--pairs is {pairs}; expected 0 to {len(every)}")
    if pairs is not None:
        every = sorted(random.Random(seed).sample(every, pairs), key=sorted)
    return [frozenset({sensor}) for sensor in range(sensors)] + every


def judge_kills(sent: Sequence[SentSet], heard: Heard, cameras: Sequence[str]) -> list[KillResult]:
    """Tell what came of each kill.

    Args:
        sent: In order; first and last with all sensors alive.
        heard: Meanwhile.
        cameras: (V,) their names.

    Returns:
        One for the time before the first kill, then one a kill.
    """
    whole = frozenset(range(1 + len(cameras)))
    phases = [list(phase) for _, phase in itertools.groupby(sent, key=lambda item: item.alive)]
    starts = [phase[0].sent_ns for phase in phases] + [heard.end_ns]
    arrivals = [arrival for _, arrival in heard.outputs]
    modes = [(arrival, living_in(words, cameras)) for arrival, words in heard.modes]
    results = [KillResult(frozenset(), _longest_gap(arrivals, starts[0], starts[1]))]
    for index in range(1, len(phases) - 1, 2):
        alive = phases[index][0].alive
        start, revived, end = starts[index:index + 3]
        right = _first(modes, alive, start, revived)
        back = _first(modes, whole, revived, end)
        later = [present for arrival, present in modes
                 if right is not None and right < arrival < revived]
        results.append(KillResult(
            whole - alive, _longest_gap(arrivals, start, end),
            None if right is None else (right - start) / SECOND,
            sum(bool(present - alive) for present in later),
            sum(bool(alive - present) for present in later),
            None if back is None else (back - revived) / SECOND))
    return results


def count_sets(sent: Sequence[SentSet], heard: Heard, settled_s: float) -> SetCounts:
    """Tell what became of the sets, as far as can be seen from outside.

    The turn of a set comes when the one before it is done: a newer one that went out long before
    that was there already.

    Args:
        sent: In order.
        heard: What came of them.
        settled_s: So long after it went out, a set is there at the latest [s].
    """
    stamps = [stamp for stamp, _ in heard.outputs]
    known = set(stamps)
    there = [round(item.sent_ns + settled_s * SECOND) for item in sent]
    outdated = 0
    for (_, turn_ns), (stamp_ns, _) in itertools.pairwise(heard.outputs):
        came = bisect.bisect_right(there, turn_ns)
        outdated += bool(came) and stamp_ns < sent[came - 1].stamp_ns
    return SetCounts(len(sent), sum(item.stamp_ns in known for item in sent),
                     stamps == sorted(known), sent[-1].stamp_ns in known, outdated)


def _first(modes: Sequence[tuple[int, Sensors]], wanted: Sensors, start_ns: int, end_ns: int
           ) -> int | None:
    """Arrival of the first word within a time that names just the wanted sensors."""
    return next((arrival for arrival, present in modes
                 if start_ns <= arrival < end_ns and present == wanted), None)


def _longest_gap(arrivals: Sequence[int], start_ns: int, end_ns: int) -> float:
    """Longest time without output [s], from the last one before the start up to the end."""
    before = [arrival for arrival in arrivals if arrival <= start_ns][-1:] or [start_ns]
    times = before + [arrival for arrival in arrivals if start_ns < arrival < end_ns] + [end_ns]
    return max(later - earlier for earlier, later in itertools.pairwise(times)) / SECOND
