"""Runs of one experiment held against each other, whichever of them are done, and said in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from aqr_perception.experiment.config import ExperimentConfig
from aqr_perception.experiment.differences import Difference, difference
from aqr_perception.experiment.figures import RunFigures


@dataclass(frozen=True)
class Conclusion:
    """One sentence.

    Attributes:
        topic: What it belongs to.
        text: The sentence.
    """

    topic: str
    text: str


@dataclass(frozen=True)
class Comparison:
    """What of an experiment is done.

    Attributes:
        config: The experiment.
        figures: Of the runs that are done.
    """

    config: ExperimentConfig
    figures: Mapping[str, RunFigures]

    def difference(self, run: str, against: str, metric: str) -> Difference:
        """One run less another; without values where one of them is not done.

        The smallest difference that may be called one is of mAP and NDS; losses have none.
        """
        of_loss = metric in ("first_loss", "last_loss") or metric.startswith("part.")
        smallest = 0.0 if of_loss else self.config.evaluation.smallest_difference
        if not self.has(run, against):
            return Difference(run, against, metric, (), smallest)
        return difference(self.figures[run], self.figures[against], metric, smallest)

    def has(self, *names: str) -> bool:
        """Whether these runs are done, with one seed at least."""
        return all(name in self.figures for name in names)

    def missing(self, *names: str) -> list[str]:
        """Those of some runs that are not done at all."""
        return [name for name in names if name not in self.figures]

    def undone(self) -> dict[str, tuple[int, ...]]:
        """Seeds that are not done yet by run, of runs that have any."""
        wanted = {name: set(self.config.seeds_of(name)) for name in self.config.runs}
        left = {name: seeds - set(self.figures[name].seeds if name in self.figures else ())
                for name, seeds in wanted.items()}
        return {name: tuple(sorted(seeds)) for name, seeds in left.items() if seeds}

    def mean(self, run: str, metric: str) -> float:
        """Of a run over its seeds; NaN where it is not known."""
        return self.figures[run].mean(metric) if run in self.figures else math.nan

    def twin(self, name: str, **changes: Any) -> str:
        """The run that differs from another in these fields of its weight map alone; empty: none.

        Args:
            name: Of a run with mode weight_map.
            changes: Fields of `WeightMapConfig`.
        """
        run = self.config.runs[name]
        wanted = replace(run.aqr, weight_map=replace(run.aqr.weight_map, **changes))
        return next((other for other, one in self.config.runs.items()
                     if other != name and one.aqr == wanted and not one.distil_from
                     and one.train and not one.freeze_baseline
                     and self.config.fault_share(other) == self.config.fault_share(name)), "")

    @property
    def able(self) -> list[str]:
        """Runs with an AQR that a vehicle could use: neither told the truth nor made blind."""
        return [name for name, run in self.config.runs.items()
                if run.aqr.mode != "off" and not run.oracle and not run.control]


def signed(found: Difference, digits: int = 3) -> str:
    """A difference with its spread."""
    if not found.values:
        return "not known"
    spread = "one seed" if math.isnan(found.spread) else f"spread {found.spread:.{digits}f}"
    return f"{found.mean:+.{digits}f}, {spread}"


def in_words(found: Difference, above: str, below: str, neither: str = "no difference") -> str:
    """What a difference may be called, and its figures; a single seed claims nothing.

    Args:
        found: The difference.
        above: What it is where it is above zero.
        below: Where it is below.
        neither: Where it is not larger than its spread.
    """
    if not found.values or math.isnan(found.mean):
        return "not known yet"
    if len(found.values) < 2:
        return f"nothing can be claimed from one seed ({signed(found)})"
    return f"{({1: above, -1: below, 0: neither})[found.sign]} ({signed(found)})"


def listed(names: list[str]) -> str:
    """Names with commas; "none" without any."""
    return ", ".join(names) or "none"
