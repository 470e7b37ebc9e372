"""Figures of runs that were done elsewhere or earlier, from the JSON behind a page.

A night of work may be done in parts, on machines that keep nothing: the page keeps it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aqr_perception.experiment.config import ExperimentConfig
from aqr_perception.experiment.figures import RunFigures
from aqr_perception.experiment.files import compare
from aqr_perception.experiment.job import Job
from aqr_perception.recordings.json_file import read_json

FIGURES_FILE = "experiment.json"


@dataclass(frozen=True)
class Known:
    """What a file says.

    Attributes:
        path: The file.
        figures: By run.
        size: See `Size.to_json`.
        pictures: What it says of pictures, see `Pictures`; empty: nothing.
    """

    path: Path = Path()
    figures: Mapping[str, RunFigures] = field(default_factory=dict)
    size: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, Any] = field(default_factory=dict)

    def has(self, job: Job) -> bool:
        """Whether it holds a run with a seed.

        Raises:
            ValueError: It does, done with other settings.
        """
        run = self.figures.get(job.name)
        if run is None or job.seed not in run.seeds:
            return False
        compare(self.path, "file", run.settings[run.seeds.index(job.seed)], job.fixed)
        return True

    def of(self, jobs: Sequence[Job]) -> dict[str, RunFigures]:
        """Figures of those jobs that it holds, by run.

        Raises:
            ValueError: One of them was done with other settings.
        """
        kept: dict[str, set[int]] = {}
        for job in jobs:
            if self.has(job):
                kept.setdefault(job.name, set()).add(job.seed)
        return {name: _only(self.figures[name], seeds) for name, seeds in kept.items()}


NOTHING = Known()


def read_known(path: Path) -> Known:
    """Read the figures behind a page.

    Args:
        path: Its ``experiment.json``.

    Raises:
        ValueError: It is something else, or from before it held settings.
        OSError: It cannot be read.
    """
    document = read_json(path)
    try:
        figures = {name: _of_json(name, run) for name, run in document["runs"].items()}
        size, pictures = document["size"], document.get("pictures", {})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: {error!r} where figures of runs and their settings were "
                         "expected, as 'experiment' writes them beside its page") from None
    return Known(path, figures, size, pictures)


def to_json(run: RunFigures) -> dict[str, Any]:
    """One run, as `read_known` takes it."""
    return {"seeds": run.seeds, "about": run.about, "values": {
        key: [value if math.isfinite(value) else None for value in values]
        for key, values in run.values.items()}, "curves": run.curves, "monitor": run.monitor,
        "settings": run.settings, "once": run.once}


def _of_json(name: str, run: Mapping[str, Any]) -> RunFigures:
    seeds = tuple(run["seeds"])
    trained = 0 if run["once"] else len(seeds)
    found = RunFigures(
        name, seeds, {key: tuple(math.nan if value is None else float(value) for value in values)
                      for key, values in run["values"].items()},
        run["about"], tuple(run["curves"]), tuple(run["monitor"]), tuple(run["settings"]),
        bool(run["once"]))
    lengths = {"values": {len(values) for values in found.values.values()} | {len(seeds)},
               "settings": {len(found.settings), len(seeds)},
               "curves": {len(found.curves), trained}, "monitor": {len(found.monitor), trained}}
    for part, counts in lengths.items():
        if len(counts) > 1:
            raise KeyError(f"runs.{name}.{part}: not one a seed")
    return found


def joined(config: ExperimentConfig, own: Mapping[str, RunFigures],
           known: Mapping[str, RunFigures]) -> dict[str, RunFigures]:
    """Both together, in the order of the configuration; of a seed that both have, ``own``."""
    figures = {}
    for name in config.runs:
        parts = [part[name] for part in (own, known) if name in part]
        if parts:
            figures[name] = _sorted(parts[0] if len(parts) == 1 else _both(*parts))
    return figures


def _both(own: RunFigures, known: RunFigures) -> RunFigures:
    rest = _only(known, set(known.seeds) - set(own.seeds))
    names = [*own.values, *(name for name in rest.values if name not in own.values)]
    return replace(
        own, seeds=own.seeds + rest.seeds,
        values={name: (*own.values.get(name, (math.nan,) * len(own.seeds)),
                       *rest.values.get(name, (math.nan,) * len(rest.seeds))) for name in names},
        curves=own.curves + rest.curves, monitor=own.monitor + rest.monitor,
        settings=own.settings + rest.settings)


def _only(run: RunFigures, seeds: set[int]) -> RunFigures:
    return _picked(run, [place for place, seed in enumerate(run.seeds) if seed in seeds])


def _sorted(run: RunFigures) -> RunFigures:
    return _picked(run, sorted(range(len(run.seeds)), key=run.seeds.__getitem__))


def _picked(run: RunFigures, places: Sequence[int]) -> RunFigures:
    """Some of the seeds, in this order."""
    def some(entries: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(entries[place] for place in places) if entries else entries

    return replace(run, seeds=some(run.seeds),
                   values={name: some(values) for name, values in run.values.items()},
                   curves=some(run.curves), monitor=some(run.monitor),
                   settings=some(run.settings))
