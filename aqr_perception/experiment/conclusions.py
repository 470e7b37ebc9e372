"""Sentences that follow from the figures by rule; none is written by hand.

A difference is called one by `Difference.called` and by nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from aqr_perception.experiment.comparing import Comparison, Conclusion, in_words, listed, signed
from aqr_perception.experiment.config import ExperimentConfig
from aqr_perception.experiment.differences import called_by_chance
from aqr_perception.experiment.figures import RunFigures
from aqr_perception.experiment.goals import goals
from aqr_perception.experiment.hypotheses import hypotheses
from aqr_perception.experiment.report_findings import findings
from aqr_perception.experiment.size import Size
from aqr_perception.experiment.views import Change

GOOD_AUROC, BAD_AUROC = 0.9, 0.6
"""From here on a gate is said to tell a fault; up to here, not to."""
COMPARED = {"mAP": "clean mAP", "faults": "mean mAP under faults",
            "faults.unseen": "mean mAP under faults kept from training"}
"""What runs are compared by."""
SHOWN = 3
"""Faults that are named on either side."""


class Conclusions:
    """Draws all of them.

    Args:
        config: The experiment.
        figures: Of the runs that are done.
        size: How much was done.
        changes: Of the pictured frame, by run, see `views`.
    """

    def __init__(self, config: ExperimentConfig, figures: Mapping[str, RunFigures], size: Size,
                 changes: Mapping[str, Change] | None = None) -> None:
        self.config = config
        self.figures = figures
        self.size = size
        self.changes = changes or {}
        self.runs = Comparison(config, figures)
        self._compared = self._called = 0
        self._by_chance = 0.0

    def all(self) -> list[Conclusion]:
        """Every sentence; where the weights were not trained, that they say nothing."""
        start = self.config.start
        if not self.runs.has(start):
            return [Conclusion("Validity", f"{start} is not done yet; whether the weights that all "
                               "runs start from are trained is not known, so nothing is claimed.")]
        if not self.figures[start].about["trained"]:
            return [Conclusion("Validity", "The weights that all runs start from are not trained: "
                               "these figures show that the path works, and nothing about the "
                               "methods.")]
        against = self._methods()  # counts its comparisons
        return [*self._validity(), *hypotheses(self.runs, self.changes), *findings(self.runs),
                *goals(self.runs), *self._best(), *self._where(), *self._controls(), *self._room(),
                *self._gates(), *self._clamps(), *against]

    def _validity(self) -> list[Conclusion]:
        seeds = max(len(run.seeds) for run in self.figures.values())
        text = (f"{len(self.figures)} of {len(self.config.runs)} runs, up to {seeds} "
                f"seed{'s' * (seeds != 1)}, {self.size.steps} steps; {self.size.clean_frames} "
                f"clean frames, {self.size.frames} under each fault and severity. The spread is "
                "over seeds; that other frames would give other figures is not in it.")
        if seeds < 2:
            text += " With one seed there is no spread, so nothing is called a difference."
        else:
            text += (f" Of {self._compared} comparisons of each run against its like, of two seeds "
                     f"or more, {self._called} are called a difference; if seeds scatter normally, "
                     f"up to {self._by_chance:.1f} would be by chance alone.")
        if self.runs.undone():
            text += " Not all runs are done; what needs those that are not is left out or says so."
        return [Conclusion("Validity", text)]

    def _verdict(self, run: str, against: str, metric: str) -> str:
        found = self.runs.difference(run, against, metric)
        if len(found.values) > 1 and math.isfinite(found.mean):
            self._compared += 1
            self._called += found.called
            self._by_chance += called_by_chance(len(found.values))
        if math.isnan(found.mean):
            return f"{COMPARED[metric]} is not known"
        spread = "one seed" if math.isnan(found.spread) else f"spread {found.spread:.3f}"
        word = {1: "better", -1: "worse", 0: "no difference"}[found.sign]
        if len(found.values) < 2:
            word = "nothing claimed"
        return f"{COMPARED[metric]} {found.mean:+.3f} ({spread}): {word}"

    def _methods(self) -> list[Conclusion]:
        return [Conclusion("Each run against its like", f"{name} against {other}: " + "; ".join(
            self._verdict(name, other, metric) for metric in COMPARED
            if metric in self.figures[name].values) + ".")
            for name in self.figures for other in self.config.against(name)
            if self.runs.has(other)]

    def _best(self) -> list[Conclusion]:
        """Which AQR gains under faults over the competitor, and loses nothing without."""
        competitor, topic = self.config.competitor, "What to use"
        able = {name: [self.runs.difference(name, competitor, metric)
                       for metric in ("faults", "mAP")] for name in self.runs.able}
        judged = {name: pair for name, pair in able.items() if len(pair[0].values) > 1}
        waiting = [name for name in able if name not in judged]
        text = f"Waiting for a second seed, or for {competitor}: {', '.join(waiting)}." \
            if waiting else ""
        if not judged:
            return [Conclusion(topic, text + " What the node should use by default cannot be said "
                               "yet.")] if able else []
        winners = sorted((name for name, (faulty, clean) in judged.items()
                          if faulty.sign > 0 and clean.sign >= 0),
                         key=lambda name: -judged[name][0].mean)
        torn = [name for name, (faulty, clean) in judged.items()
                if faulty.sign > 0 and clean.sign < 0]
        losers = [name for name, (_, clean) in judged.items() if clean.sign < 0]
        if winners:
            names = ", ".join(f"{name} ({judged[name][0].mean:+.3f})" for name in winners)
            first = f"Better than {competitor} under faults, and not called worse without: {names}."
            default = (f"The node's default is therefore aqr.mode "
                       f"{self.config.runs[winners[0]].aqr.mode}, as in {winners[0]}.")
        else:
            first = (f"No AQR is better than {competitor} under faults without being worse on "
                     f"clean frames ({len(judged)} tried).")
            default = f"The node's default is therefore aqr.mode off, as in {competitor}."
        if torn:
            first += f" Better under faults, but worse without: {', '.join(torn)}."
        if losers:
            first += f" Worse on clean frames: {', '.join(losers)}."
        return [Conclusion(topic, line) for line in (first, text, default) if line]

    def _where(self) -> list[Conclusion]:
        """Under which faults each AQR helps, and under which not."""
        out = []
        for name in self.runs.able:
            found = {fault: self.runs.difference(name, self.config.competitor, f"fault.{fault}")
                     for fault in self.config.evaluation.fault_names}
            if any(len(one.values) < 2 for one in found.values()):
                continue
            gains = sorted((fault for fault, one in found.items() if one.sign > 0),
                           key=lambda fault: -found[fault].mean)
            losses = sorted((fault for fault, one in found.items() if one.sign < 0),
                            key=lambda fault: found[fault].mean)

            def most(faults: list[str], found: dict = found) -> str:
                return listed([f"{fault} ({signed(found[fault])})" for fault in faults[:SHOWN]])

            out.append(Conclusion("Where it helps and where not", f"{name} against "
                                  f"{self.config.competitor}: better under {len(gains)} of "
                                  f"{len(found)} faults, most under {most(gains)}; worse under "
                                  f"{len(losses)}, most under {most(losses)}; no difference under "
                                  f"{len(found) - len(gains) - len(losses)}."))
        return out

    def _controls(self) -> list[Conclusion]:
        """Whether a gate owes what it gains to what it sees."""
        out = []
        for name, run in self.config.runs.items():
            if not run.control:
                continue
            blind = {"constant": "one number a sensor kind, whatever the frame shows",
                     "shuffled": "another query's bias for each query"}[run.control]
            for other in self.config.against(name):
                if self.config.runs[other].aqr.mode != "gate" or not self.runs.has(name, other):
                    continue
                gain = in_words(self.runs.difference(other, name, "faults"),
                                "the gate owes something to what it sees",
                                "what the gate sees misleads it",
                                "it is not shown that the gate owes anything to what it sees")
                out.append(Conclusion("Whether what the gate sees matters", f"{other} against "
                                      f"{blind} ({name}), mean mAP under faults: {gain}."))
        return out

    def _room(self) -> list[Conclusion]:
        """What knowing the truth would gain."""
        return [Conclusion("The upper bound", f"The truth about each {run.oracle} in place of the "
                           f"gate ({name}) against {self.config.competitor}, mean mAP under "
                           "faults: " + in_words(
                               self.runs.difference(name, self.config.competitor, "faults"),
                               "there is room for a gate", "leaving out what is wrong does harm",
                               "no room could be told from none") + ".")
                for name, run in self.config.runs.items() if run.oracle and self.runs.has(name)]

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
            seeds = "" if len(figures.seeds) > 1 else " (one seed)"
            text = (f"{name}{seeds} tells {len(told)} of {len(known)} faults of whole sensors with "
                    f"an AUROC of {GOOD_AUROC:g} or more ({listed(told)}) and {len(missed)} with "
                    f"{BAD_AUROC:g} or less ({listed(missed)}).")
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
