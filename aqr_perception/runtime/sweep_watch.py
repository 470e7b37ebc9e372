"""Tells when a sweep is missing, and which images belong to its moment. Pure; times are ns.

A sweep is expected one period after the last, and not before the images of its moment came, by its
usual lag behind each camera: where all are late, or a recording is held, nothing is missing. It is
missing when it has not come a margin later. The margin is the synchroniser's deadline, or twice the
LiDAR's jitter where that is longer.
"""

from __future__ import annotations

import itertools
import statistics
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aqr_perception.runtime.sample_set import Sample

SWEEPS = 6
"""Sweeps that the cadence is taken from; before there are so many, none is expected."""
GAP = 1.5
"""A step of so many periods and more is one over a sweep that did not come, and no jitter."""
JITTERS = 2
"""The margin is at least so many times the jitter."""
LAGS = 5
"""Lags behind a camera of which the median counts."""


@dataclass(frozen=True)
class Cadence:
    """How the LiDAR's sweeps come.

    Attributes:
        step_ns: From stamp to stamp.
        period_ns: From arrival to arrival; another than the step where a recording runs slower.
        jitter_ns: Largest departure of a recent arrival step from the period.
    """

    step_ns: int
    period_ns: int
    jitter_ns: int


@dataclass(frozen=True)
class MissingSweep:
    """A sweep that has not come, and what stands in for it.

    Attributes:
        number: How many periods after the last sweep.
        stamp_ns: The stamp that it would have, about.
        due_ns: When it is missing.
        camera: 1..V, the first one with an image of its moment.
        image: That image.
    """

    number: int
    stamp_ns: int
    due_ns: int
    camera: int
    image: Sample


def cadence_of(sweeps: Iterable[tuple[int, int]]) -> Cadence | None:
    """Tell how sweeps come.

    Stamps give the step, by their median: some sweeps may lack. How fast the clocks run gives the
    period, by the first and the last: neither a sweep that lacks nor one that is late moves it far.

    Args:
        sweeps: Stamp and arrival of each, `SWEEPS` of them.

    Returns:
        None where there are fewer, or where they did not come one after the other.
    """
    ordered = sorted(sweeps)
    if len(ordered) < SWEEPS:
        return None
    step = round(statistics.median(
        later - earlier for (earlier, _), (later, _) in itertools.pairwise(ordered)))
    (first_stamp, first_arrival), (last_stamp, last_arrival) = ordered[0], ordered[-1]
    period = step * (last_arrival - first_arrival) // max(last_stamp - first_stamp, 1)
    if step <= 0 or period <= 0:
        return None
    steps = [later - earlier for (_, earlier), (_, later) in itertools.pairwise(ordered)]
    jitter = max((abs(taken - period) for taken in steps if taken < GAP * period), default=0)
    return Cadence(step, period, jitter)


class SweepWatch:
    """Follows the LiDAR's sweeps and what stood in for those that did not come.

    Args:
        deadline_ns: Longest wait for a sensor.
        tolerance_ns: An image this close to its expected time belongs to a sweep.
        offsets_ns: A camera each: when its image is expected, relative to the sweep's stamp.
    """

    def __init__(self, deadline_ns: int, tolerance_ns: int, offsets_ns: Sequence[int]) -> None:
        self._deadline_ns = deadline_ns
        self._tolerance_ns = tolerance_ns
        self._offsets_ns = offsets_ns
        self._sweeps: deque[tuple[int, int]] = deque(maxlen=SWEEPS)
        self._lags: list[deque[int]] = [deque(maxlen=LAGS) for _ in offsets_ns]
        self._cadence: Cadence | None = None
        self._newest: tuple[int, int] = (0, 0)
        self._number = 0
        self._last_set_ns: int | None = None
        self._stood_in_ns: int | None = None

    @property
    def cadence(self) -> Cadence | None:
        """How the sweeps come; None while that is not known, or the cameras go on alone."""
        return self._cadence

    def take(self, stamp_ns: int, now_ns: int) -> bool:
        """Take a sweep that came now; tells whether it is too late, since others stood in for it.

        Half a step after the moment of those is the border to the next sweep.
        """
        newest = not self._sweeps or stamp_ns > self._newest[0]
        half_ns = self._cadence.step_ns // 2 if self._cadence else 0
        self._sweeps.append((stamp_ns, now_ns))
        self._cadence = cadence_of(self._sweeps)
        ahead_ns = -1 if self._stood_in_ns is None else self._stood_in_ns + half_ns - stamp_ns
        if newest:
            self._newest = (stamp_ns, now_ns)
            self._number = max(ahead_ns, 0) // self._cadence.step_ns if self._cadence else 0
        return ahead_ns >= 0

    def note_set(self, samples: Sequence[Sample | None], now_ns: int) -> None:
        """Take a set that went out now: (S,) samples, the LiDAR's first."""
        self._last_set_ns = now_ns
        sweep, *images = samples
        for lags, image in zip(self._lags, images):
            if sweep is not None and image is not None:
                lags.append(sweep.arrival_ns - image.arrival_ns)

    def note_stand_in(self, missing: MissingSweep) -> None:
        """Others stood in for a sweep: the next one is waited for."""
        self._number = missing.number
        self._stood_in_ns = missing.stamp_ns

    def stop(self) -> None:
        """Expect no sweep until one comes: the cameras go on alone."""
        self._cadence = None

    def missing(self, images: Sequence[Iterable[Sample]], after_ns: int) -> MissingSweep | None:
        """Find the next sweep that has not come though images of its moment did.

        Args:
            images: (V,) those of each camera.
            after_ns: Only ones with a later stamp anchor a set.
        """
        if self._cadence is None:
            return None
        found = [(number, camera, image) for camera, kept in enumerate(images) for image in kept
                 if image.stamp_ns > after_ns
                 and (number := self._number_of(camera, image)) > self._number]
        if not found:
            return None
        number = min(number for number, _, _ in found)
        stamp_ns = self._newest[0] + number * self._cadence.step_ns
        moment = [(camera, image) for other, camera, image in found if other == number]
        camera = min(camera for camera, _ in moment)
        image = min((image for other, image in moment if other == camera),
                    key=lambda image: abs(image.stamp_ns - self._offsets_ns[camera] - stamp_ns))
        return MissingSweep(number, stamp_ns, self._due_ns(number, moment), 1 + camera, image)

    def _number_of(self, camera: int, image: Sample) -> int:
        """How many periods after the last sweep an image belongs; 0 where it fits to none."""
        assert self._cadence is not None
        step_ns = self._cadence.step_ns
        since_ns = image.stamp_ns - self._offsets_ns[camera] - self._newest[0]
        number = (since_ns + step_ns // 2) // step_ns
        return number if abs(since_ns - number * step_ns) <= self._tolerance_ns else 0

    def _due_ns(self, number: int, moment: Sequence[tuple[int, Sample]]) -> int:
        assert self._cadence is not None
        period_ns = self._cadence.period_ns
        expected_ns = self._newest[1] + number * period_ns
        if self._last_set_ns is not None:  # of a sweep that was late itself, the next one is not
            since_last = number - self._number
            expected_ns = min(expected_ns, self._last_set_ns + since_last * period_ns)
        by_images_ns = min(image.arrival_ns + round(statistics.median(self._lags[camera] or [0]))
                           for camera, image in moment)
        margin_ns = max(self._deadline_ns, JITTERS * self._cadence.jitter_ns)
        return max(max(expected_ns, by_images_ns) + margin_ns,
                   min(image.arrival_ns for _, image in moment))
