"""Figures of every run, one value a seed, by name.

Names: ``mAP``, ``NDS``, ``mATE`` ... ``mAAE``, ``AP.CLASS`` on clean frames; ``fault.NAME`` and
``fault.NAME.SEVERITY`` (mAP under a fault, the former as the mean over severities), ``faults`` (the
mean over all faults), ``faults.seen`` and ``faults.unseen`` (by whether training may draw them),
``faults.misleading`` (those of `MISLEADING`),
``same`` (clean, on the frames that faults are tried on); ``seconds_per_step``, ``seconds``,
``eye_seconds``, ``memory_mib``, ``milliseconds`` (of a frame), ``inf_gradients``,
``nan_gradients``, ``typical_gradient`` and ``largest_gradient`` (norms, of the log's lines),
``first_loss``,
``last_loss`` and ``part.PART`` (over the last tenth of the log's lines); ``mean_weight.MODALITY``,
``relative_change.MODALITY``, ``max_change.MODALITY``, ``outside_band.MODALITY`` on clean frames;
``first.NAME.MODALITY`` and ``last.NAME.MODALITY`` of the first two in training, in its first line
and over the last tenth;
``largest_factor``, ``largest_factor.training``; ``auroc.sensor.FAULT``, ``auroc.query.FAULT``,
``auroc.token.FAULT``, ``blame.FAULT.FAULT``; ``kept.wrong.FAULT`` and ``kept.sound.FAULT``, the
share of its attention that a sensor keeps which is better left out, and any other; ``kept.clean``;
``put_right.FAULT`` and ``put_right.clean``, the share of frames in which a sensor was put right.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aqr_perception.experiment.calibration import (
    blame_auroc,
    mean_of,
    sensor_auroc,
    share_kept,
    share_put_right,
)
from aqr_perception.experiment.config import ExperimentConfig
from aqr_perception.model.aqr.monitor import MODALITIES
from aqr_perception.simulation.faults import FAULTS, MATCHED_PAIRS
from aqr_perception.training.fault_sampler import HELD_OUT

CLEAN_METRICS = ("mAP", "NDS", "mATE", "mASE", "mAOE", "mAVE", "mAAE")
LEVELS = ("sensor", "query", "token")
LOSS_PARTS = ("loss_cls", "loss_bbox", "dn_loss_cls", "dn_loss_bbox", "loss_heat", "loss_gate",
              "loss_agreement", "loss_distillation")
MISLEADING = tuple(name for name, fault in FAULTS.items() if not fault.flagged)
"""Faults that nobody flags: a sensor delivers, and what it delivers is wrong."""

Result = Mapping[str, Any]
"""Content of a result file, see `job`."""


@dataclass(frozen=True)
class RunFigures:
    """One run.

    Attributes:
        name: Its name.
        seeds: That it was done with.
        values: By name, a value a seed; what is not known is NaN, what no seed knows is not there.
        about: What the result file says about the network (the same for every seed).
        once: Nothing is drawn in it, so that its one seed stands for all.
        curves: Of training, a mapping by name for each seed; empty where nothing was trained.
        monitor: Likewise.
        settings: That each seed was done with, see `job`.
    """

    name: str
    seeds: tuple[int, ...]
    values: Mapping[str, tuple[float, ...]]
    about: Mapping[str, Any]
    curves: tuple[Mapping[str, Any], ...]
    monitor: tuple[Mapping[str, Any], ...]
    settings: tuple[Mapping[str, Any], ...] = ()
    once: bool = False

    def mean(self, name: str) -> float:
        """Over the seeds; NaN where unknown."""
        return float(np.mean(self.values[name])) if name in self.values else math.nan

    def spread(self, name: str) -> float:
        """Largest less smallest over the seeds; NaN for one seed or where unknown."""
        values = self.values.get(name, ())
        return max(values) - min(values) if len(values) > 1 else math.nan


def figures_of(config: ExperimentConfig, results: Sequence[Result]) -> dict[str, RunFigures]:
    """Figures of every run, in the order of the configuration.

    Args:
        config: The experiment.
        results: Of the runs and seeds that are done.

    Returns:
        The runs of which a seed is done, with the seeds that are.
    """
    found: dict[str, RunFigures] = {}
    for name, run in config.runs.items():
        own = sorted((one for one in results if one["run"] == name), key=lambda one: one["seed"])
        if not own:
            continue
        judged = run.aqr.mode == "gate" and not run.oracle
        each = [_values(one, judged) for one in own]
        names = [key for key in each[0]
                 if any(math.isfinite(values.get(key, math.nan)) for values in each)]
        trained = [one["training"] for one in own if one["training"]]
        found[name] = RunFigures(
            name, tuple(one["seed"] for one in own),
            {key: tuple(values.get(key, math.nan) for values in each) for key in names},
            own[0]["about"],
            tuple(one["curves"] for one in trained), tuple(one["monitor"] for one in trained),
            tuple(one["settings"] for one in own), once=not run.train)
    return found


def _values(result: Result, judged: bool) -> dict[str, float]:
    """Of one run with one seed; NaN where something is not known."""
    clean, training = result["clean"], result["training"] or {}
    everything = clean["all"]
    values = {name: _number(everything[name]) for name in CLEAN_METRICS}
    values |= {f"AP.{name}": _number(value) for name, value in everything["AP"].items()}
    values |= {"same": clean["same"]["mAP"], "milliseconds": clean["milliseconds"]}
    values |= _under_faults(result["faults"])
    values |= {name: float(training.get(name, math.nan)) for name in (
        "seconds_per_step", "seconds", "eye_seconds", "memory_mib", "inf_gradients",
        "nan_gradients")}
    curves = training.get("curves", {})
    values |= {"first_loss": _number(curves["loss"][0]) if curves else math.nan,
               "last_loss": _tail(curves.get("loss", ())),
               **_of_gradients(curves.get("grad_norm", ())),
               **{f"part.{name}": _tail(curves.get(name, ())) for name in LOSS_PARTS}}
    values |= _of_monitor(clean["seen"], training.get("monitor", {}))
    if judged:
        values |= _of_gate(result["faults"], clean["seen"])
    return values


def _under_faults(faults: Mapping[str, Any]) -> dict[str, float]:
    values: dict[str, float] = {}
    for fault, severities in faults.items():
        each = {f"fault.{fault}.{level}": one["mAP"] for level, one in severities.items()}
        values |= {f"fault.{fault}": float(np.mean(list(each.values()))), **each}
    seen = [values[f"fault.{fault}"] for fault in faults if fault not in HELD_OUT]
    unseen = [values[f"fault.{fault}"] for fault in faults if fault in HELD_OUT]
    misleading = [values[f"fault.{fault}"] for fault in faults if fault in MISLEADING]
    for name, group in (("faults", seen + unseen), ("faults.seen", seen),
                        ("faults.unseen", unseen), ("faults.misleading", misleading)):
        values[name] = float(np.mean(group)) if group else math.nan
    return values


def _of_monitor(seen: Sequence[Mapping[str, Any]], training: Mapping[str, Any]) -> dict[str, float]:
    values: dict[str, float] = {}
    for k, modality in enumerate(MODALITIES):
        for name in ("mean_weight", "relative_change", "max_change", "outside_band"):
            known = [float(one[name][k]) for one in seen if one.get(name, (None, None))[k]
                     is not None]
            reduce = max if name == "max_change" else np.mean
            values[f"{name}.{modality}"] = float(reduce(known)) if known else math.nan
        for name in ("mean_weight", "relative_change"):
            lines = [line[k] for line in training.get(name, ())]
            values[f"first.{name}.{modality}"] = _number(lines[0]) if lines else math.nan
            values[f"last.{name}.{modality}"] = _tail(lines)
    factors = [one["largest_factor"] for one in seen if one.get("largest_factor") is not None]
    while_training = [value for value in training.get("largest_factor", ()) if value is not None]
    values["largest_factor"] = max(factors, default=math.nan)
    values["largest_factor.training"] = max(while_training, default=math.nan)
    return values


def _of_gate(faults: Mapping[str, Any], clean: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    values = {"kept.clean": share_kept(clean, leave_out=False),
              "put_right.clean": share_put_right(clean)}
    looks = {fault: [look for one in severities.values() for look in one["seen"]]
             for fault, severities in faults.items()}
    for fault, seen in looks.items():
        values[f"auroc.sensor.{fault}"] = sensor_auroc(seen, clean)
        values[f"auroc.query.{fault}"] = mean_of("query_auroc", seen)
        values[f"auroc.token.{fault}"] = mean_of("token_auroc", seen)
        values[f"kept.wrong.{fault}"] = share_kept(seen, leave_out=True)
        values[f"kept.sound.{fault}"] = share_kept(seen, leave_out=False)
        values[f"put_right.{fault}"] = share_put_right(seen)
    for lidar, cameras in MATCHED_PAIRS:
        if lidar in looks and cameras in looks:
            values[f"blame.{lidar}.{cameras}"] = blame_auroc(looks[lidar], looks[cameras])
    return values


def _of_gradients(norms: Sequence[float | None]) -> dict[str, float]:
    finite = [norm for norm in norms if norm is not None]
    return {"typical_gradient": float(np.median(finite)) if finite else math.nan,
            "largest_gradient": max(finite, default=math.nan)}


def _tail(curve: Sequence[float | None]) -> float:
    """Mean over the last tenth."""
    last = [value for value in curve[-max(1, len(curve) // 10):] if value is not None]
    return float(np.mean(last)) if last else math.nan


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
