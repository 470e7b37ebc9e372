"""Training batches by step number: a step's batch follows from the seed and the step alone.

That makes an interrupted run equal to one that was not (the loader starts at the step that is
next), the number of loader processes irrelevant, and two processes with half the batch each equal
to one with all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from aqr_perception.model.config import DetectorConfig
from aqr_perception.model.inputs import prepare
from aqr_perception.training.augment import Augmentation, augment_frame, augment_world
from aqr_perception.training.targets import Targets
from aqr_perception.types import Annotations, Batch, Controls, Mounting, SensorFrame

ALL_QUERIES = Controls()


class FrameSource(Protocol):
    """Frames with their truth, by number: simulated drives, frame directories."""

    def __len__(self) -> int:
        """Number of frames."""

    def read(self, index: int) -> tuple[SensorFrame, Annotations]:
        """Frame and truth number ``index``."""


@dataclass(frozen=True)
class TrainingBatch:
    """What one step learns from.

    Attributes:
        batch: The frames.
        targets: The truth of each, moved by the same augmentation.
    """

    batch: Batch
    targets: list[Targets]


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
    """

    def __init__(self, source: FrameSource, config: DetectorConfig, mounting: Mounting,
                 batch_size: int, steps: int, seed: int,
                 augmentation: Augmentation | None = None, rank: int = 0,
                 processes: int = 1) -> None:
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
        self.first = rank * batch_size
        self.frames_per_step = processes * batch_size

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> TrainingBatch:
        """Build the batch of one step."""
        positions = step * self.frames_per_step + self.first + np.arange(self.batch_size)
        rngs = [np.random.default_rng([self.seed, 1, int(position)]) for position in positions]
        samples = [self.source.read(self._frame_at(int(position))) for position in positions]
        frames = [frame for frame, _ in samples]
        targets = [targets_of(annotations, self.mounting, self.config.detection_range)
                   for _, annotations in samples]
        if self.augmentation is not None:
            frames = [augment_frame(frame, self.augmentation, rng,
                                    whole=int(position) % self.augmentation.whole_every == 0)
                      for frame, rng, position in zip(frames, rngs, positions)]
        batch = prepare(frames, self.config, self.mounting, ALL_QUERIES)
        if self.augmentation is not None:
            batch, targets = augment_world(batch, targets, self.augmentation, rngs)
            targets = [inside(frame, self.config.detection_range) for frame in targets]
        return TrainingBatch(batch, targets)

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


