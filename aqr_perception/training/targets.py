"""What the network is to find in a frame, and the ten numbers in which CMT states a box."""

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


def encode_boxes(boxes: Tensor) -> Tensor:
    """State boxes as the head predicts them.

    Args:
        boxes: (..., 9) or (..., 7) without velocity: x, y, z, l, w, h, yaw, vx, vy.

    Returns:
        (..., 10) or (..., 8): x, y, log l, log w, z, log h, sin yaw, cos yaw, vx, vy.
    """
    x, y, z, length, width, height, yaw = boxes[..., :7].unbind(-1)
    code = torch.stack([x, y, length.log(), width.log(), z, height.log(), yaw.sin(), yaw.cos()], -1)
    return torch.cat([code, boxes[..., 7:]], dim=-1)


def decode_boxes(code: Tensor) -> Tensor:
    """Undo `encode_boxes`; sine and cosine need not have unit length."""
    x, y, length, width, z, height, sine, cosine = code[..., :8].unbind(-1)
    boxes = torch.stack([x, y, z, length.exp(), width.exp(), height.exp(),
                         torch.atan2(sine, cosine)], dim=-1)
    return torch.cat([boxes, code[..., 8:]], dim=-1)
