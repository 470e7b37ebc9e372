"""Views drawn side by side, as PNG files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqr_perception.experiment.views import TokenMaps, View

DOTS_PER_INCH = 75
REACH = 45.0
"""Of the scene from above [m]."""
MOST_POINTS = 2500
LEAST_REACH = 0.002
"""Factors nearer to 1 than this are white."""
GAP = 1
"""Cells between the maps of two cameras."""


def draw_attention(views: Mapping[str, Mapping[str, View]], path: Path) -> None:
    """A row a scene, a column a run: the scene from above, and below it a bar a sensor.

    Args:
        views: By scene and run; a run may lack a scene.
        path: Of the file.
    """
    from matplotlib import colormaps

    scenes, runs = list(views), list(dict.fromkeys(run for row in views.values() for run in row))

    def draw(figure: Any) -> None:
        axes = figure.subplots(2 * len(scenes), len(runs), squeeze=False,
                               height_ratios=[3.2, 1.0] * len(scenes))
        for row, scene in enumerate(scenes):
            for column, run in enumerate(runs):
                above, below = axes[2 * row, column], axes[2 * row + 1, column]
                if run not in views[scene]:
                    above.set_visible(False)
                    below.set_visible(False)
                    continue
                _from_above(above, views[scene][run], colormaps["coolwarm"])
                _bars(below, views[scene][run], labels=column == 0)
                above.set_title(f"{run}\n{scene}" if not row else scene, fontsize=8)

    _save(draw, (2.6 * len(runs) + 0.4, 3.5 * len(scenes)), path)


def draw_maps(rows: Mapping[str, TokenMaps], rig: Sequence[str], path: Path, alike: bool) -> None:
    """A row each: the factors on the bird's-eye view, and on all cameras in one strip.

    Args:
        rows: By title.
        rig: Names of the cameras.
        path: Of the file.
        alike: All rows have the same colours; otherwise each has its own, so that weak maps show.
    """
    reaches = {title: _reach(maps) for title, maps in rows.items()}
    if alike:
        reaches = dict.fromkeys(rows, max(reaches.values()))

    def draw(figure: Any) -> None:
        axes = figure.subplots(len(rows), 2, squeeze=False, width_ratios=[1, 6])
        for (title, maps), (left, right) in zip(rows.items(), axes):
            for axis, values in ((left, maps.bev), (right, _strip(maps.cameras))):
                image = axis.imshow(values, cmap="RdBu_r", vmin=1 - reaches[title],
                                    vmax=1 + reaches[title], interpolation="nearest",
                                    origin="lower" if axis is left else "upper",
                                    aspect="equal" if axis is left else "auto")
                axis.set(xticks=[], yticks=[])
            left.set_ylabel(title.replace("_", "\n_", 1), fontsize=7)
            left.set_title(_range(maps.bev), fontsize=7)
            right.set_title(_range(maps.cameras), fontsize=7)
            figure.colorbar(image, ax=right, pad=0.01).ax.tick_params(labelsize=6)
        axes[-1, 1].set_xlabel("   |   ".join(rig), fontsize=7)

    _save(draw, (11.0, 1.35 * len(rows) + 0.5), path)


def _reach(maps: TokenMaps) -> float:
    """How far the factors are from 1 at most, but as far as one could care about."""
    values = np.concatenate([maps.bev.ravel(), maps.cameras.ravel()])
    return max(float(np.nanmax(np.abs(values - 1), initial=0.0)), LEAST_REACH)


def _from_above(axis: Any, view: View, colors: Any) -> None:
    step = max(1, len(view.points) // MOST_POINTS)
    axis.plot(*view.points[::step].T, ".", color="#aaa", markersize=1.2, zorder=0)
    for corners in view.truth:
        axis.plot(*np.vstack([corners, corners[:1]]).T, color="black", linewidth=0.8, zorder=1)
    order = np.argsort(view.scores)
    axis.scatter(*view.places[order].T, s=5 + 40 * view.scores[order], c=view.lidar_share[order],
                 cmap=colors, vmin=0, vmax=1, linewidths=0, alpha=0.8, zorder=2)
    axis.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), xticks=[], yticks=[], aspect="equal")


def _bars(axis: Any, view: View, labels: bool) -> None:
    names = ["LiDAR", *(name.removeprefix("CAM_").replace("_", " ").title()
                        for name in view.rig)]
    places = np.arange(len(names))
    axis.barh(places - 0.2, view.mass, height=0.4, color=["#b40426", *["#3b4cc0"] * len(view.rig)])
    if np.isfinite(view.kept).any():
        axis.barh(places + 0.2, np.nan_to_num(view.kept), height=0.4, color="#cb4")
    axis.set(xlim=(0, 1.02), ylim=(len(names) - 0.4, -0.6))
    axis.set_yticks(places, names if labels else [], fontsize=6)
    axis.tick_params(axis="x", labelsize=6)


def _strip(cameras: NDArray[np.float64]) -> NDArray[np.float64]:
    """All maps (V, h, w) side by side with a gap."""
    gap = np.full((len(cameras), cameras.shape[1], GAP), np.nan)
    return np.concatenate(list(np.concatenate([cameras, gap], axis=2)), axis=1)[:, :-GAP]


def _range(values: NDArray[np.float64]) -> str:
    known = values[np.isfinite(values)]
    return f"{known.min():.3f} to {known.max():.3f}" if known.size else "absent"


def _save(draw: Callable[[Any], None], size: tuple[float, float], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained", dpi=DOTS_PER_INCH, figsize=size)
    canvas = FigureCanvasAgg(figure)
    draw(figure)
    # No date or version inside, so that equal figures give equal files.
    canvas.print_png(path, metadata={"Software": None})
