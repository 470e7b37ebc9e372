"""How long an experiment takes, and how much of it fits into some hours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from aqr_perception.experiment.config import ExperimentConfig

RESERVE = 0.1
"""Share of the hours that is not planned with."""
START_SECONDS = 10.0
"""Of a process, before its first step."""
FEWEST_STEPS = 20
FEWEST_FRAMES = 2


@dataclass(frozen=True)
class Cost:
    """What a run takes; the defaults only weigh progress.

    Attributes:
        step: Of training [s].
        frame: Of one frame in one setting [s].
    """

    step: float = 1.0
    frame: float = 0.1


@dataclass(frozen=True)
class Size:
    """How much is done; the same for every run.

    Attributes:
        steps: Of training.
        clean_frames: Measured without a fault.
        frames: Measured under each fault and severity.
        costs: By run, where they were measured.
    """

    steps: int
    clean_frames: int
    frames: int
    costs: Mapping[str, Cost] = field(default_factory=dict)

    def cost(self, name: str) -> Cost:
        """Of one run."""
        return self.costs.get(name, Cost())

    def seconds(self, config: ExperimentConfig, name: str) -> float:
        """Of one run with one seed on one core, without the start of its process."""
        cost, evaluation = self.cost(name), config.evaluation
        settings = len(evaluation.fault_names) * len(set(evaluation.severities))
        training = self.steps * cost.step if config.runs[name].train else 0.0
        return training + (self.clean_frames + self.frames * settings) * cost.frame

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"steps": self.steps, "clean_frames": self.clean_frames, "frames": self.frames,
                "costs": {name: asdict(cost) for name, cost in self.costs.items()}}

    @staticmethod
    def of_json(values: Mapping[str, Any]) -> Size:
        """What `to_json` gave."""
        return Size(values["steps"], values["clean_frames"], values["frames"],
                    {name: Cost(**cost) for name, cost in values["costs"].items()})


def full_size(config: ExperimentConfig, held_out: int) -> Size:
    """All that the experiment asks for, as far as there are frames.

    Args:
        config: The experiment.
        held_out: Number of held-out frames.
    """
    return Size(config.training.steps, min(config.evaluation.clean_frames, held_out),
                min(config.evaluation.frames, held_out))


def fitted_size(config: ExperimentConfig, full: Size, costs: Mapping[str, Cost], hours: float,
                processes: int) -> Size:
    """The largest part of an experiment that fits: steps and frames shrink by the same factor.

    Args:
        config: The experiment.
        full: All of it.
        costs: Of every run, measured with as many processes at once.
        hours: There are.
        processes: At once.

    Raises:
        ValueError: Too few hours for the least that makes sense.
    """
    full = Size(full.steps, full.clean_frames, full.frames, costs)

    def needed(size: Size) -> float:
        return sum(START_SECONDS + size.seconds(config, name) for name, _ in config.jobs()
                   ) / processes / (1 - RESERVE)

    least = _scaled(full, 0.0)
    if needed(least) > hours * 3600:
        raise ValueError(f"--budget is {hours:g} hours; expected at least "
                         f"{math.ceil(needed(least) / 360) / 10:g} for {len(config.jobs())} runs")
    low, high = 0.0, 1.0
    if needed(full) <= hours * 3600:
        low = 1.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (middle, high) if needed(_scaled(full, middle)) <= hours * 3600 \
            else (low, middle)
    return _scaled(full, low)


def _scaled(full: Size, factor: float) -> Size:
    """A part, but not less than makes sense, where there is as much."""
    def part(whole: int, least: int) -> int:
        return max(math.floor(whole * factor), min(least, whole))

    return Size(part(full.steps, FEWEST_STEPS), part(full.clean_frames, FEWEST_FRAMES),
                part(full.frames, FEWEST_FRAMES), full.costs)
