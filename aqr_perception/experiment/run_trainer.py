"""The training loop, watched: what adaptive query routing does to the features while it learns."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aqr_perception.experiment.oracle import told_the_truth
from aqr_perception.model.aqr.output import AqrOutput
from aqr_perception.model.detector import Detector
from aqr_perception.simulation.cache import DriveFolder
from aqr_perception.training.criterion import Losses
from aqr_perception.training.dataset import TrainingBatch
from aqr_perception.training.distillation import Teacher
from aqr_perception.training.engine import Trainer, TrainingSettings
from aqr_perception.training.targets import Targets
from aqr_perception.types import Batch, DetectorOutput, Mounting

MONITOR_FILE = "monitor.jsonl"


class RunTrainer(Trainer):
    """`Trainer` that can hand the gate the truth, and writes down what the monitor says.

    Args:
        detector: What to train.
        source: Frames.
        settings: How.
        folder: Of the run.
        device: Where.
        oracle: See `RunConfig`.
        done: Called after each step.
        teacher: Of the run, see `Trainer`.
    """

    def __init__(self, detector: Detector, source: DriveFolder, settings: TrainingSettings,
                 folder: Path, device: torch.device, oracle: str = "",
                 done: Callable[[], None] = lambda: None, teacher: Teacher | None = None
                 ) -> None:
        super().__init__(detector, source, Mounting(), settings, folder, device, teacher=teacher)
        self._oracle = oracle
        self._done = done
        self._monitor = _Monitor(folder / MONITOR_FILE)
        self.detector.register_forward_hook(self._monitor.see)

    def _train_step(self, item: Any) -> tuple[Losses, Tensor]:
        result = super()._train_step(item)
        if self.step % self.settings.log_every == 0:
            self._monitor.write(self.step)
        self._done()
        return result

    def _losses(self, item: TrainingBatch, batch: Batch, targets: list[Targets]) -> Losses:
        if not self._oracle:
            return super()._losses(item, batch, targets)
        assert item.faults is not None
        with told_the_truth(self.detector, self._oracle, batch, item.faults, self._precision):
            return super()._losses(item, batch, targets)


class _Monitor:
    """Lines of what was done to the features; the largest factor is over all steps in between."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: AqrOutput | None = None
        self._largest = 0.0
        self._batch: Batch | None = None

    def see(self, module: torch.nn.Module, inputs: Any, output: DetectorOutput) -> None:
        """Look at an output on its way."""
        if isinstance(output.aqr, AqrOutput):
            self._last = output.aqr
            self._batch = inputs[0]
            if output.aqr.factor.numel():
                self._largest = max(self._largest, float(output.aqr.factor.max()))

    def write(self, step: int) -> None:
        """Write a line, if there is anything to say."""
        if self._last is None or self._batch is None:
            return
        report = self._last.report
        there = torch.stack([self._batch.lidar_present, self._batch.camera_present.any(1)], 1)
        rows = {"mean_weight": _mean(report.mean_weight, there),
                "relative_change": _mean(report.relative_change, there),
                "max_change": report.max_change.amax(0)}
        line = {"step": step, "largest_factor": _plain(self._largest),
                **{name: [_plain(value) for value in row.tolist()] for name, row in rows.items()}}
        self._largest = 0.0
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")



def _mean(values: Tensor, there: Tensor) -> Tensor:
    """(B, 2) → (2,) mean over the frames that have a LiDAR, and cameras; NaN without any."""
    return values.double().where(there, torch.nan).nanmean(0)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Lines by step; of a step that a resumed run did again, the later one."""
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for _, line in sorted({line["step"]: line for line in lines}.items())]


def total_of_counter(values: list[float]) -> float:
    """What a counter counted that began again at 0 whenever the run was resumed."""
    total, before = 0.0, 0.0
    for value in values:
        total += value - before if value >= before else value
        before = value
    return total


def training_figures(log: list[dict[str, Any]], monitor: list[dict[str, Any]], steps: int
                     ) -> dict[str, Any]:
    """What a run's training gave.

    Args:
        log: Lines of the trainer, see `engine`.
        monitor: Lines of `RunTrainer`.
        steps: Length of the run.

    Returns:
        ``seconds_per_step`` (median, without the first line, which pays for the start),
        ``seconds`` (that times the steps), ``memory_mib`` (peak of the process, or of the GPU),
        ``inf_gradients`` and ``nan_gradients``, ``curves`` and ``monitor`` by name with one value
        a line.
    """
    seconds = sorted(line["seconds_per_step"] for line in log[1:] or log)
    typical = seconds[len(seconds) // 2]
    names = [name for name in log[0] if name not in ("seconds_per_step", "memory_mib")]
    return {
        "steps": steps, "seconds_per_step": typical, "seconds": typical * steps,
        "memory_mib": max(line["memory_mib"] for line in log),
        **{name: int(total_of_counter([line[name] for line in log]))
           for name in ("inf_gradients", "nan_gradients")},
        "curves": {name: [_plain(line[name]) for line in log] for name in names},
        "monitor": {name: [line[name] for line in monitor] for name in monitor[0]}
        if monitor else {}}


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
