"""What a training run writes down while it goes on."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from aqr_perception.training.criterion import Losses

LOG_FILE = "log.jsonl"


class TrainingLog:
    """Progress bar, JSON lines and TensorBoard, of one process.

    Args:
        folder: Of the run.
        step: The first one to come; lines from it on, of a run that was stopped, are dropped.
        steps: Of the whole run.
        every: Steps between lines.
    """

    def __init__(self, folder: Path, step: int, steps: int, every: int) -> None:
        _cut(folder / LOG_FILE, step)
        self._lines = (folder / LOG_FILE).open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step)
        self._bar = tqdm(total=steps, initial=step, unit="step", mininterval=2.0)
        self._every = every
        self._infinite = self._nan = 0
        self._seconds: list[float] = []

    def step(self, step: int, losses: Losses, norm: Tensor, seconds: float,
             device: torch.device) -> None:
        """Count a step; write a line every so many (only then is the device waited for)."""
        self._seconds.append(seconds)
        self._bar.update()
        size = float(norm) if device.type == "cpu" or step % self._every == 0 else 0.0
        self._infinite += math.isinf(size)
        self._nan += math.isnan(size)
        if step % self._every:
            return
        values = losses.scalars() | {
            "grad_norm": size, "inf_gradients": self._infinite, "nan_gradients": self._nan,
            "seconds_per_step": sum(self._seconds) / len(self._seconds),
            "memory_mib": _peak_memory_mib(device)}
        self._seconds.clear()
        self._lines.write(json.dumps({"step": step, **values}) + "\n")
        self._lines.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)
        self._bar.set_postfix(loss=f"{values['loss']:.2f}", grad=f"{size:.1f}")

    def close(self) -> None:
        """Finish bar and files."""
        self._lines.close()
        self._board.close()
        self._bar.close()


def _cut(log: Path, step: int) -> None:
    """Drop lines that a stopped run wrote after its last saved state."""
    if log.exists():
        whole = [line for line in log.read_text(encoding="utf-8").splitlines(keepends=True)
                 if line.endswith("\n")]  # the last one is cut where the disk was full
        lines = [line for line in whole if json.loads(line)["step"] < step]
        log.write_text("".join(lines), encoding="utf-8")


def _peak_memory_mib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    import resource  # not on every platform, and only a log line needs it
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
