"""Memory of a process's own, and how fast it grows.

What it shares does not count: libraries, and the segments that the middleware keeps messages in. A
reader's resident memory takes in whatever it has read in another process's segment so far, up to
the size of the segment (128 MiB in `config/fastdds.xml`), and grows for many minutes without
anything being held.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MOST_GROWTH = 1.0
"""Growth that is still called none [MiB a minute]."""
LEAST_MINUTES = 10.0
"""A shorter run is not judged: memory has not settled, and its slope is mostly noise."""


@dataclass(frozen=True)
class MemoryReport:
    """What a process held over a time.

    Attributes:
        memory_minutes: How long it was looked at.
        memory_first_mib: At the start.
        memory_last_mib: At the end.
        memory_growth_mib_per_minute: Over the second half, by least squares.
        memory_samples: Time [s] and memory [MiB] of each.
    """

    memory_minutes: float
    memory_first_mib: float
    memory_last_mib: float
    memory_growth_mib_per_minute: float
    memory_samples: Sequence[tuple[float, float]] = ()

    def line(self) -> str:
        """In words."""
        return (f"the node's own memory: {self.memory_first_mib:.1f} MiB at the start, "
                f"{self.memory_last_mib:.1f} after {self.memory_minutes:.1f} min; "
                f"{self.memory_growth_mib_per_minute:+.2f} MiB a minute over the second half")

    def broken(self) -> list[str]:
        """The bound, in words, where it does not hold."""
        if (self.memory_minutes < LEAST_MINUTES
                or self.memory_growth_mib_per_minute <= MOST_GROWTH):
            return []
        return [f"memory grows by {self.memory_growth_mib_per_minute:.2f} MiB a minute; at most "
                f"{MOST_GROWTH:g}"]


def report_of(samples: Sequence[tuple[float, float]]) -> MemoryReport:
    """Sum samples up.

    Args:
        samples: Time [s] and memory [MiB] of each, in order.

    Raises:
        ValueError: There are too few.
    """
    growth = growth_mib_per_minute(samples)
    return MemoryReport((samples[-1][0] - samples[0][0]) / 60.0, samples[0][1], samples[-1][1],
                        growth, [(round(at, 1), round(held, 1)) for at, held in samples])


def own_mib(pid: int | None = None) -> float:
    """Resident memory that a process shares with none [MiB]; this one by default.

    Raises:
        ValueError: The system does not tell, or there is no such process.
    """
    path = Path("/proc", "self" if pid is None else str(pid), "statm")
    try:
        _, resident, shared, *_ = map(int, path.read_text().split())
        return (resident - shared) * os.sysconf("SC_PAGESIZE") / 2**20
    except (OSError, ValueError):
        raise ValueError(f"{path} does not tell how much memory the process holds") from None


def growth_mib_per_minute(samples: Sequence[tuple[float, float]]) -> float:
    """Slope of the second half, by least squares; the first half warms up.

    Args:
        samples: Time [s] and memory [MiB] of each, in order.

    Raises:
        ValueError: There are less than two in the second half.
    """
    half = samples[len(samples) // 2:]
    if len(half) < 2 or half[0][0] == half[-1][0]:
        raise ValueError(f"{len(samples)} samples of memory are too few; expected 3 or more")
    times, held = np.array(half, float).T
    return float(np.polyfit((times - times[0]) / 60.0, held, 1)[0])
