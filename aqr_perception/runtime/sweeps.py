"""The last sweeps of the LiDAR, and which of them are joined to the newest one's cloud.

Pure Python and NumPy; times are the sweeps' stamps. A sweep may be kept before its points are read
and before its pose is known: the node keeps every one that comes, also of sets that are passed
over, and finds the rest out when the sweep is wanted.
"""

from __future__ import annotations

import bisect
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry import rigid
from aqr_perception.geometry.sweeps import far_points, join_sweeps
from aqr_perception.types import SensorFrame, SweepSettings

MARGIN_S = 0.5
"""Sweeps are kept for so much longer than their age is wanted [s]."""
FASTEST_RATE = 20.0
"""Of a LiDAR with more sweeps a second than this, fewer seconds are kept."""
FASTEST = 100.0
"""A pose that moved faster than this [m/s] has jumped, and what it would join lies elsewhere."""
SLACK = 1.0
"""So much a pose may jump all the same [m]."""

WITHOUT_POSE = ("its newest sweep alone: tf does not say where the car was (fixed_frame at the "
                "cloud's stamp)")
AS_IT_CAME = "joined of several sweeps already (its field dt)"


@dataclass(eq=False)
class KeptSweep:
    """A sweep, as far as it is known.

    Attributes:
        stamp_ns: Its stamp [ns].
        points: (N, 5) x, y, z [m] in the LiDAR frame at its stamp, intensity, dt [s]; None while
            they are not read.
        fixed_from_lidar: (4, 4) pose of the LiDAR at its stamp in a frame that does not move with
            the car; None while it is not known.
        message: What the points and the frame are read from, while they are not.
    """

    stamp_ns: int
    points: NDArray[np.float32] | None = None
    fixed_from_lidar: rigid.Matrix | None = None
    message: Any = None

    @functools.cached_property
    def far_points(self) -> NDArray[np.float32]:
        """(M, 5) what is joined to newer sweeps, picked once for all of them."""
        assert self.points is not None
        return far_points(self.points)


@dataclass(frozen=True)
class JoinedCloud:
    """What `joined` made.

    Attributes:
        points: (N, 5) as `types.LidarCloud` holds them.
        sweeps: How many were joined.
        remark: In words, why the newest is alone although there were others; empty otherwise.
    """

    points: NDArray[np.float32]
    sweeps: int
    remark: str = ""


class SweepAccumulator:
    """Keeps the last sweeps in the order of their stamps.

    Args:
        settings: How many are joined, and how far apart.
        wait_s: How long a set may wait until it asks for its sweeps [s]; newer ones come meanwhile.
    """

    def __init__(self, settings: SweepSettings, wait_s: float = 0.0) -> None:
        self._count = settings.count
        self._interval_ns = round(settings.interval_s * 1e9)
        span_s = settings.interval_s * (settings.count - 0.5) + MARGIN_S + wait_s
        self._span_ns = round(span_s * 1e9)
        self._most = math.ceil(span_s * FASTEST_RATE) + 1
        self._kept: list[KeptSweep] = []

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    def clear(self) -> None:
        """Forget all."""
        self._kept = []

    def keep(self, sweep: KeptSweep) -> None:
        """Take a sweep.

        One of a stamp that is kept already is left out. One that an earlier sweep's message
        overtook is put in its place; a stamp that lies further back begins anew, and so does one
        after a gap, since then all others are too old.
        """
        if self._count == 1 or any(kept.stamp_ns == sweep.stamp_ns for kept in self._kept):
            return
        if self._kept and sweep.stamp_ns < self._kept[-1].stamp_ns - self._interval_ns:
            self.clear()
        bisect.insort(self._kept, sweep, key=_stamp)
        oldest_ns = self._kept[-1].stamp_ns - self._span_ns
        self._kept = [kept for kept in self._kept if kept.stamp_ns >= oldest_ns][-self._most:]

    def chosen(self, stamp_ns: int) -> tuple[KeptSweep, ...]:
        """The sweep of a stamp, then those to be joined to it, newest first.

        For k = 1, 2, ... it is the one whose age is closest to k intervals, within half of one;
        each is taken once. Empty where the sweep of that stamp is not kept.
        """
        own = [kept for kept in self._kept if kept.stamp_ns == stamp_ns]
        free = [kept for kept in self._kept if kept.stamp_ns < stamp_ns]
        if not own:
            return ()
        found = own
        for number in range(1, self._count):
            wanted_ns = stamp_ns - number * self._interval_ns
            nearest = min(reversed(free), key=lambda kept: abs(kept.stamp_ns - wanted_ns),
                          default=None)
            if nearest and abs(nearest.stamp_ns - wanted_ns) <= self._interval_ns // 2:
                found.append(nearest)
                free.remove(nearest)
        return tuple(found)

    def frame(self, frame: SensorFrame) -> SensorFrame:
        """Keep a frame's sweep, and give the frame with those before it joined to its cloud.

        Args:
            frame: The next of a drive; its ``fixed_from_lidar`` is the pose.

        Returns:
            The same with another cloud, or as it is where nothing is to be joined.
        """
        if frame.lidar is None:
            return frame
        own = KeptSweep(frame.stamp_ns, frame.lidar.points, frame.fixed_from_lidar)
        self.keep(own)
        cloud = joined(own, self.chosen(own.stamp_ns)[1:])
        return replace(frame, lidar=replace(frame.lidar, points=cloud.points))


def joined(newest: KeptSweep, earlier: Sequence[KeptSweep],
           complete: Callable[[KeptSweep], None] = lambda sweep: None) -> JoinedCloud:
    """Join earlier sweeps to the newest one.

    The newest stays alone where its pose is not known (without, what stands would be smeared), and
    where it is joined of several already (dt above 0). An earlier one is left out where its points
    or its pose are not known, where it is joined already, and where the pose has jumped since.

    Args:
        newest: With its points.
        earlier: Newest first.
        complete: Called with each of them before it is needed, to find out what is missing.
    """
    points, fixed_from_newest = newest.points, newest.fixed_from_lidar
    assert points is not None
    if not earlier:
        return JoinedCloud(points, 1)
    if _is_joined(points):
        return JoinedCloud(points, 1, AS_IT_CAME)
    if fixed_from_newest is None:
        return JoinedCloud(points, 1, WITHOUT_POSE)
    newest_from_fixed = rigid.inverse(fixed_from_newest)
    parts = []
    for sweep in earlier:
        complete(sweep)
        if sweep.points is None or sweep.fixed_from_lidar is None or _is_joined(sweep.points):
            continue
        age = (newest.stamp_ns - sweep.stamp_ns) * 1e-9
        newest_from_earlier = newest_from_fixed @ sweep.fixed_from_lidar
        if np.linalg.norm(newest_from_earlier[:3, 3]) <= FASTEST * age + SLACK:
            parts.append((sweep.far_points, newest_from_earlier, age))
    return JoinedCloud(join_sweeps(points, parts) if parts else points, 1 + len(parts))


def _is_joined(points: NDArray[np.float32]) -> bool:
    return bool((points[:, 4] > 0).any())


def _stamp(sweep: KeptSweep) -> int:
    return sweep.stamp_ns
