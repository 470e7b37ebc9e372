"""Training batches by step number: a step's batch follows from the seed and the step alone.

That makes an interrupted run equal to one that was not (the loader starts at the step that is
next), the number of loader processes irrelevant, and two processes with half the batch each equal
to one with all of it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from aqr_perception.model.config import DetectorConfig
from aqr_perception.model.inputs import prepare
from aqr_perception.simulation.fault_labels import FaultLabels
from aqr_perception.training.augment import (
    Augmentation,
    augment_frame,
    draw_worlds,
    move_batch,
    move_targets,
)
from aqr_perception.training.fault_sampler import FaultSampler, FaultSampling
from aqr_perception.training.gate_labels import KnownFaults
from aqr_perception.training.targets import Targets
from aqr_perception.types import Annotations, Batch, Controls, Mounting, SensorFrame

ALL_QUERIES = Controls()


class FrameSource(Protocol):
    """Frames with their truth, by number: simulated drives, frame directories."""

    def __len__(self) -> int:
        """Number of frames."""

    def read(self, index: int) -> tuple[SensorFrame, Annotations]:
        """Frame and truth number ``index``."""

    def history(self, index: int, length: int) -> list[SensorFrame]:
        """Up to ``length`` frames of the same drive before frame ``index``, oldest first."""


@dataclass(frozen=True)
class FramesBefore:
    """The frames before those of a batch, moved by the same augmentation, and those before them.

    A fault that persists begins between the two: who lies shows when it begins.

    Attributes:
        batch: One entry a frame.
        there: (B,) bool; where it is False there is none, and the frame itself stands in, so that
            every process has frames to look at.
        earlier: The sound frames before them.
        earlier_there: (B,) bool, likewise.
    """

    batch: Batch
    there: Tensor
    earlier: Batch
    earlier_there: Tensor


@dataclass(frozen=True)
class TrainingBatch:
    """What one step learns from.

    Attributes:
        batch: The frames.
        targets: The truth of each, moved by the same augmentation.
        faults: What is wrong with the frames, where the network has a gate to supervise.
        before: The frames before, where the network compares frames.
    """

    batch: Batch
    targets: list[Targets]
    faults: KnownFaults | None = None
    before: FramesBefore | None = None


@dataclass(frozen=True)
class _Sample:
    """One frame, spoiled and augmented, but for what moves the world."""

    frame: SensorFrame
    annotations: Annotations
    faults: FaultLabels
    before: SensorFrame | None
    earlier: SensorFrame | None
    rng: np.random.Generator


def compares_frames(config: DetectorConfig) -> bool:
    """Whether the network looks at the frame before."""
    gate = config.aqr.gate
    return config.aqr.mode == "gate" and gate.learned and gate.time


class StepDataset(Dataset[TrainingBatch]):
    """One item a training step.

    Args:
        source: Frames; each epoch visits all of them in a new order.
        config: The network's, for the preprocessing that it shares with the node.
        mounting: The rig's.
        batch_size: Frames a step of this process.
        steps: Length.
        seed: Source of order and augmentation.
        augmentation: None leaves frames as they are.
        rank: Number of this process.
        processes: How many share a step.
        faults: Which frames are spoiled; none unless told.
    """

    def __init__(self, source: FrameSource, config: DetectorConfig, mounting: Mounting,
                 batch_size: int, steps: int, seed: int,
                 augmentation: Augmentation | None = None, rank: int = 0,
                 processes: int = 1, faults: FaultSampling | None = None) -> None:
        if not len(source):
            raise ValueError("the training set holds no frame; expected simulated drives: "
                             "make some with 'simulate'")
        self.source = source
        self.config = config
        self.mounting = mounting
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed
        self.augmentation = augmentation
        self.sampler = FaultSampler(faults or FaultSampling(), seed,
                                    augmentation.whole_every if augmentation else 1)
        self.first = rank * batch_size
        self.frames_per_step = processes * batch_size

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> TrainingBatch:
        """Build the batch of one step."""
        first = step * self.frames_per_step + self.first
        samples = [self._sample(position) for position in range(first, first + self.batch_size)]
        worlds = (np.tile(np.eye(4), (len(samples), 1, 1)) if self.augmentation is None
                  else draw_worlds(self.augmentation, [sample.rng for sample in samples]))
        targets = [targets_of(sample.annotations, self.mounting, self.config.detection_range)
                   for sample in samples]
        if self.augmentation is not None:
            targets = [inside(frame, self.config.detection_range)
                       for frame in move_targets(targets, worlds)]
        batch = self._batch([sample.frame for sample in samples], worlds)
        faults = before = None
        if self.config.aqr.mode == "gate":
            lidar_from_model = np.linalg.inv(worlds @ self.mounting.model_from_lidar)
            faults = KnownFaults(tuple(sample.faults for sample in samples),
                                 lidar_from_model.astype(np.float64))
        if compares_frames(self.config):
            before = FramesBefore(
                self._batch([sample.before or sample.frame for sample in samples], worlds),
                torch.tensor([sample.before is not None for sample in samples]),
                self._batch([sample.earlier or sample.frame for sample in samples], worlds),
                torch.tensor([sample.earlier is not None for sample in samples]))
        return TrainingBatch(batch, targets, faults, before)

    def _sample(self, position: int) -> _Sample:
        """Read, spoil and augment the frame of a position.

        A spoiled frame keeps all its sensors; what was before it is augmented by the same draws.
        """
        how = self.sampler.draw(position)
        index = self._frame_at(how.position)
        frame, annotations = self.source.read(index)
        past = max(how.past, 2 * compares_frames(self.config))
        frames = [*(self.source.history(index, past) if past else ()), frame]
        earlier = frames[-3] if len(frames) > 2 else None
        frame, faults, before = self.sampler.spoil(how, frames, annotations)
        rng = np.random.default_rng([self.seed, 1, how.position])
        if self.augmentation is not None:
            whole = how.fault != "none" or position % self.augmentation.whole_every == 0
            if before is not None:
                before = augment_frame(before, self.augmentation, copy.deepcopy(rng), whole)
            if earlier is not None:
                earlier = augment_frame(earlier, self.augmentation, copy.deepcopy(rng), whole)
            frame = augment_frame(frame, self.augmentation, rng, whole)
        return _Sample(frame, annotations, faults, before, earlier, rng)

    def _batch(self, frames: Sequence[SensorFrame], worlds: NDArray[np.float64]) -> Batch:
        """Preprocess frames and move them, if the world is moved at all."""
        batch = prepare(frames, self.config, self.mounting, ALL_QUERIES)
        return batch if self.augmentation is None else move_batch(batch, worlds)

    def _frame_at(self, position: int) -> int:
        epoch, place = divmod(position, len(self.source))
        if epoch != getattr(self, "_epoch", None):
            self._epoch = epoch
            self._order: NDArray[np.int64] = np.random.default_rng(
                [self.seed, 0, epoch]).permutation(len(self.source))
        return int(self._order[place])


def targets_of(annotations: Annotations, mounting: Mounting, detection_range: Sequence[float]
               ) -> Targets:
    """What the network is to find: objects in range that the LiDAR touched at least once.

    As in nuScenes, an object without a single LiDAR point is neither taught nor counted; an object
    whose points nobody counted (-1) is.

    Args:
        annotations: In the LiDAR frame.
        mounting: How that lies to the model frame.
        detection_range: x, y, z from and to [m], model frame.
    """
    boxes = annotations.boxes.transformed(mounting.model_from_lidar)
    columns = np.concatenate([boxes.center, boxes.size, boxes.yaw[:, None], boxes.velocity], axis=1)
    targets = Targets(torch.from_numpy(columns.astype(np.float32)),
                      torch.from_numpy(annotations.labels.astype(np.int64)))
    seen = torch.from_numpy(annotations.num_lidar_pts != 0)
    return inside(Targets(targets.boxes[seen], targets.labels[seen]), detection_range)


def inside(targets: Targets, detection_range: Sequence[float]) -> Targets:
    """Keep the objects whose centre lies in the range in x and y."""
    low = targets.boxes.new_tensor(detection_range[:2])
    high = targets.boxes.new_tensor(detection_range[3:5])
    center = targets.boxes[:, :2]
    kept = ((center >= low) & (center < high)).all(dim=1)
    return Targets(targets.boxes[kept], targets.labels[kept])


