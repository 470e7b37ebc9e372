"""One run with one seed, in a folder of its own: train, measure, write down. Goes on where it was.

The folder holds what `Trainer` writes, ``measured/`` with a file for the clean frames and one a
fault, and ``result.json``, all figures of it, once all is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from aqr_perception.experiment.config import ExperimentConfig, fixed_settings
from aqr_perception.experiment.drives import Drives
from aqr_perception.experiment.drives import digest as drives_digest
from aqr_perception.experiment.eye import eye_seconds, seeing
from aqr_perception.experiment.files import digest, hold_to, write_json
from aqr_perception.experiment.measuring import measure_clean, measure_fault
from aqr_perception.experiment.network import (
    shared_network,
    start_network,
    training_settings,
    untrained_network,
)
from aqr_perception.experiment.run_trainer import (
    MONITOR_FILE,
    RunTrainer,
    read_lines,
    training_figures,
)
from aqr_perception.experiment.size import Size
from aqr_perception.experiment.watching import WatchedDetector
from aqr_perception.model import checkpoint
from aqr_perception.model.detector import Detector
from aqr_perception.recordings.json_file import read_json
from aqr_perception.runtime.fault_runs import Setting
from aqr_perception.runtime.pipeline import resolve_device
from aqr_perception.training.distillation import Teacher
from aqr_perception.training.engine import WEIGHTS_FILE
from aqr_perception.training.log import LOG_FILE

RESULT_FILE = "result.json"
SETTINGS_FILE = "settings.json"
CLEAN_FILE = "clean"
THREADS = 1
"""Of torch in each process: sums of floats depend on it, so figures would."""
PROBE_STEPS = 4
PROBE_FRAMES = 2


@dataclass(frozen=True)
class Job:
    """What one process is to do.

    Attributes:
        config: The experiment.
        name: Of the run.
        seed: Of its draws.
        size: Steps and frames.
        start: Weights file that all runs start from; None: the weights that ship.
        drives: Folder of both sets of drives.
        out: Folder of the experiment.
        device: Where.
        probe: Do a few steps only, to see how long they take.
    """

    config: ExperimentConfig
    name: str
    seed: int
    size: Size
    start: Path | None
    drives: Path
    out: Path
    device: str
    probe: bool = False

    @property
    def folder(self) -> Path:
        """Where it writes."""
        if self.probe:
            return self.out / "probe" / self.name
        return self.out / "runs" / self.name / f"seed_{self.seed}"

    @property
    def teacher(self) -> Path | None:
        """Folder of the run that must be done before, since this one learns from it."""
        name = self.config.runs[self.name].distil_from
        return self.out / "runs" / name / f"seed_{self.seed}" if name and not self.probe else None

    @property
    def result(self) -> Path:
        """Where all its figures are."""
        return self.folder / RESULT_FILE

    @property
    def parts(self) -> list[str]:
        """Names of the files in ``measured/``."""
        evaluation = self.config.evaluation
        return [CLEAN_FILE, *("-".join([name, *(str(one.severity)
                                                for one in evaluation.settings(name))])
                              for name in evaluation.fault_names)]

    @property
    def fixed(self) -> dict[str, Any]:
        """What must be as it was for a run to be gone on with, or taken as it is."""
        return {**fixed_settings(self.config, self.name, self.size.steps),
                "frames": self.size.frames, "clean_frames": self.size.clean_frames,
                "start": digest(self.start), "drives": drives_digest(self.drives)}

    @property
    def finished(self) -> bool:
        """Whether all figures are there.

        Raises:
            ValueError: They are of other settings.
        """
        if not self.result.exists():
            return False
        if self.probe:
            return True
        hold_to(self.folder / SETTINGS_FILE, self.fixed)
        return read_json(self.result)["parts"] == self.parts

    @property
    def title(self) -> str:
        """What to call it in a line."""
        return f"{'probe ' if self.probe else ''}{self.name} seed {self.seed}"


def work(job: Job, done: Callable[[float], None]) -> None:
    """Do a job.

    Args:
        job: Which.
        done: Called with the seconds of work, as `Size` counts it, that were just done.

    Raises:
        ValueError: The folder holds other settings' results, or a loss is not finite.
        OSError: A file cannot be read or written.
    """
    torch.set_num_threads(THREADS)
    job.folder.mkdir(parents=True, exist_ok=True)
    if job.probe:
        write_json(job.result, _probe(job))
        return
    fixed = job.fixed
    hold_to(job.folder / SETTINGS_FILE, fixed)
    run, cost = job.config.runs[job.name], job.size.cost(job.name)
    training = None
    if run.train:
        trainer = _trainer(job, job.size.steps, lambda: done(cost.step))
        done(cost.step * trainer.step)
        if not (job.folder / WEIGHTS_FILE).exists():
            trainer.run()
        training = training_figures(read_lines(job.folder / LOG_FILE),
                                    read_lines(job.folder / MONITOR_FILE), job.size.steps)
        training["eye_seconds"] = eye_seconds(job, job.size.steps)
        detector = checkpoint.load(job.folder / WEIGHTS_FILE)
    else:
        detector = _untrained(job)
    measured = _measure(job, detector, done)
    write_json(job.result, {"run": job.name, "seed": job.seed, "parts": job.parts,
                            "settings": fixed, "about": _about(detector, job),
                            "training": training, **measured})


def _measure(job: Job, detector: Detector, done: Callable[[float], None]) -> dict[str, Any]:
    """Measure what is not measured yet; returns all of it."""
    drives = Drives.open(job.drives).held_out
    size, cost = job.size, job.size.cost(job.name)
    watched = WatchedDetector(detector, resolve_device(job.device),
                              job.config.runs[job.name].oracle)

    def one() -> None:
        done(cost.frame)

    folder = job.folder / "measured"
    folder.mkdir(exist_ok=True)
    clean = _kept(folder / f"{CLEAN_FILE}.json", size.clean_frames * cost.frame, done,
                  lambda: measure_clean(watched, drives, size.clean_frames, size.frames, job.seed,
                                        one))
    faults = {}
    for name, part in zip(job.config.evaluation.fault_names, job.parts[1:]):
        settings = job.config.evaluation.settings(name)

        def measure(settings: list[Setting] = settings) -> dict[str, Any]:
            return measure_fault(watched, drives, settings, size.frames, job.seed, one)

        faults[name] = _kept(folder / f"{part}.json", size.frames * len(settings) * cost.frame,
                             done, measure)
    watched.close()
    return {"clean": clean, "faults": faults}


def _kept(path: Path, seconds: float, done: Callable[[float], None],
          make: Callable[[], dict[str, Any]]) -> Mapping[str, Any]:
    """What a file holds; made first where there is none."""
    if path.exists():
        done(seconds)
    else:
        write_json(path, make())
    return read_json(path)


def _trainer(job: Job, steps: int, done: Callable[[], None]) -> RunTrainer:
    settings = training_settings(job.config, job.name, job.seed, steps)
    network = start_network(_start(job), job.config, job.name, job.seed)
    if job.config.runs[job.name].sees and job.config.training.eye.steps(steps):
        network = seeing(job, network, steps)
        settings = replace(settings, freeze_eye=True)
    return RunTrainer(network, Drives.open(job.drives).train, settings, job.folder,
                      resolve_device(job.device), job.config.runs[job.name].oracle, done,
                      _teacher(job))


def _teacher(job: Job) -> Teacher | None:
    """Whom the run learns from; in a probe somebody who takes as long."""
    name = job.config.runs[job.name].distil_from
    if job.teacher is not None:
        return Teacher.load(job.teacher / WEIGHTS_FILE)
    if name:
        return Teacher(start_network(_start(job), job.config, name, job.seed), "probe")
    return None


def _start(job: Job) -> Detector:
    """The weights that all runs share; without AQR, whatever the file has."""
    return shared_network(job.start, job.config)


def _untrained(job: Job) -> Detector:
    return untrained_network(job.start, job.config, job.name)


def _probe(job: Job) -> dict[str, float]:
    """Seconds a step and seconds a frame, of a few; the first of each pays for the start."""
    step = 0.0
    if job.config.runs[job.name].train:
        trainer = _trainer(job, PROBE_STEPS, lambda: None)
        trainer.run()
        seconds = [line["seconds_per_step"] for line in read_lines(job.folder / LOG_FILE)]
        step = sum(seconds[1:]) / len(seconds[1:]) + eye_seconds(job, PROBE_STEPS) / PROBE_STEPS
        detector = checkpoint.load(job.folder / WEIGHTS_FILE)
    else:
        detector = _untrained(job)
    watched = WatchedDetector(detector, resolve_device(job.device),
                              job.config.runs[job.name].oracle)
    drives = Drives.open(job.drives).held_out
    settings = job.config.evaluation.settings(job.config.evaluation.fault_names[0])
    took = []
    for _ in range(2):
        started = time.perf_counter()
        measure_fault(watched, drives, settings, PROBE_FRAMES, job.seed, lambda: None)
        took.append((time.perf_counter() - started) / (PROBE_FRAMES * len(settings)))
    return {"step": step, "frame": took[-1]}


def _about(detector: Detector, job: Job) -> dict[str, Any]:
    aqr = detector.config.aqr
    router = sum(parameter.numel() for parameter in detector.decoder.router.parameters())
    return {"trained": detector.trained, "preset": detector.config.name,
            "parameters": sum(parameter.numel() for parameter in detector.parameters()),
            "aqr_parameters": router, "mode": aqr.mode, "device": job.device,
            "threads": THREADS,
            "theoretical_maximum": aqr.weight_map.theoretical_maximum
            if aqr.mode == "weight_map" else None}
