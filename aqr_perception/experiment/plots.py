"""Plots of the page, as PNG files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqr_perception.experiment.config import ExperimentConfig
from aqr_perception.experiment.differences import difference
from aqr_perception.experiment.figures import LOSS_PARTS, RunFigures
from aqr_perception.experiment.published import LOSS_CURVES
from aqr_perception.model.aqr.monitor import MODALITIES

Runs = Mapping[str, RunFigures]
DOTS_PER_INCH = 110


def draw_plots(config: ExperimentConfig, figures: Runs, folder: Path) -> dict[str, str]:
    """Write all plots.

    Args:
        config: The experiment.
        figures: Of every run.
        folder: Where to.

    Returns:
        Name of the file by name of the plot; a plot with nothing on it is not there.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    plots: dict[str, Callable[[Any], bool]] = {
        "metrics": lambda figure: _metrics(figure, figures),
        "losses": lambda figure: _curves(figure, figures, ("loss",), report=True),
        "loss_parts": lambda figure: _curves(figure, figures, LOSS_PARTS),
        "gradients": lambda figure: _curves(figure, figures, ("grad_norm",), logarithmic=True),
        "monitor": lambda figure: _monitor(figure, figures),
        "faults": lambda figure: _faults(figure, config, figures)}
    written = {}
    for name, draw in plots.items():
        figure = Figure(layout="constrained", dpi=DOTS_PER_INCH)
        canvas = FigureCanvasAgg(figure)
        if draw(figure):
            # No date or version inside, so that equal figures give equal files.
            canvas.print_png(folder / f"{name}.png", metadata={"Software": None})
            written[name] = f"{name}.png"
    return written


def _metrics(figure: Any, figures: Runs) -> bool:
    """A dot a seed, a bar at the mean, clean and under faults."""
    figure.set_size_inches(10, 1 + 0.32 * len(figures))
    axes = figure.subplots(1, 2, sharey=True)
    names = list(figures)[::-1]
    for axis, metric, title in zip(axes, ("mAP", "faults"), ("clean mAP", "mean mAP under faults")):
        for row, name in enumerate(names):
            values = figures[name].values.get(metric, ())
            axis.plot(values, [row] * len(values), "o", color="#357", alpha=0.6, markersize=5)
            if values:
                axis.plot(np.mean(values), row, "|", color="black", markersize=14)
        axis.set_title(title)
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(names)), names)
    return True


def _curves(figure: Any, figures: Runs, parts: Sequence[str], report: bool = False,
            logarithmic: bool = False) -> bool:
    """A line a run, the mean over its seeds, and a band from the least to the largest."""
    shown = [part for part in parts if any(any(curve.get(part, ())) for run in figures.values()
                                           for curve in run.curves)]
    if not shown:
        return False
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    figure.set_size_inches(6 * columns + 2.5, 4 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, part in zip(axes, shown):
        for color, (name, run) in zip(_colors(len(figures)), figures.items()):
            if run.curves and all(part in curve for curve in run.curves):
                _band(axis, np.array(run.curves[0]["step"]),
                      _stacked([curve[part] for curve in run.curves]), color, name)
        axis.set(title=part, xlabel="step", yscale="log" if logarithmic else "linear")
        axis.grid(alpha=0.3)
    for axis in axes[len(shown):]:
        axis.set_visible(False)
    if report:
        for style, (name, points) in zip(("k--", "k:"), LOSS_CURVES.items()):
            steps, values = np.array(points).T
            reach = max((run.curves[0]["step"][-1] for run in figures.values() if run.curves),
                        default=1)
            axes[0].plot(steps / steps[-1] * reach, values, style,
                         label=f"{name}; its steps drawn together")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=7)
    return True


def _monitor(figure: Any, figures: Runs) -> bool:
    """Mean weight, relative and largest change by modality while training."""
    runs = {name: run for name, run in figures.items() if any(run.monitor)}
    if not runs:
        return False
    names = ("mean_weight", "relative_change", "max_change")
    figure.set_size_inches(14.5, 4 * len(names))
    axes = figure.subplots(len(names), 2, squeeze=False)
    for row, name in zip(axes, names):
        for k, (axis, modality) in enumerate(zip(row, MODALITIES)):
            for color, (title, run) in zip(_colors(len(runs)), runs.items()):
                _band(axis, np.array(run.monitor[0]["step"]),
                      _stacked([[entry[k] for entry in one[name]] for one in run.monitor]), color,
                      title)
            axis.set(title=f"{name.replace('_', ' ')}, {modality}", xlabel="step")
            axis.grid(alpha=0.3)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right upper", fontsize=7)
    return True


def _faults(figure: Any, config: ExperimentConfig, figures: Runs) -> bool:
    """Difference in mAP to the competitor; what is not called a difference is left white."""
    names = [name for name in figures if name != config.competitor]
    if config.competitor not in figures or not names:
        return False
    faults = config.evaluation.fault_names
    found = [[difference(figures[name], figures[config.competitor], f"fault.{fault}",
                         config.evaluation.smallest_difference) for name in names]
             for fault in faults]
    values = np.array([[one.mean if one.called else 0.0 for one in row] for row in found])
    figure.set_size_inches(3.5 + 0.45 * len(names), 2.5 + 0.25 * len(faults))
    axis = figure.subplots()
    limit = max(float(np.abs(values).max()), 0.02)
    image = axis.imshow(values, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
    axis.set_xticks(range(len(names)), names, rotation=60, ha="right")
    axis.set_yticks(range(len(faults)), faults)
    axis.set_title(f"mAP less {config.competitor}'s; white: none shown over the seeds", fontsize=9)
    figure.colorbar(image)
    return True


def _band(axis: Any, steps: NDArray[np.int64], values: NDArray[np.float64], color: Any, name: str
          ) -> None:
    axis.plot(steps, values.mean(0), color=color, label=name, linewidth=1.2)
    if len(values) > 1:
        axis.fill_between(steps, values.min(0), values.max(0), color=color, alpha=0.15,
                          linewidth=0)


def _stacked(curves: Sequence[Sequence[float | None]]) -> NDArray[np.float64]:
    """(seeds, lines); NaN where a value was not finite."""
    return np.array([[np.nan if value is None else value for value in curve] for curve in curves])


def _colors(count: int) -> NDArray[np.float64]:
    from matplotlib import colormaps

    return colormaps["turbo"](np.linspace(0.03, 0.97, max(count, 2)))
