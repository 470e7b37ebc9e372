"""What adaptive query routing was to reach against the competitor, and what it reaches."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aqr_perception.experiment.comparing import Comparison, Conclusion, listed, signed
from aqr_perception.experiment.differences import Difference


@dataclass(frozen=True)
class Goal:
    """One of them.

    Attributes:
        title: What it is about.
        metric: See `figures`.
        least: Difference of mAP to the competitor; below zero it is a loss that is allowed.
    """

    title: str
    metric: str
    least: float

    @property
    def wanted(self) -> str:
        """In points of mAP, as one reads it."""
        if self.least < 0:
            return f"{self.title}: at most {-100 * self.least:g} points of mAP lost"
        return f"{self.title}: {100 * self.least:+g} points of mAP"

    def reached(self, found: Difference) -> bool | None:
        """Whether it is; None where nobody can say: not done, or done with one seed.

        A gain must be called a difference, too; an allowed loss must not be exceeded on average.
        """
        if len(found.values) < 2 or math.isnan(found.mean):
            return None
        return found.mean >= self.least and (self.least < 0 or found.called)


GOALS = (Goal("clean frames", "mAP", -0.003),
         Goal("misleading faults on average", "faults.misleading", 0.02),
         Goal("LiDAR stale", "fault.lidar_stale", 0.10),
         Goal("LiDAR rotated", "fault.lidar_rotated", 0.10),
         Goal("all cameras stale", "fault.all_cameras_stale", 0.05))


def against_competitor(runs: Comparison, run: str, goal: Goal) -> Difference:
    """What a run gains where a goal says so."""
    return runs.difference(run, runs.config.competitor, goal.metric)


def goals(runs: Comparison) -> list[Conclusion]:
    """A sentence a goal: who reaches it, the best of them, and what the truth would give."""
    if runs.missing(runs.config.competitor):
        return [Conclusion("The goals", f"{runs.config.competitor} is not done yet; all goals are "
                           "gains over it.")]
    return [Conclusion("The goals", _sentence(runs, goal)) for goal in GOALS
            if goal.metric in runs.figures[runs.config.competitor].values]


def _sentence(runs: Comparison, goal: Goal) -> str:
    found = {name: against_competitor(runs, name, goal) for name in runs.able if runs.has(name)}
    known = {name: one for name, one in found.items() if goal.reached(one) is not None}
    text = f"{goal.wanted} – "
    if known:
        reached = [name for name, one in known.items() if goal.reached(one)]
        best = max(known, key=lambda name: known[name].mean)
        text += (f"reached by {len(reached)} of {len(known)}: {listed(reached)}. The best is "
                 f"{best} ({signed(known[best])}).")
    else:
        text += "no run with AQR is done with two seeds or more, so that nobody can say."
    ceilings = [f"{name} {signed(against_competitor(runs, name, goal))}"
                for name, run in runs.config.runs.items() if run.oracle and runs.has(name)]
    return text + (f" With the truth in place of the gate: {'; '.join(ceilings)}."
                   if ceilings else " No run that is told the truth is done yet.")
