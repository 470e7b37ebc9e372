"""Tables of the page, as HTML."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

from aqr_perception.experiment.comparing import Comparison
from aqr_perception.experiment.config import ExperimentConfig
from aqr_perception.experiment.differences import Difference
from aqr_perception.experiment.figures import CLEAN_METRICS, LEVELS, LOSS_PARTS, RunFigures
from aqr_perception.experiment.goals import GOALS, against_competitor
from aqr_perception.experiment.published import GRADIENT_RANGES, NAN_GRADIENTS, VALUES
from aqr_perception.experiment.views import Change
from aqr_perception.simulation.faults import FAULTS, MATCHED_PAIRS
from aqr_perception.training.fault_sampler import HELD_OUT
from aqr_perception.types import CLASS_NAMES

Runs = Mapping[str, RunFigures]
UNKNOWN = "–"
UNDER_FAULTS = {"faults": "mAP under faults", "faults.seen": "seen faults",
                "faults.unseen": "unseen faults", "faults.misleading": "misleading faults"}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are HTML already; the first column names the row."""
    first = "".join(f"<th>{name}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class='wide'><table><tr>{first}</tr>{body}</table></div>"


def number(value: float, digits: int = 3) -> str:
    """A number, or a dash where it is not known."""
    return f"{value:.{digits}f}" if math.isfinite(value) else UNKNOWN


def with_spread(run: RunFigures, metric: str, digits: int = 3) -> str:
    """Mean over the seeds, and the spread in small letters."""
    text = number(run.mean(metric), digits)
    spread = run.spread(metric)
    return f"{text} <small>{spread:.{digits}f}</small>" if math.isfinite(spread) else text


def difference_cell(found: Difference) -> str:
    """Mean and spread of a difference; coloured only where it is called one."""
    if math.isnan(found.mean):
        return UNKNOWN
    spread = f" <small>{found.spread:.3f}</small>" if math.isfinite(found.spread) else ""
    kind = {1: " class='up'", -1: " class='down'", 0: ""}[found.sign]
    return f"<span{kind}>{found.mean:+.3f}</span>{spread}"


class Tables:
    """All tables of one experiment.

    Args:
        config: The experiment.
        figures: Of every run.
    """

    def __init__(self, config: ExperimentConfig, figures: Runs) -> None:
        self.config = config
        self.figures = figures
        self.done = Comparison(config, figures)
        self.difference = self.done.difference

    def runs(self) -> str:
        """What each run is, and which of its seeds are done."""
        undone, rows = self.done.undone(), []
        for name, run in self.config.runs.items():
            about = self.figures[name].about if name in self.figures else None
            seeds = self.figures[name].seeds if name in self.figures else ()
            left = ", ".join(map(str, undone.get(name, ())))
            rows.append((f"<b>{name}</b>", html.escape(run.about),
                         ", ".join(self.config.against(name)) or UNKNOWN,
                         ", ".join(map(str, seeds)) or UNKNOWN,
                         f"<b>{left}</b>" if left else UNKNOWN,
                         *(f"{about[key]:,}" if about else UNKNOWN
                           for key in ("parameters", "aqr_parameters"))))
        return table(("run", "what it is", "held against", "seeds done", "seeds missing",
                      "parameters", "of AQR"), rows)

    def main(self) -> str:
        """Metrics on clean frames, and mAP under faults; the report's below."""
        metrics = (*CLEAN_METRICS, *UNDER_FAULTS)
        rows = [(name, *(with_spread(run, metric) for metric in metrics))
                for name, run in self.figures.items()]
        rows += [(f"<i>{name}</i>", *(number(values.get(metric, math.nan)) for metric in metrics))
                 for name, values in VALUES.items()]
        return table(("run", *CLEAN_METRICS, *UNDER_FAULTS.values()), rows)

    def against(self) -> str:
        """Each run less those that it is held against."""
        metrics = ("mAP", "NDS", *UNDER_FAULTS)
        rows = [(name, other, *(difference_cell(self.difference(name, other, metric))
                                for metric in metrics))
                for name in self.figures for other in self.config.against(name)
                if self.done.has(other)]
        base, aqr = VALUES.values()
        rows.append(("<i>report: AQR</i>", "<i>its baseline</i>",
                     *(f"{aqr[metric] - base[metric]:+.3f}" if metric in aqr else UNKNOWN
                       for metric in metrics)))
        return table(("run", "less", "mAP", "NDS", *UNDER_FAULTS.values()), rows)

    def goals(self) -> str:
        """What each AQR gains over the competitor, where there is a goal; below, what the truth
        would.
        """
        oracles = [name for name, run in self.config.runs.items() if run.oracle]
        rows = [("<i>wanted</i>", *(f"<i>{goal.least:+.3f}</i>" for goal in GOALS))]
        for names, form in ((self.done.able, "{}"), (oracles, "<i>{}</i>")):
            for name in names:
                found = [(goal, against_competitor(self.done, name, goal)) for goal in GOALS]
                if self.done.has(name, self.config.competitor):
                    rows.append((form.format(name), *(
                        difference_cell(one) + (" ✓" if goal.reached(one) else "")
                        for goal, one in found)))
        return table(("run", *(goal.title for goal in GOALS)), rows) if len(rows) > 1 else ""

    def classes(self) -> str:
        """AP by class."""
        rows = [(name, *(with_spread(run, f"AP.{one}") for one in CLASS_NAMES))
                for name, run in self.figures.items()]
        rows += [(f"<i>{name}</i>", *(number(values[f"AP.{one}"]) for one in CLASS_NAMES))
                 for name, values in VALUES.items()]
        return table(("run", *(name.replace("_", " ") for name in CLASS_NAMES)), rows)

    def class_differences(self) -> str:
        """AP by class, less that of each run's like; the report's against its own."""
        rows = [(f"{name} less {other}", *(
            difference_cell(self.difference(name, other, f"AP.{one}")) for one in CLASS_NAMES))
            for name in self.figures for other in self.config.against(name)
            if self.done.has(other)]
        base, aqr = VALUES.values()
        rows.append(("<i>report: AQR less baseline</i>",
                     *(f"{aqr[f'AP.{one}'] - base[f'AP.{one}']:+.3f}" for one in CLASS_NAMES)))
        return table(("run", *(name.replace("_", " ") for name in CLASS_NAMES)), rows)

    def cost(self) -> str:
        """Time, memory, gradients that were not finite; the report's below, as far as it says."""
        competitor = self.figures.get(self.config.competitor)
        usual = competitor.mean("seconds_per_step") if competitor else math.nan
        rows: list[Sequence[str]] = []
        for name, run in self.figures.items():
            largest = max(run.values.get("largest_gradient", (math.nan,)))
            rows.append((
                name, with_spread(run, "seconds_per_step", 2),
                number(run.mean("seconds_per_step") / usual if usual else math.nan, 2),
                number(run.mean("seconds"), 0), number(run.mean("eye_seconds"), 0),
                number(run.mean("memory_mib"), 0), number(run.mean("milliseconds"), 0),
                number(run.mean("typical_gradient"), 1), number(largest, 1),
                _counts(run, "inf_gradients"), _counts(run, "nan_gradients"),
                number(run.mean("first_loss"), 2), with_spread(run, "last_loss", 2)))
        base = next(iter(VALUES.values()))["seconds_per_step"]
        for name, values in VALUES.items():
            rows.append((
                f"<i>{name}</i>", number(values["seconds_per_step"], 2),
                number(values["seconds_per_step"] / base, 2), number(values["seconds"], 0), UNKNOWN,
                number(values["memory_mib"], 0), UNKNOWN, GRADIENT_RANGES[name],
                number(values["largest_gradient"], 1), number(values["inf_gradients"], 0),
                NAN_GRADIENTS[name], number(values["first_loss"], 2),
                number(values["last_loss"], 2)))
        return table(("run", "seconds a step", "times the competitor's (report: its baseline's)",
                      "training [s]", "the gate's eye before [s]", "peak memory [MiB]",
                      "ms a frame", "gradient's norm, median", "largest", "infinite gradients",
                      "NaN gradients", "loss at first", "loss at last"), rows)

    def parts(self) -> str:
        """Parts of the loss over the last tenth of the lines of the log."""
        names = [f"part.{name}" for name in LOSS_PARTS]
        rows = [(name, *(with_spread(run, one) for one in names))
                for name, run in self.figures.items() if names[0] in run.values]
        rows += [(f"<i>{name}</i>", *(number(values.get(one, math.nan)) for one in names))
                 for name, values in VALUES.items()]
        return table(("run", *LOSS_PARTS), rows)

    def monitor(self) -> str:
        """Mean weights and changes by modality, on clean frames."""
        names = [f"{name}.{modality}" for name in ("mean_weight", "relative_change", "max_change",
                                                   "outside_band")
                 for modality in ("lidar", "camera")]
        rows = [(name, *(with_spread(run, one) for one in names))
                for name, run in self.figures.items() if names[0] in run.values]
        rows += [(f"<i>{name}</i>", *(number(values.get(one, math.nan)) for one in names))
                 for name, values in VALUES.items() if names[0] in values]
        return table(("run", *(name.replace("_", " ").replace(".", ", ") for name in names)), rows)

    def changes(self, changes: Mapping[str, Change]) -> str:
        """Relative change of one frame's features, as the report measures it and as we do."""
        rows = [(name, *(number(values[k]) for k in range(2)
                         for values in (one.zeros, one.of_report, one.ours)))
                for name, one in changes.items() if self.config.runs[name].aqr.mode == "weight_map"]
        head = [f"{modality}, {what}" for modality in ("lidar", "camera")
                for what in ("share of exact zeros", "mean of |ΔF| / |F|, the report's",
                             "Σ|ΔF| / Σ|F|, ours")]
        return ("<h3>Relative change of this frame, without a fault</h3>"
                + table(("run", *head), rows)) if rows else ""

    def factors(self) -> str:
        """The largest factor that could be on a feature, and the one that was."""
        rows = []
        for name, run in self.figures.items():
            limit = run.about["theoretical_maximum"]
            if limit is None:
                continue
            rows.append((name, number(limit), with_spread(run, "largest_factor"),
                         with_spread(run, "largest_factor.training")))
        return table(("run", "theoretical maximum", "largest, measuring", "largest, training"),
                     rows)

    def faults(self) -> str:
        """MAP under every fault, the mean over severities; and on the same frames without."""
        rows = [("<i>none, on the same frames</i>",
                 *(with_spread(run, "same") for run in self.figures.values()))]
        rows += [(_fault(name), *(with_spread(run, f"fault.{name}")
                                  for run in self.figures.values()))
                 for name in self.config.evaluation.fault_names]
        return table(("fault", *self.figures), rows)

    def fault_differences(self) -> str:
        """The same less the competitor."""
        competitor = self.config.competitor
        others = [name for name in self.figures if name != competitor]
        if competitor not in self.figures:
            return ""
        rows = [(_fault(fault), *(difference_cell(self.difference(name, competitor,
                                                                  f"fault.{fault}"))
                                  for name in others))
                for fault in self.config.evaluation.fault_names]
        return f"<h3>Less {competitor}</h3>" + table(("fault", *others), rows)

    def severities(self) -> str:
        """MAP under every fault in every severity."""
        rows = [(f"{_fault(fault)} {one.severity}",
                 *(with_spread(run, f"fault.{fault}.{one.severity}")
                   for run in self.figures.values()))
                for fault in self.config.evaluation.fault_names
                for one in self.config.evaluation.settings(fault)]
        return table(("fault and severity", *self.figures), rows)

    def pairs(self) -> str:
        """Faults that differ only in who lies: mAP under each, and whom the gate blames."""
        rows = []
        for lidar, cameras in MATCHED_PAIRS:
            if not {lidar, cameras} <= set(self.config.evaluation.fault_names):
                continue
            rows += [(name, lidar, cameras, with_spread(run, f"fault.{lidar}"),
                      with_spread(run, f"fault.{cameras}"),
                      with_spread(run, f"blame.{lidar}.{cameras}", 2))
                     for name, run in self.figures.items()]
        return table(("run", "the LiDAR lies", "the cameras lie", "mAP, the LiDAR lies",
                      "mAP, the cameras lie", "AUROC of blame"), rows) if rows else ""

    def calibration(self) -> str:
        """AUROC of every gate by fault, at every level."""
        gates = self._judged()
        rows = [(f"{_fault(fault)}, {level}",
                 *(with_spread(self.figures[name], f"auroc.{level}.{fault}", 2) for name in gates))
                for fault in self.config.evaluation.fault_names for level in LEVELS
                if any(f"auroc.{level}.{fault}" in self.figures[name].values for name in gates)]
        return table(("fault and level", *gates), rows) if rows else ""

    def kept(self) -> str:
        """What every gate lets sensors keep, by fault: of those better left out, of the others."""
        gates = self._judged()
        rows = [(_fault(fault), *(f"{with_spread(self.figures[name], f'kept.wrong.{fault}', 2)} / "
                                  f"{with_spread(self.figures[name], f'kept.sound.{fault}', 2)}"
                                  for name in gates))
                for fault in self.config.evaluation.fault_names
                if any(f"kept.sound.{fault}" in self.figures[name].values for name in gates)]
        if not rows:
            return ""
        clean = (with_spread(self.figures[name], "kept.clean", 2) for name in gates)
        rows.insert(0, ("no fault", *(f"{UNKNOWN} / {cell}" for cell in clean)))
        return table(("fault", *gates), rows)

    def put_right(self) -> str:
        """Share of frames in which a gate put a sensor right, by fault; those that never do, not.

        Faults under which nobody put anything right are left out.
        """
        gates = [name for name in self._judged()
                 if "put_right.clean" in self.figures[name].values]
        rows = [(_fault(fault), *(with_spread(self.figures[name], f"put_right.{fault}", 2)
                                  for name in gates))
                for fault in self.config.evaluation.fault_names
                if any(self.figures[name].mean(f"put_right.{fault}") > 0 for name in gates)]
        if not gates:
            return ""
        rows.insert(0, ("no fault", *(with_spread(self.figures[name], "put_right.clean", 2)
                                      for name in gates)))
        return table(("fault", *gates), rows)

    def _judged(self) -> list[str]:
        """Runs whose gate was held against what is known."""
        return [name for name, run in self.figures.items()
                if any(key.startswith("auroc.") for key in run.values)]


def _fault(name: str) -> str:
    """Name with what it is as a hint; those that training does not see are marked."""
    mark = "*" if name in HELD_OUT else ""
    return f"<span title='{html.escape(FAULTS[name].description, quote=True)}'>{name}{mark}</span>"


def _counts(run: RunFigures, metric: str) -> str:
    values = run.values.get(metric)
    return " + ".join(f"{value:.0f}" for value in values) if values else UNKNOWN
