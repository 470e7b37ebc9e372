"""What an experiment consists of: runs that differ in one thing each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from aqr_perception.model.aqr.config import MODES, AqrConfig
from aqr_perception.runtime.fault_runs import Setting, settings_of
from aqr_perception.training.distillation import check_settings
from aqr_perception.training.fault_sampler import HELD_OUT, FaultSampling

ORACLES = ("frame", "query", "token")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


@dataclass(frozen=True)
class EyePart:
    """How a gate learns to see before its run (`training.gate_alone`), on the start as it is.

    Attributes:
        share: Its steps as a multiple of the run's; 0: it does not.
        pool: Batches that it looks at again and again.
        looks: How often, before the next ones take their place; 0: always the same.
        batch_size: Frames a step.
        learning_rate: At the start.
        peak: Highest learning rate as a multiple of that.
        rising: Share of the steps up to there.
        fault_share: Share of spoiled frames.
        matched: Share of those that come as twins, which differ in who lies.
        persisting: Share of those whose fault began a frame before.
        ended: Share of those whose fault has just ended.
    """

    share: float = 0.0
    pool: int = 80
    looks: int = 0
    batch_size: int = 8
    learning_rate: float = 5e-4
    peak: float = 5.0
    rising: float = 0.2
    fault_share: float = 0.7
    matched: float = 0.5
    persisting: float = 0.7
    ended: float = 0.0

    def __post_init__(self) -> None:
        _at_least_one(self, "training.eye", ("pool", "batch_size"))
        if not self.share >= 0 or self.looks < 0 or not self.learning_rate > 0:
            raise ValueError(f"training.eye.share is {self.share}, looks {self.looks}, "
                             f"learning_rate {self.learning_rate}; expected 0 or more, and above "
                             "0")

    def steps(self, of_run: int) -> int:
        """Steps of the eye for a run of so many."""
        return round(self.share * of_run)


@dataclass(frozen=True)
class TrainingPart:
    """How every run is fine-tuned.

    Attributes:
        steps: Most of them; a budget takes fewer.
        batch_size: Frames a step.
        learning_rate: At the start.
        peak: Highest learning rate as a multiple of that.
        rising: Share of the steps up to there.
        aqr_ratio: Learning rate of adaptive query routing, which is new, as a multiple of that.
        denoising_groups: Most noisy copies of each object.
        average: Decay of the moving average of the weights that is evaluated; 0: the last weights.
        fault_share: Share of spoiled frames, where a run does not say otherwise.
        half: Forward passes in half precision.
        eye: What runs with a gate that looks at frames do before.
    """

    steps: int = 1000
    batch_size: int = 8
    learning_rate: float = 1e-4
    peak: float = 3.0
    rising: float = 0.2
    aqr_ratio: float = 1.0
    denoising_groups: int = 3
    average: float = 0.99
    fault_share: float = 0.5
    half: bool = False
    eye: EyePart = field(default_factory=EyePart)

    def __post_init__(self) -> None:
        _at_least_one(self, "training", ("steps", "batch_size"))
        if not self.learning_rate > 0:
            raise ValueError(f"training.learning_rate is {self.learning_rate}; expected above 0")


@dataclass(frozen=True)
class EvaluationPart:
    """What every run is measured on.

    Attributes:
        clean_frames: Most frames without a fault.
        frames: Most frames under each fault and severity; they are among the former.
        faults: Names of faults, or ``multicorrupt`` for its ten; empty: all.
        severities: Of 1 to 3.
        smallest_difference: Differences of mAP or NDS below this are never called one, however
            small their spread is.
    """

    clean_frames: int = 200
    frames: int = 60
    faults: tuple[str, ...] = ()
    severities: tuple[int, ...] = (1, 2, 3)
    smallest_difference: float = 0.005

    def __post_init__(self) -> None:
        _at_least_one(self, "evaluation", ("clean_frames", "frames"))
        if self.frames > self.clean_frames:
            raise ValueError(f"evaluation.frames is {self.frames}; expected at most clean_frames, "
                             f"{self.clean_frames}")
        settings_of(self.faults, self.severities)

    @property
    def fault_names(self) -> tuple[str, ...]:
        """Each fault once."""
        return tuple(dict.fromkeys(one.fault for one in settings_of(self.faults,
                                                                    self.severities)))

    def settings(self, fault: str) -> list[Setting]:
        """One fault in every severity, mildest first."""
        return settings_of((fault,), self.severities)


@dataclass(frozen=True)
class RunConfig:
    """One method.

    Attributes:
        about: What it is, in a line.
        against: Names of the runs that it differs from in one thing.
        train: False measures the weights that all others start from, as they are.
        own_aqr: And with the adaptive query routing that came with them, which must be of this
            mode; of the settings below only whether sensors are put right counts then.
        fault_share: Share of spoiled frames in training; None: that of `TrainingPart`.
        freeze_baseline: Train adaptive query routing alone.
        oracle: The truth about faults stands in for the gate, in training and in evaluation: of
            the ``frame``'s sensors, per ``query`` and sensor (at the places where queries start),
            or per ``token``; empty: the gate decides.
        distil_from: Name of the run whose weights of queries this one's generator learns as well
            (`training.distillation`), once that is done; empty: of none.
        aqr: Adaptive query routing.
    """

    about: str = ""
    against: tuple[str, ...] = ()
    train: bool = True
    own_aqr: bool = False
    fault_share: float | None = None
    freeze_baseline: bool = False
    oracle: str = ""
    distil_from: str = ""
    aqr: AqrConfig = field(default_factory=lambda: AqrConfig(mode="off"))

    def __post_init__(self) -> None:
        if self.oracle not in ("", *ORACLES):
            raise ValueError(f"oracle is '{self.oracle}'; expected {', '.join(ORACLES)}, or none")
        gate = self.aqr.gate
        if self.oracle and not (self.aqr.mode == "gate" and gate.learned and gate.query
                                and gate.token and gate.frame):
            raise ValueError("oracle: stands in for a gate; expected aqr.mode gate with all its "
                             "parts")
        if self.freeze_baseline and self.aqr.mode == "off":
            raise ValueError("freeze_baseline leaves nothing to train with aqr.mode off; expected "
                             "another mode")
        if self.own_aqr and (self.train or self.oracle or self.aqr.mode == "off"):
            raise ValueError("own_aqr measures weights as they came; expected train: false, no "
                             "oracle, and the mode of their AQR")
        if self.fault_share is not None:
            FaultSampling(self.fault_share)

    @property
    def sees(self) -> bool:
        """Whether it has a gate that looks at frames and decides itself."""
        return self.aqr.mode == "gate" and self.aqr.gate.learned and not self.oracle

    @property
    def control(self) -> str:
        """``constant`` or ``shuffled``: a gate that cannot act on what it sees; else empty."""
        if self.aqr.mode != "gate":
            return ""
        if not self.aqr.gate.learned:
            return "constant"
        return "shuffled" if self.aqr.gate.shuffle_queries else ""


@dataclass(frozen=True)
class ExperimentConfig:
    """All of it.

    Attributes:
        runs: By name.
        seeds: Each run is trained once with each; runs of one seed see the same batches.
        training: How.
        evaluation: On what.
        start: The run that is not trained.
        competitor: The run whose gain over ``start`` owes nothing to adaptive query routing; what
            does not say ``against`` what it is held is held against this one.
        report_aqr: The run that comes nearest to the experiment report's AQR; empty: none.
        report_baseline: The one that comes nearest to its baseline.
    """

    runs: dict[str, RunConfig]
    seeds: tuple[int, ...] = (0, 1, 2)
    training: TrainingPart = field(default_factory=TrainingPart)
    evaluation: EvaluationPart = field(default_factory=EvaluationPart)
    start: str = "baseline"
    competitor: str = "finetune_faults"
    report_aqr: str = ""
    report_baseline: str = ""

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"seeds is {list(self.seeds)}; expected at least one, each once, from "
                             "0 up")
        for name in self.runs:
            if not _NAME.fullmatch(name):
                raise ValueError(f"runs: '{name}' names a folder; expected small letters, digits "
                                 "and _")
        if bool(self.report_aqr) != bool(self.report_baseline):
            raise ValueError("report_aqr and report_baseline are a pair; expected both or none")
        report = ("report_aqr", "report_baseline") if self.report_aqr else ()
        for name in ("start", "competitor", *report):
            if getattr(self, name) not in self.runs:
                raise ValueError(f"{name} is '{getattr(self, name)}', which is no run; expected "
                                 f"one of {', '.join(self.runs)}")
        for name, run in self.runs.items():
            strangers = sorted(set(run.against) - set(self.runs))
            if strangers or name in run.against:
                raise ValueError(f"runs.{name}.against names {', '.join(strangers) or name}; "
                                 "expected other runs")
            if run.distil_from:
                self._check_teacher(name)

    def _check_teacher(self, name: str) -> None:
        """Whether the run that another learns from can be learned from."""
        run = self.runs[name]
        teacher = self.runs.get(run.distil_from)
        if teacher is None or not teacher.train or teacher.distil_from or not run.train:
            raise ValueError(f"runs.{name}.distil_from is '{run.distil_from}'; expected a run "
                             "that is trained and does not learn from another, for one that is "
                             "trained")
        try:
            check_settings(teacher.aqr, run.aqr)
        except ValueError as error:
            raise ValueError(f"runs.{name}.distil_from is '{run.distil_from}', but {error}"
                             ) from None

    def against(self, name: str) -> tuple[str, ...]:
        """What a run is held against."""
        run = self.runs[name]
        if run.against or name in (self.start, self.competitor):
            return run.against
        return (self.competitor,)

    def seeds_of(self, name: str) -> tuple[int, ...]:
        """Seeds that a run is done with: one where nothing is drawn."""
        return self.seeds if self.runs[name].train else self.seeds[:1]

    def jobs(self) -> list[tuple[str, int]]:
        """Every run with every seed; all runs of a seed before the next seed."""
        return [(name, seed) for seed in self.seeds for name in self.runs
                if seed in self.seeds_of(name)]

    def fault_share(self, name: str) -> float:
        """Share of spoiled frames in a run's training."""
        own = self.runs[name].fault_share
        return self.training.fault_share if own is None else own


def _at_least_one(part: Any, where: str, names: Sequence[str]) -> None:
    for name in names:
        if getattr(part, name) < 1:
            raise ValueError(f"{where}.{name} is {getattr(part, name)}; expected 1 or more")


def fixed_settings(config: ExperimentConfig, name: str, steps: int) -> dict[str, Any]:
    """What must be equal for the training of a run to go on, as JSON holds it.

    What it learns from is part of that; a run that learns from none says nothing of it, as it says
    nothing of the modes of AQR that it does not use.
    """
    run = asdict(config.runs[name])
    teacher = run.pop("distil_from")
    about = {key: value for key, value in run.items() if key not in ("about", "against")}
    about["aqr"] = {key: value for key, value in run["aqr"].items()
                    if key not in MODES or key == run["aqr"]["mode"]}
    taught = {"teacher": fixed_settings(config, teacher, steps)} if teacher else {}
    share = config.fault_share(name)
    training = {**asdict(config.training), "steps": steps, "fault_share": share}
    if share:
        training["kept_from_training"] = list(HELD_OUT)
    if not config.runs[name].sees:
        del training["eye"]
    return {"run": about, "training": training if config.runs[name].train else None, **taught}
