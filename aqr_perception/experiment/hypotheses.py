"""Why the experiment report's AQR may have done harm: what can be told of each cause here."""

from __future__ import annotations

import math
from collections.abc import Mapping

from aqr_perception.experiment.comparing import Comparison, Conclusion, in_words
from aqr_perception.experiment.differences import Difference
from aqr_perception.experiment.published import AQR, VALUES
from aqr_perception.experiment.views import Change
from aqr_perception.model.aqr.monitor import MODALITIES

TOPIC = "Why the report's AQR hurt"


def hypotheses(runs: Comparison, changes: Mapping[str, Change]) -> list[Conclusion]:
    """A sentence or two for each cause that reading the published code suggests.

    Args:
        runs: That are done.
        changes: Of the pictured frame, by run, see `views`.
    """
    run, base = runs.config.report_aqr, runs.config.report_baseline
    if not run or runs.config.runs[run].aqr.mode != "weight_map":
        return []
    if not runs.config.runs[run].aqr.weight_map.reference:
        return [Conclusion(TOPIC, f"{run} is not the published code with its faults; what these do "
                           "is not looked at."),
                Conclusion(TOPIC, _artefact(run, changes))]
    mended = runs.twin(run, reference=False)
    lines = [_all_together(runs, run, mended, base)]
    if "first.mean_weight.lidar" in (runs.figures[run].values if runs.has(run) else {}):
        lines += [_no_gradient(runs, run, mended), _leak(runs, run, mended),
                  _no_identity(runs, run, mended, base), _artefact(run, changes)]
    return [Conclusion(TOPIC, line) for line in lines]


def _all_together(runs: Comparison, run: str, mended: str, base: str) -> str:
    if not mended:
        return f"No run is {run} with its faults mended, so that they cannot be told from its idea."
    missing = runs.missing(run, mended, base)
    if missing:
        return (f"{', '.join(missing)} is not done yet: what the faults of the code cost is not "
                "known.")
    mending = in_words(runs.difference(mended, run, "mAP"), "a gain", "a loss")
    idea = in_words(runs.difference(mended, base, "mAP"), "better", "worse")
    return (f"All faults of the published code together, clean mAP: mending them ({mended} against "
            f"{run}): {mending}. What weight maps as such do ({mended} against {base}): {idea}.")


def _no_gradient(runs: Comparison, run: str, mended: str) -> str:
    """The published code turns weights into plain numbers before it draws the maps."""
    def moved(name: str) -> str:
        return " and ".join(f"{runs.mean(name, f'first.mean_weight.{one}'):.3f} to "
                            f"{runs.mean(name, f'last.mean_weight.{one}'):.3f} ({one})"
                            for one in MODALITIES)

    text = ("1. No gradient. In the published code none reaches what generates the weights; they "
            f"stay a function that was drawn by chance. In training the mean weight went from "
            f"{moved(run)} in {run}")
    if mended and runs.has(mended):
        text += f", and with a gradient, started at 1, from {moved(mended)} in {mended}"
    return text + ". That nothing was learned there follows from the code, not from these numbers."


def _leak(runs: Comparison, run: str, mended: str) -> str:
    """Denoising queries stand near the truth and were drawn into the maps, in training alone."""
    def excess(name: str) -> str:
        values = runs.figures[name].values
        both = zip(values.get("largest_factor.training", ()), values.get("largest_factor", ()))
        gap = Difference(name, name, "largest_factor", tuple(a - b for a, b in both), 0.0)
        return in_words(gap, "larger in training than in measuring",
                        "smaller in training than in measuring")

    text = ("2. The truth leaks. Noisy copies of the true objects are drawn into the maps, in "
            f"training alone. If that matters, the largest factor on a feature is larger in "
            f"training. In {run}: {excess(run)}")
    if mended and runs.has(mended):
        text += f"; in {mended}, which leaves them out, {excess(mended)}"
    return (text + ". Training looks at many more frames than measuring, and in more of them has "
            "queries that no camera sees, which the published code draws into a corner of the "
            "first picture; both raise its largest factor, too.")


def _no_identity(runs: Comparison, run: str, mended: str, base: str) -> str:
    """At the start the published code scales every feature down."""
    def start(name: str) -> str:
        change = " and ".join(f"{runs.mean(name, f'first.relative_change.{one}'):.0%} ({one})"
                              for one in MODALITIES)
        loss = in_words(runs.difference(name, base, "first_loss"), "higher", "lower")
        return f"{name} changes {change} of the features, the first loss: {loss}"

    text = ("3. No identity. The published maps scale features from the first step on, which a "
            f"trained decoder does not expect. Features and loss (against {base}) at the start"
            f": {start(run)}")
    return text + (f"; {start(mended)}" if mended and runs.has(mended) else "") + "."


def _artefact(run: str, changes: Mapping[str, Change]) -> str:
    """The report's statistic counts each exact zero as unchanged."""
    there = VALUES[AQR]
    text = (f"4. The relative change of {there['relative_change.camera']:.0%} (cameras) and "
            f"{there['relative_change.lidar']:.0%} (LiDAR) is a mean over cells that counts every "
            "exact zero as unchanged; ours is the sum of changes over the sum of features. ")
    change = changes.get(run)
    if change is None:
        return text + f"Both on one frame need the weights of {run}, which are not there."
    here = "; ".join(
        f"{one}: {change.zeros[k]:.0%} zeros, {change.of_report[k]:.3f} by the report's statistic, "
        f"{change.ours[k]:.3f} by ours" for k, one in enumerate(MODALITIES)
        if math.isfinite(change.ours[k]))
    ratios = [values[1] / values[0] if values[0] else math.nan
              for values in (change.of_report, change.ours)]
    text += f"On the pictured clean frame of {run} – {here}. "
    if all(map(math.isfinite, ratios)):
        text += (f"Cameras against LiDAR that is {ratios[0]:.1f} times by the report's (there "
                 f"{there['relative_change.camera'] / there['relative_change.lidar']:.1f}) and "
                 f"{ratios[1]:.1f} by ours.")
    return text
