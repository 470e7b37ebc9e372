"""Faults that are asked for in words: which sensor, what, and when.

    CAM_FRONT:absent@3s..5s       nothing from this camera from second 3 to second 5
    LIDAR:lidar_fog/3@10s..       severity 3 (2 where none is named), from second 10 on
    all:snow                      all sensors, all the time

A fault that changes what is claimed about the data, not the data, cannot be asked for: players
publish the calibration once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from aqr_perception.simulation.faults import FAULTS, SEVERITIES, apply
from aqr_perception.types import SensorFrame

LIDAR, ALL, ABSENT = "LIDAR", "all", "absent"
SEVERITY = 2
EXPECTED = ("SENSOR:FAULT, SENSOR:FAULT/SEVERITY, or either with @FROM..TO behind it, as in "
            "CAM_FRONT:absent@3s..5s")
_SECONDS = r"(?:(\d+(?:\.\d+)?|\.\d+)s?)?"
_WINDOW = re.compile(rf"{_SECONDS}\.\.{_SECONDS}")


@dataclass(frozen=True)
class ScheduledFault:
    """One fault, of one sensor or of all, for some time.

    Attributes:
        sensor: Name of a camera, ``LIDAR`` or ``all``.
        fault: ``absent`` or one of `simulation.faults`.
        severity: 1 to 3; of ``absent`` there is one kind.
        start_s: When it begins [s since the start].
        end_s: When it is over [s]; infinite where it is not.
    """

    sensor: str
    fault: str
    severity: int = SEVERITY
    start_s: float = 0.0
    end_s: float = math.inf

    @property
    def needs_history(self) -> bool:
        """Whether it shows what was there before."""
        return self.fault != ABSENT and FAULTS[self.fault].needs_history

    def at(self, seconds: float) -> bool:
        """Whether it holds at a time [s since the start]; the end does not belong to it."""
        return self.start_s <= seconds < self.end_s

    def is_of(self, sensor: str) -> bool:
        """Whether it may touch a sensor: a camera by its name, or ``LIDAR``."""
        if self.sensor != ALL:
            return self.sensor == sensor
        kind = "both" if self.fault == ABSENT else FAULTS[self.fault].sensors
        return kind == "both" or (kind == "lidar") == (sensor == LIDAR)


def parse(text: str, cameras: Sequence[str]) -> ScheduledFault:
    """Read a fault.

    Args:
        text: ``SENSOR:FAULT[/SEVERITY][@[FROM[s]]..[TO[s]]]``.
        cameras: The names that there are.

    Raises:
        ValueError: It cannot be read, or there is no such sensor or fault; says what was expected.
    """
    what, at, when = text.partition("@")
    sensor, colon, fault = what.partition(":")
    if not (sensor and colon and fault):
        raise ValueError(f"fault '{text}' cannot be read; expected {EXPECTED}")
    if sensor not in (LIDAR, ALL, *cameras):
        raise ValueError(f"fault '{text}' is of the sensor '{sensor}'; expected {ALL}, {LIDAR}, "
                         f"{', '.join(cameras)}")
    fault, slash, level = fault.partition("/")
    if slash and level not in map(str, SEVERITIES):
        raise ValueError(f"fault '{text}' has the severity '{level}'; expected 1, 2 or 3")
    start, end = _window(text, when) if at else (0.0, math.inf)
    scheduled = ScheduledFault(sensor, fault, int(level) if slash else SEVERITY, start, end)
    _check(text, scheduled)
    return scheduled


def spoil(scheduled: ScheduledFault, frames: Sequence[SensorFrame], number: int) -> SensorFrame:
    """Apply a fault to the last of some frames, whatever the time is.

    It strikes the same way in every frame (the same cameras, the same dirt); what strikes by chance
    is drawn frame by frame.

    Args:
        scheduled: The fault.
        frames: Of one drive, oldest first; what comes before the last is for faults that show it.
        number: Of the frame, for chance.
    """
    frame = frames[-1]
    if scheduled.fault == ABSENT:
        return _only(frame, lambda sensor: not scheduled.is_of(sensor))
    seen = frames if scheduled.sensor == ALL else [
        _only(one, lambda sensor: sensor == scheduled.sensor) for one in frames]
    rng = np.random.default_rng(number if FAULTS[scheduled.fault].by_chance else 0)
    spoiled, _ = apply(scheduled.fault, scheduled.severity, seen, rng)
    if scheduled.sensor == ALL:
        return spoiled
    if scheduled.sensor == LIDAR:
        return replace(frame, lidar=spoiled.lidar)
    return replace(frame, images=tuple(
        new if name == scheduled.sensor else old
        for name, old, new in zip(frame.camera_names, frame.images, spoiled.images)))


def _only(frame: SensorFrame, keep: Callable[[str], bool]) -> SensorFrame:
    """The frame with some of its sensors."""
    return replace(frame, lidar=frame.lidar if keep(LIDAR) else None, images=tuple(
        image if keep(name) else None for name, image in zip(frame.camera_names, frame.images)))


def _window(text: str, when: str) -> tuple[float, float]:
    found = _WINDOW.fullmatch(when)
    start, end = (float(found[1] or 0), float(found[2] or math.inf)) if found else (0.0, 0.0)
    if not start < end:
        raise ValueError(f"fault '{text}' holds at '{when}'; expected FROM..TO in seconds since "
                         "the start, as in 3s..5s, 3s.. or ..5s, the first before the second")
    return start, end


def _check(text: str, scheduled: ScheduledFault) -> None:
    """Whether the sensor can have the fault."""
    if scheduled.fault == ABSENT:
        return
    usable = [name for name, fault in FAULTS.items() if not fault.only_calibration]
    if scheduled.fault not in usable:
        why = (": it is one of calibration, which messages do not carry"
               if scheduled.fault in FAULTS else "")
        raise ValueError(f"fault '{text}' is '{scheduled.fault}'{why}; expected {ABSENT}, "
                         f"{', '.join(usable)}")
    sensors = FAULTS[scheduled.fault].sensors
    mine = "lidar" if scheduled.sensor == LIDAR else "camera"
    if scheduled.sensor != ALL and sensors not in (mine, "both"):
        other = LIDAR if sensors == "lidar" else "a camera"
        raise ValueError(f"fault '{text}': {scheduled.fault} is none of {scheduled.sensor}; "
                         f"expected {other} or {ALL}")
    if scheduled.fault == "camera_swapped" and scheduled.sensor != ALL:
        raise ValueError(f"fault '{text}': one camera cannot be swapped; expected {ALL}")
