"""How the gate of a run learns to see before the run begins, in a folder of its own."""

from __future__ import annotations

import math
import shutil
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aqr_perception.experiment.drives import Drives
from aqr_perception.experiment.drives import digest as drives_digest
from aqr_perception.experiment.files import digest, hold_to
from aqr_perception.experiment.network import eye_settings
from aqr_perception.experiment.run_trainer import read_lines
from aqr_perception.model import checkpoint
from aqr_perception.model.detector import Detector
from aqr_perception.runtime.pipeline import resolve_device
from aqr_perception.training.engine import WEIGHTS_FILE
from aqr_perception.training.gate_alone import GateTrainer
from aqr_perception.training.log import LOG_FILE
from aqr_perception.types import Mounting

if TYPE_CHECKING:
    from aqr_perception.experiment.job import Job

EYE_FOLDER = "eye"
SETTINGS_FILE = "settings.json"

ACTING = frozenset(("caution", "sharpness", "align"))
"""Settings of a gate that say how it acts on what it believes."""


def seeing(job: Job, network: Detector, steps: int) -> Detector:
    """The network once its gate has learned to see; runs with equal eyes share what they saw.

    How the gate acts is the run's own: it changes nothing of what an eye learns.
    """
    folder = job.folder / EYE_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    part, settings = job.config.training.eye, eye_settings(job.config, job.seed, steps)
    hold_to(folder / SETTINGS_FILE, {
        "start": digest(job.start), "drives": drives_digest(job.drives),
        "aqr": _seen(asdict(job.config.runs[job.name].aqr)), "training": asdict(settings),
        "pool": part.pool, "looks": part.looks})
    other = None if (folder / WEIGHTS_FILE).exists() or job.probe else _same_eye(job, folder)
    if other is not None:
        for name in (LOG_FILE, WEIGHTS_FILE):
            shutil.copyfile(other / name, folder / name)
    if not (folder / WEIGHTS_FILE).exists():
        GateTrainer(network, Drives.open(job.drives).train, Mounting(), settings, folder,
                    resolve_device(job.device), _pool(job, settings.steps), part.looks).run()
    network.load_state_dict(checkpoint.load(folder / WEIGHTS_FILE).state_dict())
    return network.requires_grad_()  # the eye's training froze all else


def _seen(aqr: dict[str, Any]) -> dict[str, Any]:
    """Settings of routing without those that come after seeing."""
    gate = {name: value for name, value in aqr["gate"].items() if name not in ACTING}
    return {**aqr, "gate": gate}


def _pool(job: Job, steps: int) -> int:
    """Batches of the eye at once; a probe looks at each as often as the whole does, so that its
    steps take as long on average.
    """
    part = job.config.training.eye
    if not job.probe:
        return part.pool
    looks = part.looks or math.ceil(part.steps(job.config.training.steps) / part.pool)
    return max(1, steps // max(1, looks))


def _same_eye(job: Job, folder: Path) -> Path | None:
    """The folder of another run's eye that came from the same settings and is done."""
    mine = (folder / SETTINGS_FILE).read_bytes()
    for other in sorted(job.out.glob(f"runs/*/seed_{job.seed}/{EYE_FOLDER}")):
        settings = other / SETTINGS_FILE
        if (other / WEIGHTS_FILE).exists() and settings.exists() and settings.read_bytes() == mine:
            return other
    return None


def eye_seconds(job: Job, steps: int) -> float:
    """What the eye took [s]: the mean of its steps, of which some wait for the trunks, times their
    number.
    """
    lines = read_lines(job.folder / EYE_FOLDER / LOG_FILE)
    seconds = [line["seconds_per_step"] for line in lines[1:] or lines]
    return statistics.fmean(seconds) * job.config.training.eye.steps(steps) if seconds else 0.0
