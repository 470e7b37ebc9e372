"""Stamped samples → sets of seven: LiDAR-anchored, partial sets too, in order, each once.

Pure Python; time is an argument, never read. `add` takes a sample, `poll` gives the sets that are
due, `next_due` says when to poll again. Times are nanoseconds of one clock: stamps are those of
the sensors, ``now_ns`` is the node's.

A set opens when a sweep arrives (or, while the LiDAR is silent, an image of the anchor camera).
Each camera gives the image closest to its expected time. The set goes out when every camera has
settled, or at the deadline with what is there. Where a sweep does not come in time
(`runtime/sweep_watch.py`), the images of its moment go out without it; should it come after all, it
is too late. So, whichever input dies, sets are not further apart than a period and the deadline.

A sensor is silent when nothing of it has come for longer than `silent_ns`, for longer than it
usually takes, and while another sensor has gone on: a slow recording, or one that is held, silences
none.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from aqr_perception.runtime.sample_set import LIDAR, Sample, SampleSet, SampleState
from aqr_perception.runtime.sensor_history import SensorHistory
from aqr_perception.runtime.sweep_watch import MissingSweep, SweepWatch

MILLISECOND = 1_000_000
SILENT_STEPS = 2.5
"""So many of its usual steps a sensor may take before it can count as silent."""
SILENT_MESSAGES = 3
"""So many messages another sensor must have sent meanwhile."""


@dataclass(frozen=True)
class SynchronizerSettings:
    """How sets are made; all times in ns.

    Attributes:
        camera_offsets_ns: A camera each: when its image is expected, relative to the sweep's stamp.
        tolerance_ns: An image this close to its expected time is fresh.
        stale_ns: An older image up to this age still goes along, as stale; beyond it, absent. Equal
            to the tolerance, nothing stale is used.
        deadline_ns: Longest wait after the anchor's arrival, and for a sweep that is expected.
        silent_ns: A sensor without a message for this long (see the module) is not waited for; when
            it is the LiDAR, the cameras anchor.
        buffer: Samples kept of each camera.
        stand_in: Whether images go out in the place of a sweep that has not come; without, there is
            a set a sweep until the LiDAR is silent.
        eager_start: Of a camera whose period is not known yet, the first fresh image is taken
            without waiting for a closer one; it is the start that gains.
    """

    camera_offsets_ns: tuple[int, ...]
    tolerance_ns: int = 60 * MILLISECOND
    stale_ns: int = 60 * MILLISECOND
    deadline_ns: int = 80 * MILLISECOND
    silent_ns: int = 350 * MILLISECOND
    buffer: int = 12
    stand_in: bool = True
    eager_start: bool = True

    def __post_init__(self) -> None:
        for name, least in (("tolerance_ns", 0), ("deadline_ns", 0), ("silent_ns", 1),
                            ("buffer", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"sync.{name} is {getattr(self, name)}; expected {least} or more")
        if self.stale_ns < self.tolerance_ns:
            raise ValueError(f"sync.stale_ns is {self.stale_ns}; expected at least the tolerance, "
                             f"{self.tolerance_ns}")


@dataclass
class SynchronizerCounts:
    """What happened since the start or the last `Synchronizer.clear`; S entries in the lists."""

    received: list[int]
    duplicates: list[int]
    late: list[int]
    sets: int = 0
    timed_out: int = 0
    jumps: int = 0


@dataclass
class _Pending:
    """A set that is not out yet.

    Attributes:
        anchor: The sensor that opened it.
        sample: Of that sensor.
        moment_ns: The stamp of its sweep, or what that would be.
    """

    anchor: int
    sample: Sample
    moment_ns: int


class Synchronizer:
    """Makes sets of the samples of one LiDAR and V cameras.

    Args:
        settings: Times, and by the length of ``camera_offsets_ns`` the number of cameras.
    """

    def __init__(self, settings: SynchronizerSettings) -> None:
        self.settings = settings
        sensors = 1 + len(settings.camera_offsets_ns)
        self._offsets = (0, *settings.camera_offsets_ns)
        self.counts = SynchronizerCounts([0] * sensors, [0] * sensors, [0] * sensors)
        self._streams: list[SensorHistory] = []
        self.clear()

    def clear(self) -> None:
        """Forget all samples and pending sets; the counts stay."""
        self._streams = [SensorHistory(self.settings.buffer, list(self.counts.received))
                         for _ in self._offsets]
        self._watch = SweepWatch(self.settings.deadline_ns, self.settings.tolerance_ns,
                                 self._offsets[1:])
        self._pending: deque[_Pending] = deque()
        self._last_set_ns: int | None = None
        self._now_ns: int | None = None
        self._started_ns: int | None = None

    def add(self, sensor: int, stamp_ns: int, payload: Any, now_ns: int) -> None:
        """Take one sample.

        A stamp that the sensor sent before is counted and left out. One of the anchor that lies
        before a set that went out is counted as late and left out, and so is a sweep that images
        stood in for.

        Args:
            sensor: 0 the LiDAR, 1..V the cameras.
            stamp_ns: The sample's stamp.
            payload: Handed through.
            now_ns: The clock. When it runs backwards, as when a bag starts again, all is forgotten.
        """
        self._tick(now_ns)
        self.counts.received[sensor] += 1
        stream = self._streams[sensor]
        if stamp_ns in stream.stamps:
            self.counts.duplicates[sensor] += 1
            return
        stream.note(stamp_ns, now_ns)
        stream.others = list(self.counts.received)
        sample = Sample(stamp_ns, now_ns, payload)
        late = self._last_set_ns is not None and stamp_ns <= self._last_set_ns
        if sensor == LIDAR:  # a sweep serves its own set alone
            late |= self._watch.take(stamp_ns, now_ns)
        else:
            stream.insert(sample)
        if sensor == self._anchor(now_ns):
            if late:
                self.counts.late[sensor] += 1
                return
            self._open(sensor, sample)

    def poll(self, now_ns: int, expire: bool = True) -> list[SampleSet]:
        """Return the sets that are due, oldest first; each goes out once.

        Args:
            now_ns: The clock.
            expire: Whether deadlines count; without, only what has settled is due. For who knows
                that messages wait which came in time.
        """
        self._tick(now_ns)
        due: list[SampleSet] = []
        while self._pending:
            pending = self._pending[0]
            settled = all(self._settled(sensor, pending, now_ns)
                          for sensor in range(len(self._offsets)))
            timed_out = expire and now_ns >= pending.sample.arrival_ns + self.settings.deadline_ns
            if not settled and not timed_out:
                break
            self._pending.popleft()
            due.append(self._build(pending, now_ns, not settled))
        while (expire and not self._pending and (missing := self._missing())
                and now_ns >= missing.due_ns):
            due.append(self._build(self._stand_in(missing), now_ns, True))
        return due

    def flush(self, now_ns: int) -> list[SampleSet]:
        """Give out what is pending as it is, oldest first: nothing will come to it any more."""
        return [self._build(self._pending.popleft(), now_ns, True)
                for _ in range(len(self._pending))]

    def next_due(self) -> int | None:
        """When the next set goes out at the latest [ns]; None when none is pending or missing."""
        if self._pending:
            return self._pending[0].sample.arrival_ns + self.settings.deadline_ns
        missing = self._missing()
        return None if missing is None else missing.due_ns

    def _tick(self, now_ns: int) -> None:
        if self._now_ns is not None and now_ns < self._now_ns:
            self.clear()
            self.counts.jumps += 1
        self._now_ns = now_ns
        if self._started_ns is None:
            self._started_ns = now_ns

    def _anchor(self, now_ns: int) -> int:
        """The LiDAR unless it is silent; then the first camera that is not."""
        for sensor in range(len(self._offsets)):
            if not self._silent(sensor, now_ns):
                return sensor
        return LIDAR

    def _silent(self, sensor: int, now_ns: int) -> bool:
        stream = self._streams[sensor]
        since = stream.arrivals[-1] if stream.arrivals else self._started_ns
        if since is None or now_ns - since <= self.settings.silent_ns:
            return False
        usual = stream.usual_step_ns()
        if usual is not None and now_ns - since <= SILENT_STEPS * usual:
            return False
        gone_on = max(now - then for now, then in zip(self.counts.received, stream.others))
        return gone_on >= SILENT_MESSAGES

    def _missing(self) -> MissingSweep | None:
        """The next sweep that has not come, though images of its moment did."""
        if not self.settings.stand_in:
            return None
        return self._watch.missing([stream.samples for stream in self._streams[1:]],
                                   self._last_set_ns or 0)

    def _stand_in(self, missing: MissingSweep) -> _Pending:
        self._watch.note_stand_in(missing)
        return _Pending(missing.camera, missing.image, missing.stamp_ns)

    def _go_on_alone(self, moment_ns: int) -> None:
        """The cameras anchor from this moment on: those before it wait for no sweep any more."""
        while ((missing := self._missing())
                and missing.stamp_ns < moment_ns - self.settings.tolerance_ns):
            self._pending.append(self._stand_in(missing))
        self._watch.stop()

    def _open(self, anchor: int, sample: Sample) -> None:
        """Queue a set; sweeps that overtook each other on the way are put in order.

        It takes the place of one of the same moment that a later sensor anchors: of sensors that
        come back together, the first to arrive is not the first in rank.
        """
        pending = _Pending(anchor, sample, sample.stamp_ns - self._offsets[anchor])
        if anchor != LIDAR:
            self._go_on_alone(pending.moment_ns)
        self._pending = deque(
            other for other in self._pending
            if other.anchor <= anchor or abs(other.sample.stamp_ns - self._expected_ns(
                other.anchor, pending)) > self.settings.tolerance_ns)
        position = len(self._pending)
        while position and self._pending[position - 1].sample.stamp_ns > sample.stamp_ns:
            position -= 1
        self._pending.insert(position, pending)

    def _expected_ns(self, sensor: int, pending: _Pending) -> int:
        return pending.moment_ns + self._offsets[sensor]

    def _settled(self, sensor: int, pending: _Pending, now_ns: int) -> bool:
        """Whether no sample that is still to come can be closer to the expected time."""
        if sensor == pending.anchor or self._silent(sensor, now_ns):
            return True
        if sensor == LIDAR:  # the cameras anchor since the LiDAR is silent
            return True
        stream = self._streams[sensor]
        newest = stream.last_stamp_ns
        if newest is None:
            return False
        expected = self._expected_ns(sensor, pending)
        if newest >= expected:
            return True
        if stream.period_ns is None:
            return self.settings.eager_start and expected - newest <= self.settings.tolerance_ns
        return expected - newest <= stream.period_ns // 2

    def _build(self, pending: _Pending, now_ns: int, timed_out: bool) -> SampleSet:
        samples: list[Sample | None] = []
        states = []
        missed: list[int | None] = [None] * len(self._streams)
        for sensor, stream in enumerate(self._streams):
            if sensor == pending.anchor:
                samples.append(pending.sample)
                states.append(SampleState.FRESH)
                continue
            expected = self._expected_ns(sensor, pending)
            chosen = stream.closest(expected) if sensor != LIDAR else None
            distance = abs(chosen.stamp_ns - expected) if chosen is not None else None
            if distance is not None and distance <= self.settings.tolerance_ns:
                states.append(SampleState.FRESH)
            elif (distance is not None and distance <= self.settings.stale_ns
                    and chosen is not None and chosen.stamp_ns < expected):
                states.append(SampleState.STALE)
            else:
                nearest = chosen.stamp_ns if chosen is not None else stream.last_stamp_ns
                missed[sensor] = None if nearest is None else nearest - expected
                chosen = None
                states.append(SampleState.ABSENT)
            samples.append(chosen)
            stream.drop_before(expected - self.settings.stale_ns)
        self._last_set_ns = pending.sample.stamp_ns
        self._watch.note_set(samples, now_ns)
        self.counts.sets += 1
        self.counts.timed_out += timed_out
        return SampleSet(pending.sample.stamp_ns, pending.anchor, tuple(samples), tuple(states),
                         now_ns - pending.sample.arrival_ns, timed_out, missed_ns=tuple(missed))
