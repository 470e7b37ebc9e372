"""How messages are made into sets: settings, and the choice between three ways."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Protocol

from message_filters import ApproximateTimeSynchronizer, SimpleFilter, TimeSynchronizer
from rclpy.node import Node

from aqr_perception.ros.conversions import stamp_to_ns
from aqr_perception.ros.parameter_spec import Spec, declare
from aqr_perception.runtime.sample_set import LIDAR, Sample, SampleSet, SampleState
from aqr_perception.runtime.synchronizer import (
    Synchronizer,
    SynchronizerCounts,
    SynchronizerSettings,
)

LIDAR_ANCHORED, APPROXIMATE_TIME, EXACT_TIME = MODES = (
    "lidar_anchored", "approximate_time", "exact_time")

SPECS = (
    Spec("sync.mode", LIDAR_ANCHORED, "How sets are made: lidar_anchored (a set a sweep, also when "
                                      "sensors are missing), approximate_time or exact_time "
                                      "(complete sets only, by message_filters)"),
    Spec("sync.tolerance", 0.06, "lidar_anchored: an image this close to its expected time is "
                                 "fresh [s]", (0.0, 10.0)),
    Spec("sync.stale", 0.06, "lidar_anchored: an older image up to this age still goes along, as "
                             "stale [s]; at least sync.tolerance, and equal to it for none",
         (0.0, 10.0)),
    Spec("sync.deadline", 0.08, "lidar_anchored: longest wait for the cameras after a sweep came, "
                                "and for a sweep that is expected after its period [s]",
         (0.0, 10.0)),
    Spec("sync.silent", 0.35, "lidar_anchored: a sensor without a message for this long is not "
                              "waited for [s]; when it is the LiDAR, the cameras go on alone",
         (0.01, 60.0)),
    Spec("sync.queue_size", 10, "approximate_time and exact_time: messages of each input that wait "
                                "for their set", (1, 1000)),
    Spec("sync.slop", 0.08, "approximate_time: largest spread of the stamps of one set [s]",
         (0.0, 10.0)),
)


@dataclass(frozen=True)
class SyncConfig:
    """The parameters ``sync.*``.

    Attributes:
        mode: ``lidar_anchored``: a set a sweep, partial ones too; ``approximate_time`` or
            ``exact_time``: complete sets only, by message_filters.
        tolerance_s: An image this close to its expected time is fresh [s].
        stale_s: An older one up to this age still goes along [s]; at least the tolerance.
        deadline_s: Longest wait for the others after the anchor came, and for a sweep that is
            expected after its period [s].
        silent_s: A sensor without a message for this long is not waited for [s].
        camera_offsets_s: A camera each: when its image is expected, from the sweep's stamp [s].
        queue_size: Messages of each input that wait; the two modes of message_filters.
        slop_s: Largest spread of the stamps of one set [s]; ``approximate_time``.
    """

    mode: str
    tolerance_s: float
    stale_s: float
    deadline_s: float
    silent_s: float
    camera_offsets_s: tuple[float, ...]
    queue_size: int
    slop_s: float

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"sync.mode is '{self.mode}'; expected {', '.join(MODES)}")
        if self.stale_s < self.tolerance_s:
            raise ValueError(f"sync.stale is {self.stale_s:g} s; expected at least sync.tolerance, "
                             f"{self.tolerance_s:g} s")

    @property
    def complete_only(self) -> bool:
        """Whether one missing input leaves no set at all."""
        return self.mode != LIDAR_ANCHORED

    @property
    def spread_s(self) -> float:
        """Largest spread of the stamps of a complete set [s]."""
        return 0.0 if self.mode == EXACT_TIME else self.slop_s


def declared(node: Node, cameras: tuple[str, ...]) -> SyncConfig:
    """Declare ``sync.*`` on a node, the offset of each camera too, and read them.

    Raises:
        ValueError: A value that was given at the start does not fit; names the parameter.
    """
    offsets = tuple(
        Spec(f"sync.offset.{name}", 0.0, f"lidar_anchored: when the image of {name} is expected, "
                                         "from the sweep's stamp [s]", (-1.0, 1.0))
        for name in dict.fromkeys(filter(None, cameras)))  # `NodeConfig` refuses other lists
    for spec in (*SPECS, *offsets):
        declare(node, spec, read_only=True)

    def value(name: str) -> Any:
        return node.get_parameter(name).value

    return SyncConfig(
        mode=value("sync.mode"), tolerance_s=value("sync.tolerance"), stale_s=value("sync.stale"),
        deadline_s=value("sync.deadline"), silent_s=value("sync.silent"),
        camera_offsets_s=tuple(value(spec.name) for spec in offsets),
        queue_size=value("sync.queue_size"), slop_s=value("sync.slop"))


class SetMaker(Protocol):
    """What makes sets; `runtime.synchronizer.Synchronizer` and `CompleteSets` are two."""

    def add(self, sensor: int, stamp_ns: int, payload: Any, now_ns: int) -> None:
        """Take a message; ``sensor`` is 0 for the LiDAR, 1..V for the cameras."""

    counts: SynchronizerCounts
    """What happened since the start."""

    def poll(self, now_ns: int, expire: bool = True) -> list[SampleSet]:
        """Give the sets that are due, oldest first; each goes out once.

        Without ``expire``, deadlines do not count.
        """

    def flush(self, now_ns: int) -> list[SampleSet]:
        """Give the sets that wait as they are: nothing will come to them any more."""

    def next_due(self) -> int | None:
        """When to poll again at the latest [ns]; None when nothing waits for the clock."""

    def clear(self) -> None:
        """Forget all that waits."""


class CompleteSets:
    """Complete sets by message_filters.

    Args:
        config: Mode, queue and slop.
    """

    def __init__(self, config: SyncConfig) -> None:
        self._config = config
        self._sensors = 1 + len(config.camera_offsets_s)
        none = [0] * self._sensors
        self.counts = SynchronizerCounts(list(none), list(none), list(none))
        self._now_ns = 0
        self._complete: list[SampleSet] = []
        self._filters: list[SimpleFilter] = []
        self.clear()

    def add(self, sensor: int, stamp_ns: int, payload: Any, now_ns: int) -> None:
        """See `SetMaker.add`; ``payload`` is a message with a header."""
        self._now_ns = now_ns
        self.counts.received[sensor] += 1
        self._filters[sensor].signalMessage(
            SimpleNamespace(header=payload.header, arrival_ns=now_ns, payload=payload))

    def poll(self, now_ns: int, expire: bool = True) -> list[SampleSet]:
        """See `SetMaker.poll`: a set is due with its last message."""
        due, self._complete = self._complete, []
        return due

    def flush(self, now_ns: int) -> list[SampleSet]:
        """See `SetMaker.flush`: what is not complete is no set."""
        return self.poll(now_ns)

    def next_due(self) -> None:
        """Nothing waits for the clock."""

    def clear(self) -> None:
        """See `SetMaker.clear`."""
        self._complete = []
        self._filters = [SimpleFilter() for _ in range(self._sensors)]
        queue = self._config.queue_size
        synchronizer = (
            TimeSynchronizer(self._filters, queue) if self._config.mode == EXACT_TIME
            else ApproximateTimeSynchronizer(self._filters, queue, self._config.slop_s))
        synchronizer.registerCallback(self._take)

    def _take(self, *waiting: Any) -> None:
        samples = tuple(Sample(stamp_to_ns(item.header.stamp), item.arrival_ns, item.payload)
                        for item in waiting)
        anchor = samples[LIDAR]
        self.counts.sets += 1
        self._complete.append(SampleSet(
            anchor.stamp_ns, LIDAR, samples, (SampleState.FRESH,) * len(samples),
            self._now_ns - anchor.arrival_ns, False))


def set_maker(config: SyncConfig) -> SetMaker:
    """Make what the configuration names."""
    if config.complete_only:
        return CompleteSets(config)
    return Synchronizer(SynchronizerSettings(
        camera_offsets_ns=tuple(map(_ns, config.camera_offsets_s)),
        tolerance_ns=_ns(config.tolerance_s), stale_ns=_ns(config.stale_s),
        deadline_ns=_ns(config.deadline_s), silent_ns=_ns(config.silent_s)))


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
