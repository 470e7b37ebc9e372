"""Differences between runs, and when one may be called that."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from aqr_perception.experiment.figures import RunFigures


@dataclass(frozen=True)
class Difference:
    """One run less another, seed by seed: those of one seed saw the same batches.

    Attributes:
        run: The one.
        against: The other.
        metric: See `figures`.
        values: A difference a seed.
        smallest: Below this, nothing is called a difference.
    """

    run: str
    against: str
    metric: str
    values: tuple[float, ...]
    smallest: float

    @property
    def mean(self) -> float:
        """Over the seeds; NaN where something is not known."""
        return float(np.mean(self.values)) if self.values else math.nan

    @property
    def spread(self) -> float:
        """Largest less smallest over the seeds; NaN for fewer than two."""
        return max(self.values) - min(self.values) if len(self.values) > 1 else math.nan

    @property
    def called(self) -> bool:
        """Whether it is larger than its spread over two seeds or more, and large enough."""
        return abs(self.mean) > self.spread and abs(self.mean) >= self.smallest

    @property
    def sign(self) -> int:
        """1 above, -1 below, 0 where nothing is called a difference."""
        return int(math.copysign(1, self.mean)) if self.called else 0


def difference(one: RunFigures, other: RunFigures, metric: str, smallest: float) -> Difference:
    """Compare two runs.

    Args:
        one: A run.
        other: What it is held against, over the seeds that both were done with. A run in which
            nothing is drawn is held against every seed of the other.
        metric: See `figures`.
        smallest: Of what may be called a difference.
    """
    mine = dict(zip(one.seeds, one.values.get(metric, ())))
    theirs = dict(zip(other.seeds, other.values.get(metric, ())))
    if other.once and theirs:
        theirs = dict.fromkeys(one.seeds, *theirs.values())
    if one.once and mine:
        mine = dict.fromkeys(other.seeds, *mine.values())
    values = tuple(mine[seed] - theirs[seed] for seed in mine if seed in theirs)
    return Difference(one.name, other.name, metric, values, smallest)


def called_by_chance(seeds: int, trials: int = 200_000) -> float:
    """How often a difference is called where there is none, if seeds scatter normally."""
    if seeds < 2:
        return 0.0
    noise = np.random.default_rng(0).normal(size=(trials, seeds))
    return float((np.abs(noise.mean(1)) > np.ptp(noise, axis=1)).mean())
