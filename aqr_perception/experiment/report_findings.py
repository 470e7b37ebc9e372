"""What the experiment report found, one by one, and whether it holds here."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from aqr_perception.experiment.comparing import Comparison, Conclusion, in_words, signed
from aqr_perception.experiment.differences import Difference
from aqr_perception.experiment.published import AQR, BASELINE, LARGE_CLASSES, SMALL_CLASSES, VALUES

TOPIC, ADVICE = "What the experiment report found", "What the experiment report advises"
PARTS = {"loss_cls": "class", "loss_bbox": "box", "dn_loss_cls": "class, noisy copies",
         "dn_loss_bbox": "box, noisy copies"}
HOLDS, OPPOSITE, NOT_SHOWN = "the same", "the other way round", "no difference"


def findings(runs: Comparison) -> list[Conclusion]:
    """Sentences on the pair of runs that comes nearest to the report's; none where it has none."""
    run, base = runs.config.report_aqr, runs.config.report_baseline
    if not run:
        return []
    missing = runs.missing(run, base)
    if missing:
        return [Conclusion(TOPIC, f"Its pair is {run} against {base}; {', '.join(missing)} is not "
                           "done yet, so nothing can be said.")]
    lines = [f"Its pair is {run} against {base} here."]
    for metric in ("mAP", "NDS"):
        lines.append(f"{metric} changed by {_report(metric):+.4f} there; here: "
                     f"{in_words(runs.difference(run, base, metric), OPPOSITE, HOLDS, NOT_SHOWN)}.")
    lines += [*_small_objects(runs, run, base), *_cost(runs, run, base), *_losses(runs, run, base),
              *_gradients(runs, run, base), *_cameras(runs, run)]
    return [*(Conclusion(TOPIC, line) for line in lines),
            *(Conclusion(ADVICE, line) for line in _advice(runs, run))]


def _report(metric: str) -> float:
    """The report's AQR less its baseline."""
    return VALUES[AQR][metric] - VALUES[BASELINE][metric]


def _small_objects(runs: Comparison, run: str, base: str) -> Iterator[str]:
    each = [np.array([runs.difference(run, base, f"AP.{name}").values for name in classes])
            for classes in (SMALL_CLASSES, LARGE_CLASSES)]
    if not all(values.size for values in each):
        return
    small, large = (values.mean(0) for values in each)
    gap = Difference(run, base, "small", tuple((small - large).tolist()),
                     runs.config.evaluation.smallest_difference)
    there = (np.mean([_report(f"AP.{name}") for name in SMALL_CLASSES])
             - np.mean([_report(f"AP.{name}") for name in LARGE_CLASSES]))
    yield (f"Small objects suffered more than large ones there (AP {there:+.3f}, small less "
           f"large); here: {in_words(gap, OPPOSITE, HOLDS, NOT_SHOWN)}.")


def _cost(runs: Comparison, run: str, base: str) -> Iterator[str]:
    for metric, title in (("seconds_per_step", "A step took"), ("memory_mib", "Memory was")):
        mine, theirs = (dict(zip(one.seeds, one.values.get(metric, ())))
                        for one in (runs.figures[run], runs.figures[base]))
        ratios = [mine[seed] / theirs[seed] for seed in mine if theirs.get(seed)]
        there = VALUES[AQR][metric] / VALUES[BASELINE][metric]
        if ratios:
            spread = f"{min(ratios):.2f} to {max(ratios):.2f} over the seeds" \
                if len(ratios) > 1 else "one seed, so nothing is claimed"
            yield (f"{title} {there:.2f} times the baseline's there; here {np.mean(ratios):.2f} "
                   f"times ({spread}).")


def _losses(runs: Comparison, run: str, base: str) -> Iterator[str]:
    for metric, title in (("first_loss", "began"), ("last_loss", "ended")):
        here = runs.difference(run, base, metric)
        if here.values:
            yield (f"The loss {title} higher there ({VALUES[AQR][metric]:.2f} against "
                   f"{VALUES[BASELINE][metric]:.2f}); here: "
                   f"{in_words(here, HOLDS, OPPOSITE, NOT_SHOWN)}.")
    for part, title in PARTS.items():
        here, there = runs.difference(run, base, f"part.{part}"), _report(f"part.{part}")
        if here.values:
            above, below = (HOLDS, OPPOSITE) if there > 0 else (OPPOSITE, HOLDS)
            yield (f"The loss of {title} ended {there:+.4f} there; here: "
                   f"{in_words(here, above, below, NOT_SHOWN)}.")


def _gradients(runs: Comparison, run: str, base: str) -> Iterator[str]:
    def of(name: str) -> str:
        values = runs.figures[name].values
        infinite, nan = (sum(values.get(key, ())) for key in ("inf_gradients", "nan_gradients"))
        return (f"{name} {runs.mean(name, 'typical_gradient'):.1f} typically, "
                f"{max(values.get('largest_gradient', (math.nan,))):.1f} at most, {infinite:.0f} "
                f"infinite, {nan:.0f} NaN")

    if "typical_gradient" in runs.figures[run].values and runs.has(base):
        yield ("Its gradients scattered a little more with AQR (norm 40 to 61 against 42 to 57), "
               f"with NaN at first. Here: {of(run)}; {of(base)}, over all seeds.")


def _cameras(runs: Comparison, run: str) -> Iterator[str]:
    values = runs.figures[run].values
    for name, title in (("mean_weight", "Cameras had more weight than the LiDAR"),
                        ("relative_change", "The cameras' features were changed more")):
        camera, lidar = (values.get(f"{name}.{modality}", ()) for modality in ("camera", "lidar"))
        gap = Difference(run, run, name, tuple(a - b for a, b in zip(camera, lidar)), 0.0)
        if gap.values:
            there = VALUES[AQR]
            yield (f"{title} there ({there[f'{name}.camera']:.3f} against "
                   f"{there[f'{name}.lidar']:.3f}); here: "
                   f"{in_words(gap, HOLDS, OPPOSITE, NOT_SHOWN)}.")


def _advice(runs: Comparison, run: str) -> Iterator[str]:
    """Each changed form of its weight maps that it proposes, on clean and faulty frames."""
    for name, one in runs.config.runs.items():
        if one.aqr.mode != "weight_map" or one.aqr.weight_map.reference:
            continue
        for other in runs.config.against(name):
            like = runs.config.runs[other].aqr
            if like.mode != "weight_map" or like.weight_map.reference or not runs.has(name, other):
                continue
            clean, faulty = (runs.difference(name, other, metric) for metric in ("mAP", "faults"))
            fair = runs.difference(name, runs.config.competitor, "mAP")
            yield (f"{name} ({one.about}) against {other}: clean mAP "
                   f"{in_words(clean, 'better', 'worse')}; under faults "
                   f"{in_words(faulty, 'better', 'worse')}; clean against "
                   f"{runs.config.competitor} {signed(fair)}.")
