"""What the network is to find in a frame."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aqr_perception.types import CLASS_NAMES

BACKGROUND = len(CLASS_NAMES)
"""The label of "nothing here"; an index past the last class."""


@dataclass(frozen=True)
class Targets:
    """The truth about one frame, in the model frame.

    Attributes:
        boxes: (N, 9) x, y, z of the geometric centre, length, width, height [m], yaw [rad], vx, vy
            [m/s]; NaN velocities are unknown ones.
        labels: (N,) int64 index into `CLASS_NAMES`.
    """

    boxes: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.boxes.ndim != 2 or self.boxes.shape[1] != 9 or len(self.boxes) != len(self.labels):
            raise ValueError(f"targets are boxes (N, 9) and labels (N,); got "
                             f"{tuple(self.boxes.shape)} and {tuple(self.labels.shape)}")

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> Targets:
        """The same on another device."""
        return Targets(self.boxes.to(device), self.labels.to(device))
