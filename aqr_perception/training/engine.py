"""The training loop: steps, log, checkpoints. An interrupted run goes on as if it never was."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from aqr_perception.model import checkpoint
from aqr_perception.model.aqr.history import look_back
from aqr_perception.model.aqr.temporal import TemporalMemory
from aqr_perception.model.config import to_dict
from aqr_perception.model.detector import Detector
from aqr_perception.model.inputs import to_device
from aqr_perception.model.precision import has_half
from aqr_perception.training.augment import Augmentation
from aqr_perception.training.baseline import (
    freeze_baseline,
    freeze_eye,
    hold_eye,
    hold_statistics,
)
from aqr_perception.training.criterion import Criterion, Losses, only
from aqr_perception.training.dataset import FrameSource, StepDataset, TrainingBatch
from aqr_perception.training.denoising import (
    DenoisingConfig,
    DenoisingQueries,
    make_denoising,
)
from aqr_perception.training.distillation import Teacher, distillation_loss
from aqr_perception.training.distributed import (
    max_over_processes,
    mean_over_processes,
    process,
    share_statistics,
)
from aqr_perception.training.fault_sampler import FaultSampling
from aqr_perception.training.gate_labels import gate_labels
from aqr_perception.training.heat_loss import heat_loss
from aqr_perception.training.log import TrainingLog
from aqr_perception.training.memory import return_freed_memory
from aqr_perception.training.schedule import OneCycle, set_rate
from aqr_perception.training.state import load_state, save_state
from aqr_perception.training.targets import Targets
from aqr_perception.training.trunk import OneSensor, TrunkTask, unmasked
from aqr_perception.types import Batch, Mounting

STATE_FILE = "state.safetensors"
WEIGHTS_FILE = "weights.safetensors"
TRIM_EVERY = 200
"""Steps between looks at freed memory."""
UNDECAYED = ("_bias", "norm_weight", "reference_points", "log_meters", "log_radians")
"""Ends of the names of parameters that lie stacked like matrices, and are none."""


@dataclass(frozen=True)
class TrainingSettings:
    """How to train; all of it is written beside the result.

    Attributes:
        steps: Length of the run, and of its learning-rate cycle.
        batch_size: Frames a step and process.
        seed: Source of weights, order, augmentation and denoising.
        schedule: Learning rate and momentum.
        weight_decay: AdamW's, on matrices and kernels; none on biases, norms, places and scales.
        clip: Largest L2 norm of the gradient.
        average: Decay of the moving average of the weights that is kept as the result; 0 for none.
        image_lr_ratio: Learning rate of the image trunk as a share of the rest's.
        aqr_lr_ratio: Learning rate of adaptive query routing as a multiple of the rest's: on a
            trained network it alone is new.
        augmentation: Ranges.
        faults: Which frames are spoiled.
        freeze_baseline: Train the parameters of adaptive query routing alone; without denoising,
            since nothing of it would be learned.
        freeze_eye: Keep whom a gate trusts as it learned it alone, see `baseline.freeze_eye`.
        trunk: Train the trunk of ``lidar`` or ``image`` alone, by its tokens' side task; empty:
            the whole network.
        log_every: Steps between lines of the log.
        save_every: Steps between saved states.
        workers: Loader processes; the result does not depend on it.
        denoising_groups: Largest number of noisy copies of each object.
        share_statistics: Batch norms see the frames of all processes, as in one process; without,
            each sees its own, and nothing waits for another within a pass.
        half: Run the forward pass in half precision (fp16 with loss scaling on CUDA, bf16 on a
            CPU), where `has_half` says that the device can.
    """

    steps: int
    batch_size: int = 8
    seed: int = 0
    schedule: OneCycle = field(default_factory=lambda: OneCycle(base=2e-4))
    weight_decay: float = 0.01
    clip: float = 35.0
    average: float = 0.998
    image_lr_ratio: float = 1.0
    aqr_lr_ratio: float = 1.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    faults: FaultSampling = field(default_factory=FaultSampling)
    freeze_baseline: bool = False
    freeze_eye: bool = False
    trunk: str = ""
    log_every: int = 20
    save_every: int = 200
    workers: int = 1
    denoising_groups: int = 10
    half: bool = False
    share_statistics: bool = True

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch_size", 1), ("seed", 0), ("workers", 0),
                            ("denoising_groups", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; expected {least} or more")
        for name in ("clip", "image_lr_ratio", "aqr_lr_ratio"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a number above 0")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay is {self.weight_decay}; expected 0 or more")
        if not 0 <= self.average < 1:
            raise ValueError(f"average is {self.average}; expected 0 to below 1")


class Trainer:
    """One run in one folder.

    Args:
        detector: What to train; weights as they are at the start.
        source: Frames with truth.
        mounting: The rig's.
        settings: How.
        folder: Where state, log, TensorBoard files and weights go; a state that lies there is
            resumed from.
        device: Where to train.
        command: What the weights say they were trained with.
        teacher: Whose weights of queries are to be learned as well, or None.

    Raises:
        ValueError: The folder holds a run with other settings, nothing is left to train, or the
            teacher does not fit.
    """

    def __init__(self, detector: Detector, source: FrameSource, mounting: Mounting,
                 settings: TrainingSettings, folder: Path, device: torch.device,
                 command: str = "", teacher: Teacher | None = None) -> None:
        self.detector = detector.to(device)
        self.settings = settings
        self.folder = folder
        self.device = device
        self.command = command
        self.rank, self.processes = process()
        self.criterion = Criterion()
        self.teacher = teacher
        if teacher is not None:
            if settings.trunk:
                raise ValueError(f"a trunk alone ('{settings.trunk}') has no weights of queries to "
                                 "learn from a teacher; expected none")
            teacher.check(detector.config)
            teacher.detector.to(device)
        if settings.freeze_baseline:
            freeze_baseline(self.detector)
        if settings.freeze_eye:
            freeze_eye(self.detector)
        whole = self._task()
        augmentation = settings.augmentation
        if settings.trunk:
            source = OneSensor(source, settings.trunk)
            augmentation = unmasked(augmentation)
        self.average = copy.deepcopy(self.detector).eval() if settings.average else None
        self.optimizer = torch.optim.AdamW(_groups(self.detector, settings), lr=1.0)
        self.scaler = torch.amp.GradScaler(
            device.type, enabled=settings.half and device.type == "cuda")
        self.forward = whole
        if self.processes > 1:
            # A batch without images (modal masking) leaves the image trunk without gradient.
            shared = share_statistics(whole, device) if settings.share_statistics else whole
            removing = augmentation.no_images or augmentation.no_lidar or settings.faults.share
            if (settings.share_statistics and removing
                    and settings.batch_size < augmentation.whole_every):
                raise ValueError(
                    f"batch_size is {settings.batch_size}; expected {augmentation.whole_every} or "
                    "more in each of several processes, so that none is without a sensor whose "
                    "statistics they share (or let each have its own: --own-statistics)")
            self.forward = nn.parallel.DistributedDataParallel(shared, find_unused_parameters=True)
        folder.mkdir(parents=True, exist_ok=True)
        self.step = 0
        if (folder / STATE_FILE).exists():
            self.step = load_state(folder / STATE_FILE, self.detector, self.average,
                                   self.optimizer, self.scaler, self._identity())
        self.dataset = StepDataset(
            source, detector.config, mounting, settings.batch_size, settings.steps, settings.seed,
            augmentation, self.rank, self.processes, settings.faults)

    def run(self) -> Path | None:
        """Train to the last step.

        Returns:
            The weights file; None in processes other than the first.

        Raises:
            ValueError: The loss is not finite; the batch is saved and named.
        """
        log = None
        if self.rank == 0:
            log = TrainingLog(self.folder, self.step, self.settings.steps, self.settings.log_every)
        started = time.perf_counter()
        for batch in self._batches():
            losses, norm = self._train_step(batch)
            now = time.perf_counter()
            if log is not None:
                log.step(self.step, losses, norm, now - started, self.device)
            started = now
            self.step += 1
            if self.device.type == "cpu" and self.step % TRIM_EVERY == 0:
                return_freed_memory()
            if self.rank == 0 and (self.step % self.settings.save_every == 0
                                   or self.step == self.settings.steps):
                self._save()
        if log is None:
            return None
        log.close()
        weights = self.folder / WEIGHTS_FILE
        checkpoint.save(weights, self.average or self.detector,
                        {"training": json.dumps(self._identity()), "command": self.command})
        return weights

    def _task(self) -> nn.Module:
        """What is called with a batch; other processes share its gradients."""
        trunk = self.settings.trunk
        return TrunkTask(self.detector, trunk) if trunk else self.detector

    def _batches(self) -> Iterator[Any]:
        workers = self.settings.workers
        loader = DataLoader(
            self.dataset, batch_size=None, sampler=_Steps(self.step, self.settings.steps),
            num_workers=workers, prefetch_factor=3 if workers else None,
            generator=torch.Generator(),  # else it draws from the state that dropout goes on with
            pin_memory=self.device.type == "cuda")
        return iter(loader)

    def _train_step(self, item: Any) -> tuple[Losses, Tensor]:
        """One update; returns the losses and the gradient's norm before clipping."""
        settings = self.settings
        self.detector.train()
        if settings.freeze_baseline:
            hold_statistics(self.detector)
        if settings.freeze_eye:
            hold_eye(self.detector)
        set_rate(self.optimizer, *settings.schedule.at(self.step, settings.steps))
        losses = self._step_losses(item)
        if not torch.isfinite(losses.total):
            raise ValueError(f"the loss of step {self.step} is not finite: "
                             f"{losses.scalars()}; the batch is in {self._save_batch(item)}")
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(losses.total).backward()
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.detector.parameters(), settings.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self._update_average()
        return Losses(*(mean_over_processes(getattr(losses, term.name))
                        for term in fields(losses))), norm

    def _step_losses(self, item: Any) -> Losses:
        """Of one step's batch."""
        batch = to_device(item.batch, self.device)
        targets = [frame.to(self.device) for frame in item.targets]
        if self.settings.trunk:
            return self._trunk_losses(batch, targets)
        return self._losses(item, batch, targets)

    def _losses(self, item: TrainingBatch, batch: Batch, targets: list[Targets]) -> Losses:
        """Of the whole network.

        Raises:
            ValueError: Its output is not finite; the batch is saved and named.
        """
        denoising = self._denoising(targets)
        with self._precision():
            output = self.forward(batch, denoising, self._history(item))
        if not (torch.isfinite(output.logits).all() and torch.isfinite(output.boxes).all()):
            raise ValueError(f"the network's output in step {self.step} is not finite; the batch "
                             f"is in {self._save_batch(item)}")
        config = self.detector.config
        labels = None if item.faults is None else gate_labels(output, item.faults, item.batch,
                                                              config)
        losses = self.criterion(output, targets, denoising, labels)
        if output.heat is not None:
            losses = replace(losses, heat=heat_loss(output.heat, targets, batch,
                                                    config.detection_range))
        if self.teacher is not None:
            with self._precision():
                wanted = self.teacher.weights(batch, output.reference_points)
            losses = replace(losses, distillation=self.criterion.weights.distillation
                             * distillation_loss(output.aqr, wanted))
        return losses

    def _trunk_losses(self, batch: Batch, targets: list[Targets]) -> Losses:
        """Of one trunk's side task."""
        with self._precision():
            heat = self.forward(batch)
        return only(heat=heat_loss(heat, targets, batch, self.detector.config.detection_range))

    def _precision(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, enabled=self.settings.half and has_half(self.device),
            dtype=torch.float16 if self.device.type == "cuda" else torch.bfloat16)

    def _history(self, item: TrainingBatch) -> TemporalMemory | None:
        """What the network would have kept of the frames before."""
        before = item.before
        if before is None:
            return None
        history = None
        for batch, there in ((before.earlier, before.earlier_there), (before.batch, before.there)):
            history = look_back(self.detector, to_device(batch, self.device), history)
            if history is None:
                return None
            index = torch.arange(len(there), device=self.device)
            history = history.take(index, there.to(self.device))
        return history

    def _denoising(self, targets: list[Targets]) -> DenoisingQueries | None:
        """Noisy copies of the truth; a frame's noise follows from its number alone."""
        if self.settings.freeze_baseline:
            return None
        config = self.detector.config
        most = max_over_processes(max(len(frame) for frame in targets), self.device)
        groups = min(self.settings.denoising_groups, config.decoder.queries // max(most, 1))
        if not groups:
            return None
        first = (self.step * self.processes + self.rank) * len(targets)
        noise = [torch.rand(groups, len(frame), 3, generator=torch.Generator().manual_seed(
            (self.settings.seed << 40) + first + i)) for i, frame in enumerate(targets)]
        return make_denoising(
            targets, config.decoder.queries,
            torch.tensor(config.detection_range, device=self.device),
            DenoisingConfig(groups=groups), torch.cat(noise, dim=1).flatten(0, 1))

    @torch.no_grad()
    def _update_average(self) -> None:
        """Move the average towards the weights; faster at first, when they still run away."""
        if self.average is None:
            return
        decay = min(self.settings.average, (1 + self.step) / (10 + self.step))
        current = self.detector.state_dict()
        for key, value in self.average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(current[key], 1 - decay)
            else:
                value.copy_(current[key])

    def _save(self) -> None:
        save_state(self.folder / STATE_FILE, self.detector, self.average, self.optimizer,
                   self.scaler, self.step, self._identity())

    def _save_batch(self, item: Any) -> Path:
        path = self.folder / f"bad_batch_{self.step}.safetensors"
        tensors = {key: value for key, value in vars(item.batch).items()
                   if isinstance(value, Tensor)}
        for i, frame in enumerate(item.targets):
            tensors |= {f"targets.{i}.boxes": frame.boxes, f"targets.{i}.labels": frame.labels}
        save_file({key: value.cpu().contiguous() for key, value in tensors.items()}, path)
        return path

    def _identity(self) -> dict[str, Any]:
        """What must be equal for a state to be resumed from, as JSON holds it."""
        fixed = replace(self.settings, log_every=0, save_every=0, workers=0)
        taught = self.teacher.identity() if self.teacher is not None else {}
        return json.loads(json.dumps(
            {**asdict(fixed), "network": to_dict(self.detector.config), **taught}))


class _Steps(Sampler[int]):
    """Step numbers that are still to do."""

    def __init__(self, first: int, steps: int) -> None:
        self._range = range(first, steps)

    def __iter__(self) -> Iterator[int]:
        return iter(self._range)

    def __len__(self) -> int:
        return len(self._range)


def _groups(detector: Detector, settings: TrainingSettings) -> list[dict[str, Any]]:
    """Parameters by weight decay and learning-rate share, in the order of the network."""
    ratios = {"tokenizer.image.": settings.image_lr_ratio,
              "decoder.router.": settings.aqr_lr_ratio}
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, parameter in detector.named_parameters():
        if parameter.requires_grad:
            ratio = next((ratio for part, ratio in ratios.items() if name.startswith(part)), 1.0)
            decayed = parameter.ndim > 1 and not name.endswith(UNDECAYED)
            groups.setdefault((decayed, ratio), []).append(parameter)
    return [{"params": parameters, "weight_decay": settings.weight_decay if decayed else 0.0,
             "lr_ratio": ratio} for (decayed, ratio), parameters in groups.items()]
