"""Sentences that follow from the figures by rule; none is written by hand.

A difference is called one by `Difference.called` and by nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aqr_perception.experiment.config import ExperimentConfig
from aqr_perception.experiment.differences import Difference, called_by_chance, difference
from aqr_perception.experiment.figures import RunFigures
from aqr_perception.experiment.published import AQR, BASELINE, LARGE_CLASSES, SMALL_CLASSES, VALUES
from aqr_perception.experiment.size import Size

GOOD_AUROC, BAD_AUROC = 0.9, 0.6
"""From here on a gate is said to tell a fault; up to here, not to."""
COMPARED = {"mAP": "clean mAP", "faults": "mean mAP under faults",
            "faults.unseen": "mean mAP under faults kept from training"}
"""What runs are compared by."""


@dataclass(frozen=True)
class Conclusion:
    """One sentence.

    Attributes:
        topic: What it belongs to.
        text: The sentence.
    """

    topic: str
    text: str


class Conclusions:
    """Draws all of them.

    Args:
        config: The experiment.
        figures: Of every run.
        size: How much was done.
    """

    def __init__(self, config: ExperimentConfig, figures: Mapping[str, RunFigures], size: Size
                 ) -> None:
        self.config = config
        self.figures = figures
        self.size = size
        self._compared = self._called = 0

    def all(self) -> list[Conclusion]:
        """Every sentence; where the weights were not trained, that they say nothing."""
        if not self.figures[self.config.start].about["trained"]:
            return [Conclusion("Validity", "The weights that all runs start from are not trained: "
                               "these figures show that the path works, and nothing about the "
                               "methods.")]
        drawn = [*self._best(), *self._controls(), *self._methods(), *self._report(),
                 *self._room(), *self._gates(), *self._clamps()]
        return [*self._validity(), *drawn]

    def difference(self, run: str, against: str, metric: str) -> Difference:
        """One run less another."""
        return difference(self.figures[run], self.figures[against], metric,
                          self.config.evaluation.smallest_difference)

    def _validity(self) -> list[Conclusion]:
        seeds = len(self.config.seeds)
        text = (f"{len(self.config.runs)} runs, {seeds} seed{'s' * (seeds != 1)}, "
                f"{self.size.steps} steps; {self.size.clean_frames} clean frames, "
                f"{self.size.frames} under each fault and severity. The spread is over seeds; that "
                "other frames would give other figures is not in it.")
        if seeds < 2:
            text += " With one seed there is no spread, so nothing is called a difference."
        else:
            share = called_by_chance(seeds)
            text += (f" Of {self._compared} comparisons in this section {self._called} are called "
                     f"a difference; if seeds scatter normally, up to "
                     f"{share * self._compared:.0f} would be by chance alone.")
        return [Conclusion("Validity", text)]

    def _verdict(self, run: str, against: str, metric: str) -> str:
        found = self.difference(run, against, metric)
        self._compared += 1
        self._called += found.called
        if math.isnan(found.mean):
            return f"{COMPARED[metric]} is not known"
        spread = "one seed" if math.isnan(found.spread) else f"spread {found.spread:.3f}"
        word = {1: "better", -1: "worse", 0: "no difference"}[found.sign]
        return f"{COMPARED[metric]} {found.mean:+.3f} ({spread}): {word}"

    def _methods(self) -> list[Conclusion]:
        return [Conclusion("Each run against its like", f"{name} against {other}: " + "; ".join(
            self._verdict(name, other, metric) for metric in COMPARED
            if metric in self.figures[name].values) + ".")
            for name in self.config.runs for other in self.config.against(name)]

    def _best(self) -> list[Conclusion]:
        """Which AQR gains under faults over the competitor, and loses nothing without."""
        competitor = self.config.competitor
        able = [name for name, run in self.config.runs.items()
                if run.aqr.mode != "off" and not run.oracle and not run.control]
        gains = [(self.difference(name, competitor, "faults"),
                  self.difference(name, competitor, "mAP")) for name in able]
        winners = sorted((pair for pair in gains if pair[0].sign > 0 and pair[1].sign >= 0),
                         key=lambda pair: -pair[0].mean)
        torn = [faulty.run for faulty, clean in gains if faulty.sign > 0 and clean.sign < 0]
        losers = [clean.run for _, clean in gains if clean.sign < 0]
        if winners:
            names = ", ".join(f"{faulty.run} ({faulty.mean:+.3f})" for faulty, _ in winners)
            text = f"Better than {competitor} under faults, and not called worse without: {names}."
        else:
            text = (f"No AQR is better than {competitor} under faults without being worse on clean "
                    f"frames ({len(able)} tried).")
        if torn:
            text += f" Better under faults, but worse without: {', '.join(torn)}."
        if losers:
            text += f" Worse on clean frames: {', '.join(losers)}."
        return [Conclusion("What to use", text)]

    def _controls(self) -> list[Conclusion]:
        """Whether a gate owes what it gains to what it sees."""
        out = []
        for name, run in self.config.runs.items():
            if not run.control:
                continue
            blind = {"constant": "one number a sensor kind, whatever the frame shows",
                     "shuffled": "another query's bias for each query"}[run.control]
            for other in self.config.against(name):
                if self.config.runs[other].aqr.mode != "gate":
                    continue
                gain = self.difference(other, name, "faults")
                word = {1: "the gate owes something to what it sees",
                        0: "it is not shown that the gate owes anything to what it sees",
                        -1: "what the gate sees misleads it"}[gain.sign]
                out.append(Conclusion("Whether what the gate sees matters", f"{other} gains "
                                      f"{_signed(gain)} under faults over {blind} ({name}): "
                                      f"{word}."))
        return out

    def _report(self) -> list[Conclusion]:
        """What the report found, found again or not."""
        run, base = self.config.report_aqr, self.config.report_baseline
        if not run:
            return []
        drop = VALUES[AQR]["mAP"] - VALUES[BASELINE]["mAP"]
        found = self.difference(run, base, "mAP")
        again = {-1: "it is found again", 0: "it is not found again",
                 1: "the opposite is found"}[found.sign]
        lines = [f"The report has a difference in mAP of {drop:+.3f}; with {run} against {base} "
                 f"{again} ({_signed(found)})."]
        lines += self._small_objects(run, base)
        slower, published = self._slower(run, base), (VALUES[AQR]["seconds_per_step"]
                                                      / VALUES[BASELINE]["seconds_per_step"])
        if math.isfinite(slower):
            lines.append(f"A step took {published:.1f} times as long there; here {slower:.2f} "
                         "times.")
        loss = self.difference(run, base, "first_loss")
        if loss.values:
            word = {1: "begins higher", -1: "begins lower", 0: "does not begin differently"}
            lines.append(f"The loss began {VALUES[AQR]['first_loss']:.2f} against "
                         f"{VALUES[BASELINE]['first_loss']:.2f} there; here it "
                         f"{word[loss.sign]} ({_signed(loss)}).")
        return [Conclusion("The experiment report", line) for line in lines]

    def _small_objects(self, run: str, base: str) -> list[str]:
        each = [np.array([self.difference(run, base, f"AP.{name}").values for name in classes])
                for classes in (SMALL_CLASSES, LARGE_CLASSES)]
        if not all(values.size for values in each):
            return []
        small, large = (values.mean(0) for values in each)
        gap = Difference(run, base, "small", tuple((small - large).tolist()),
                         self.config.evaluation.smallest_difference)
        word = {-1: "they do here, too", 0: "no such difference is found here",
                1: "here they suffer less"}[gap.sign]
        return [f"Small objects suffered more than large ones there; {word} (small less large: "
                f"{_signed(gap)})."]

    def _slower(self, run: str, base: str) -> float:
        return (self.figures[run].mean("seconds_per_step")
                / self.figures[base].mean("seconds_per_step"))

    def _room(self) -> list[Conclusion]:
        """What knowing the truth would gain."""
        out = []
        for name, run in self.config.runs.items():
            if run.oracle:
                room = self.difference(name, self.config.competitor, "faults")
                word = {1: "there is room for a gate", 0: "no room could be told from none",
                        -1: "leaving out what is wrong does harm"}[room.sign]
                out.append(Conclusion("The upper bound", f"The truth about each {run.oracle} in "
                                      f"place of the gate ({name}) gives {_signed(room)} under "
                                      f"faults against {self.config.competitor}: {word}."))
        return out

    def _gates(self) -> list[Conclusion]:
        out = []
        for name, figures in self.figures.items():
            prefix = "auroc.sensor."
            known = {key.removeprefix(prefix): figures.mean(key) for key in figures.values
                     if key.startswith(prefix)}
            if not known:
                continue
            told = [fault for fault, value in known.items() if value >= GOOD_AUROC]
            missed = [fault for fault, value in known.items() if value <= BAD_AUROC]
            text = (f"{name} tells {len(told)} of {len(known)} faults of whole sensors with an "
                    f"AUROC of {GOOD_AUROC:g} or more ({_names(told)}) and {len(missed)} with "
                    f"{BAD_AUROC:g} or less ({_names(missed)}).")
            for key in figures.values:
                if key.startswith("blame."):
                    pair = " or ".join(key.split(".")[1:])
                    text += f" Who lies, {pair}: AUROC {figures.mean(key):.2f}."
            out.append(Conclusion("What the gates see", text))
        return out

    def _clamps(self) -> list[Conclusion]:
        out = []
        for name, figures in self.figures.items():
            limit = figures.about["theoretical_maximum"]
            if limit is None:
                continue
            occurred = max(value for key in ("largest_factor", "largest_factor.training")
                           for value in figures.values.get(key, (-math.inf,)))
            if math.isfinite(occurred):
                out.append(Conclusion("The clamp", f"{name}: the largest factor on a feature was "
                                      f"{occurred:.3f}, {occurred / limit:.0%} of the theoretical "
                                      f"maximum {limit:.3f}."))
        return out


def _signed(found: Difference) -> str:
    spread = "one seed" if math.isnan(found.spread) else f"spread {found.spread:.3f}"
    return f"{found.mean:+.3f}, {spread}"


def _names(faults: list[str]) -> str:
    return ", ".join(faults) or "none"
