"""The network that a run starts with, and how it is trained."""

from __future__ import annotations

from pathlib import Path

import torch

from aqr_perception.experiment.config import ExperimentConfig
from aqr_perception.model import checkpoint
from aqr_perception.model.aqr.gate import GateRouter
from aqr_perception.model.detector import Detector
from aqr_perception.training.baseline import with_aqr
from aqr_perception.training.engine import TrainingSettings
from aqr_perception.training.fault_sampler import FaultSampling
from aqr_perception.training.schedule import OneCycle

SAVE_EVERY = 50
LOG_LINES = 100
"""About so many points has a curve."""


def shared_network(path: Path | None, config: ExperimentConfig) -> Detector:
    """The weights that all runs start from, without AQR whatever the file has.

    Args:
        path: A weights file; None: the weights that ship.
        config: The experiment.
    """
    detector = checkpoint.load(path) if path else checkpoint.load_default()
    return start_network(detector, config, config.start, 0).eval()


def untrained_network(path: Path | None, config: ExperimentConfig, name: str) -> Detector:
    """What a run measures that trains nothing; a new AQR changes nothing, an oracle may act in it.

    Args:
        path: See `shared_network`.
        config: The experiment.
        name: Of the run.

    Raises:
        ValueError: The weights have no AQR of the mode that the run is to measure.
    """
    run = config.runs[name]
    if not run.own_aqr:
        return start_network(shared_network(path, config), config, name, config.seeds[0]).eval()
    detector = checkpoint.load(path) if path else checkpoint.load_default()
    own = detector.config.aqr
    if own.mode != run.aqr.mode:
        raise ValueError(f"runs.{name}.own_aqr: the weights have aqr.mode {own.mode}; expected "
                         f"{run.aqr.mode}")
    router = detector.decoder.router
    if isinstance(router, GateRouter):
        router.align = run.aqr.gate.align
    return detector.eval()


def start_network(start: Detector, config: ExperimentConfig, name: str, seed: int) -> Detector:
    """The weights that all runs share, with the run's adaptive query routing on top.

    Args:
        start: The shared weights.
        config: The experiment.
        name: Of the run.
        seed: Of what is new in it.
    """
    torch.manual_seed(seed)
    made = with_aqr(start, config.runs[name].aqr)
    made.metadata = start.metadata
    return made


def training_settings(config: ExperimentConfig, name: str, seed: int, steps: int
                      ) -> TrainingSettings:
    """How a run is trained; runs of a seed with faults see the same frames in the same order.

    Clean ones see others where those have twins of spoiled frames.
    """
    part = config.training
    return TrainingSettings(
        steps=steps, batch_size=part.batch_size, seed=seed,
        schedule=OneCycle(base=part.learning_rate, peak_ratio=part.peak, rising=part.rising),
        average=part.average, faults=FaultSampling(config.fault_share(name)),
        freeze_baseline=config.runs[name].freeze_baseline,
        log_every=max(1, steps // LOG_LINES), save_every=SAVE_EVERY, workers=0,
        denoising_groups=part.denoising_groups, half=part.half, aqr_lr_ratio=part.aqr_ratio)


def eye_settings(config: ExperimentConfig, seed: int, steps: int) -> TrainingSettings:
    """How the gate of a run learns to see before it.

    Args:
        config: The experiment.
        seed: Of the run.
        steps: Of the run.
    """
    eye = config.training.eye
    count = eye.steps(steps)
    return TrainingSettings(
        steps=count, batch_size=eye.batch_size, seed=seed,
        schedule=OneCycle(base=eye.learning_rate, peak_ratio=eye.peak, rising=eye.rising),
        average=config.training.average, faults=FaultSampling(
            eye.fault_share, matched=eye.matched, persisting=eye.persisting,
            ended=eye.ended),
        log_every=max(1, count // LOG_LINES), save_every=SAVE_EVERY, workers=0,
        half=config.training.half)
