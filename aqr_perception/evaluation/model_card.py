"""The model card of a weights file, from what `evaluate --json` wrote; nothing is typed by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aqr_perception.evaluation.metrics import ERRORS
from aqr_perception.types import CLASS_NAMES

Figures = Mapping[str, Any]
LICENCE = "Apache-2.0"
UNKNOWN = "not recorded"
SENSORS = {"both": "cameras and LiDAR", "lidar": "LiDAR alone", "camera": "cameras alone"}


@dataclass(frozen=True)
class CardInput:
    """What a card is made of.

    Attributes:
        held_out: Figures on the held-out drives, by what the detector was shown: ``both``,
            ``lidar``, ``camera``.
        real: Figures on recordings by their names.
        faults: Figures with faults, or None.
        command: What the weights were trained with, where their file does not say.
    """

    held_out: Mapping[str, Figures]
    real: Mapping[str, Figures] = field(default_factory=dict)
    faults: Figures | None = None
    command: str | None = None


def model_card(data: CardInput) -> str:
    """The card as Markdown.

    Raises:
        KeyError: A figure is missing.
    """
    run = next(iter(data.held_out.values()))["run"]
    parts = [_head(run, data.command), _overall(data.held_out), _by_class(data.held_out),
             _set(next(iter(data.held_out.values())))]
    if data.faults is not None:
        parts.append(_faults(data.faults))
    if data.real:
        parts.append(_real(data.real))
    return "\n\n".join(parts) + "\n"


def _head(run: Figures, command: str | None) -> str:
    notes = run["metadata"]
    settings = _settings(notes)
    lines = [f"# {run['weights'] or 'tiny.safetensors'}", "",
             "*Written by `scripts/model_card` from what `evaluate` measured; do not edit.*", ""]
    if not run["trained"]:
        lines += ["**These weights are random: nothing was trained. The figures show what chance "
                  "gives.**", ""]
    rows = [("package", f"aqr_perception {run['version']}"),
            ("network", f"`{run['preset']}`, {run['parameters']:,} parameters"),
            ("trained with", _code(notes.get("command") or command)),
            ("seed", settings.get("seed", notes.get("seed", UNKNOWN))),
            ("steps × frames a step", f"{settings['steps']} × {settings['batch_size']}"
             if {"steps", "batch_size"} <= settings.keys() else UNKNOWN),
            ("data", "simulated drives of this package alone; no recording" if run["trained"]
             else "none"),
            ("licence", LICENCE)]
    return "\n".join(lines) + "\n" + _table(("", ""), rows)


def _settings(notes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings of the training, which the weights file holds as JSON."""
    settings = notes.get("training") or {}
    return json.loads(settings) if isinstance(settings, str) else settings


def _overall(held_out: Mapping[str, Figures]) -> str:
    first = next(iter(held_out.values()))
    seeds = first["run"]["seeds"]
    rows = [(SENSORS[sensors], _cell(one["mAP"]), _cell(one["NDS"]),
             *(_cell(one[f"m{error}"], 2) for error in ERRORS),
             _cell(one["near"]["mAP"]), _cell(one["near"]["NDS"]), _time(one["run"]))
            for sensors, one in held_out.items()]
    return (f"## On {first['frames']} held-out frames\n\n"
            f"{len(seeds)} simulated drives, seeds {min(seeds)} to {max(seeds)}, that no training "
            "sees. nuScenes metrics (`detection_cvpr_2019`); near: within 30 m, objects with five "
            "LiDAR points or more. Time: from frame to detections, "
            f"{_device(first['run'])}, median and 90th percentile.\n\n"
            + _table(("sensors", "mAP", "NDS", *(f"m{error}" for error in ERRORS), "near mAP",
                      "near NDS", "ms a frame"), rows))


def _by_class(held_out: Mapping[str, Figures]) -> str:
    first = next(iter(held_out.values()))
    rows = [(name, first["truths"][name], *(_cell(one["AP"][name]) for one in held_out.values()),
             first["near"]["truths"][name],
             *(_cell(one["near"]["AP"][name]) for one in held_out.values()))
            for name in CLASS_NAMES]
    return ("### AP by class\n\n" + _table(
        ("class", "objects", *(f"{sensors}" for sensors in held_out), "near objects",
         *(f"near, {sensors}" for sensors in held_out)), rows))


def _set(figures: Figures) -> str:
    whole = figures["set"]
    rows = [(name, one["boxes"], _cell(one["boxes"] / figures["frames"], 1), _share(one["far"]),
             _share(one["sparse"]), _cell(one["median_points"], 1))
            for name, one in (("all", whole), *whole["by_class"].items())]
    return ("### What they were measured on\n\nObjects that hold a LiDAR point.\n\n" + _table(
        ("class", "objects", "a frame", "beyond 25 m", "10 points or fewer", "median points"),
        rows))


def _faults(figures: Figures) -> str:
    metrics = tuple(figures["mRA"])
    rows = [(f"`{name}`", *(_cell(fault["RA"][metric], 2) for metric in metrics))
            for name, fault in figures["faults"].items()]
    rows.append(("mean", *(_cell(figures["mRA"][metric], 2) for metric in metrics)))
    return (f"## Under faults\n\nShare of the metric that is left, mean over severities, on "
            f"{figures['frames']} frames, {SENSORS[figures['run']['sensors']]}.\n\n"
            + _table(("fault", *(f"RA {metric}" for metric in metrics)), rows))


def _real(recordings: Mapping[str, Figures]) -> str:
    rows = []
    for name, figures in recordings.items():
        one = figures["counts"]
        rows.append((name, figures["frames"], one["truths"], one["found"], one["found_of_class"],
                     one["missed"], one["detections"], one["false"]))
    one = next(iter(recordings.values()))["counts"]
    return ("## On recordings\n\n"
            f"Detections above score {one['score']:g}, matched within {one['distance']:g} m, of "
            "objects that hold a LiDAR point; a detection is false where no object is near.\n\n"
            + _table(("recording", "frames", "objects", "found", "as their class", "missed",
                      "detections", "false"), rows))


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _code(text: str | None) -> str:
    return f"`{text}`" if text else UNKNOWN


def _cell(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _time(run: Figures) -> str:
    return f"{run['milliseconds']['p50']:.0f}, {run['milliseconds']['p90']:.0f}"


def _device(run: Figures) -> str:
    threads = run["threads"]
    return (f"on the CPU with {threads} thread{'' if threads == 1 else 's'}"
            if run["device"] == "cpu" else "on a GPU")
