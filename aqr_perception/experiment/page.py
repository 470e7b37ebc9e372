"""The page: figures of every run beside each other, and what follows from them."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from aqr_perception import __version__
from aqr_perception.experiment.comparing import Comparison, Conclusion
from aqr_perception.experiment.conclusions import Conclusions
from aqr_perception.experiment.config import ExperimentConfig
from aqr_perception.experiment.figures import RunFigures
from aqr_perception.experiment.files import write_json
from aqr_perception.experiment.known import FIGURES_FILE, to_json
from aqr_perception.experiment.pictures import Pictures
from aqr_perception.experiment.plots import draw_plots
from aqr_perception.experiment.size import Size
from aqr_perception.experiment.tables import Tables

PAGE_FILE = "index.html"
STYLE = ("body{font:15px sans-serif;margin:2em auto;max-width:100em;padding:0 1em;color:#222}"
         "table{border-collapse:collapse;margin:1em 0;font-variant-numeric:tabular-nums}"
         "td,th{padding:.2em .7em;text-align:right;border-bottom:1px solid #ddd}"
         "td:first-child,th:first-child{text-align:left;white-space:nowrap}"
         "th{vertical-align:bottom}small{color:#888}.up{color:#075;font-weight:bold}"
         ".down{color:#a20;font-weight:bold}.wide{overflow-x:auto}img{max-width:100%}"
         ".note{background:#fe9;padding:.6em 1em}")
HOW_TO_READ = (
    "Figures are means over seeds; the small number behind is the spread, the largest less the "
    "smallest. A difference is taken seed by seed, since runs of one seed saw the same batches "
    "(but for the twins of spoiled frames, some 7 % of them, where one had faults and one not). It "
    "is called one, and coloured, only where it is larger than its spread, of two seeds or more, "
    "and not below {smallest:g}; a run with one seed claims nothing. Rows in italics are of "
    "the experiment report: another data set and another network, so that signs and ratios "
    "compare, not levels. Faults with * are kept from training.")


def write_page(config: ExperimentConfig, size: Size, figures: Mapping[str, RunFigures],
               folder: Path, pictures: Pictures) -> Path:
    """Write the page, its plots and the figures behind it.

    Args:
        config: The experiment.
        size: How much was done.
        figures: Of the runs that are done.
        folder: Where to; made if it is not there.
        pictures: That lie in the folder already.

    Returns:
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    conclusions = Conclusions(config, figures, size, pictures.changes).all()
    plots = draw_plots(config, figures, folder)
    write_json(folder / FIGURES_FILE, _document(config, size, figures, conclusions, pictures))
    page = folder / PAGE_FILE
    page.write_text(_page(config, figures, conclusions, plots, pictures), encoding="utf-8")
    return page


def _document(config: ExperimentConfig, size: Size, figures: Mapping[str, RunFigures],
              conclusions: Sequence[Conclusion], pictures: Pictures) -> dict[str, Any]:
    return {
        "version": __version__, "config": asdict(config), "size": size.to_json(),
        "runs": {name: to_json(run) for name, run in figures.items()},
        "conclusions": [asdict(one) for one in conclusions],
        "pictures": {**asdict(pictures), "changes": {
            name: {kind: [value if math.isfinite(value) else None for value in values]
                   for kind, values in asdict(change).items()}
            for name, change in pictures.changes.items()}}}


def _page(config: ExperimentConfig, figures: Mapping[str, RunFigures],
          conclusions: Sequence[Conclusion], plots: Mapping[str, str], pictures: Pictures) -> str:
    tables = Tables(config, figures)
    start = figures.get(config.start, next(iter(figures.values()))).about
    parts = ["<!doctype html><html lang='en'><meta charset='utf-8'>"
             f"<title>Adaptive query routing against the baseline</title><style>{STYLE}</style>",
             "<h1>Adaptive query routing against the baseline</h1>",
             f"<p>aqr_perception {__version__}, network {html.escape(start['preset'])}, on "
             f"{html.escape(start['device'])}, CPU threads a run: {start['threads']}. All figures: "
             f"<a href='{FIGURES_FILE}'>{FIGURES_FILE}</a>.</p>"]
    parts.append(_undone(Comparison(config, figures)))
    if config.start in figures and not start["trained"]:
        parts.append("<p class='note'>The weights that all runs start from are not trained: these "
                     "figures show that the path works, and nothing about the methods.</p>")
    parts.append("<p>" + HOW_TO_READ.format(smallest=config.evaluation.smallest_difference)
                 + "</p>")

    def picture(name: str, text: str) -> str:
        return f"<p><img alt='{text}' src='{plots[name]}'></p>" if name in plots else ""

    kept, righted = tables.kept(), tables.put_right()
    sections = [
        ("Runs", tables.runs()),
        ("Main figures", tables.main() + picture("metrics", "mAP of every run, a dot a seed")),
        ("Each run against its like", tables.against()),
        ("AP by class", tables.classes() + "<h3>Less each run's like</h3>"
         + tables.class_differences()),
        ("Time, memory, gradients", tables.cost()),
        ("Losses", tables.parts() + picture("losses", "loss over the steps")
         + picture("loss_parts", "its parts over the steps")
         + picture("gradients", "norm of the gradient over the steps")),
        ("What AQR does to the features", tables.monitor()
         + picture("monitor", "weights and changes over the steps")),
        ("Weight maps", _map_pictures(pictures) + tables.changes(pictures.changes)),
        ("Theoretical maximum and what occurred", "<p>r + (1 - r)·clamp; with reference: true it "
         "is r + clamp. Training has denoising queries, measuring has none.</p>"
         + tables.factors()),
        ("mAP under faults", tables.faults() + tables.fault_differences()
         + picture("faults", "differences by fault and run")
         + "<details><summary>Every severity</summary>" + tables.severities() + "</details>"),
        ("Faults that differ only in who lies", tables.pairs()),
        ("What the gates see", "<p>AUROC of “leave this out”: of whole sensors over frames, of "
         "queries and of tokens within a frame. 0.5 is chance. A gate that puts sensors right is "
         "asked about them as they are then; one with align: false says what is seen without."
         "</p>" + tables.calibration()
         + (kept and "<p>Share of its attention that the gate lets a sensor keep: of those better "
            "left out (0 would be right) / of the others (1).</p>" + kept)),
        ("What is put right", righted and "<p>Share of frames in which a sensor was taken to be "
         "turned, aside, or showing what was, and was put right.</p>" + righted),
        ("Where the attention goes", _attention_pictures(pictures)),
        ("Goals", tables.goals() and f"<p>mAP less {config.competitor}'s; ✓: reached. In italics "
         "what the truth in place of the gate gives.</p>" + tables.goals()),
        ("Conclusions in plain words", _conclusions(conclusions))]
    parts += [f"<h2>{title}</h2>{body}" for title, body in sections if body]
    return "\n".join(parts) + "\n"


def _undone(runs: Comparison) -> str:
    """Which runs and seeds are missing; nothing where none is."""
    undone = runs.undone()
    if not undone:
        return ""
    each = "; ".join(f"{name}, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
                     for name, seeds in undone.items())
    return ("<p class='note'>Not all is done. Differences are taken over the seeds that both runs "
            f"have. Missing: {each}.</p>")


def _map_pictures(pictures: Pictures) -> str:
    """Factors on the tokens of the pictured frame, of weight maps and of a gate."""
    parts = [f"<h3>{scene}</h3><p><img alt='factor on each token, {scene}' src='{name}'></p>"
             for scene, name in pictures.maps.items()]
    if parts:
        parts.insert(0, f"<p>Factor on each token of one held-out frame ({pictures.frame}), of "
                     "each run's first seed: left the bird's-eye view with the front up, right all "
                     "cameras. White is 1, as without AQR; each row has colours of its own, and "
                     "above each map stand its least and its largest factor.</p>")
    return "".join(parts)


def _attention_pictures(pictures: Pictures) -> str:
    """Attention mass of the pictured frame, and what gates keep of each sensor and token."""
    parts = []
    if pictures.attention:
        parts.append(
            f"<p>One held-out frame ({pictures.frame}) without a fault and under four, each run's "
            "first seed. From above, front up: true boxes black, the cloud as it was shown grey; a "
            "dot is a query at the last layer, larger the surer it is, red where all of its "
            "attention goes to the LiDAR, blue where all goes to cameras. Bars: share of the "
            "attention that each sensor gets, mean over queries and layers (red and blue), and "
            "what the gate lets it keep (yellow).</p>"
            f"<p><img alt='attention by query and sensor' src='{pictures.attention}'></p>")
    if pictures.gate_maps:
        parts.append("<h3>What the gate keeps of each token</h3><p>The same frame, mean over the "
                     "queries.</p><p><img alt='factor of the gate on each token' "
                     f"src='{pictures.gate_maps}'></p>")
    return "".join(parts)


def _conclusions(conclusions: Sequence[Conclusion]) -> str:
    parts = ["<p>Written by rules from the figures above.</p>"]
    for topic, group in groupby(conclusions, key=lambda one: one.topic):
        lines = "".join(f"<li>{html.escape(one.text)}</li>" for one in group)
        parts.append(f"<h3>{html.escape(topic)}</h3><ul>{lines}</ul>")
    return "".join(parts)
