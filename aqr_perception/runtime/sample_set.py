"""A set of samples, one of each sensor or none."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from aqr_perception.runtime.sweeps import KeptSweep

LIDAR = 0
"""Its place among the sensors; the cameras follow."""


class SampleState(enum.Enum):
    """What a set holds of one sensor."""

    FRESH = "fresh"
    STALE = "stale"
    ABSENT = "absent"


@dataclass(frozen=True)
class Sample:
    """One message of one sensor: its stamp [ns], when it came [ns], and what it holds."""

    stamp_ns: int
    arrival_ns: int
    payload: Any


@dataclass(frozen=True)
class SampleSet:
    """What goes to the detector.

    Attributes:
        stamp_ns: The anchor's stamp [ns].
        anchor: Index of the sensor that set it: 0 the LiDAR, else a camera (S order).
        samples: (S,) the LiDAR's, then each camera's; None where absent.
        states: (S,) likewise.
        waited_ns: From the anchor's arrival to the decision [ns].
        timed_out: Whether the deadline decided.
        sweeps: The LiDAR's own sweep and the earlier ones to be joined to it, newest first; empty
            where its message is to be taken alone.
        missed_ns: (S,) of a sensor that is absent though messages of it came: how much later than
            wanted the nearest of them was stamped, below 0 for earlier; None of the others. Empty
            where nobody measured it.
    """

    stamp_ns: int
    anchor: int
    samples: tuple[Sample | None, ...]
    states: tuple[SampleState, ...]
    waited_ns: int
    timed_out: bool
    sweeps: tuple[KeptSweep, ...] = ()
    missed_ns: tuple[int | None, ...] = ()
