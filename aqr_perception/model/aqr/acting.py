"""From what a gate believes to biases on the attention."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aqr_perception.model.aqr.routing import Scene
from aqr_perception.model.attention import EXCLUDED


class Strength(nn.Module):
    """λ > 0, learned."""

    def __init__(self, initial: float) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.tensor(math.log(math.expm1(initial))))

    def forward(self, logits: Tensor) -> Tensor:
        """Logits → biases ≤ 0."""
        return F.softplus(self.raw) * F.logsigmoid(logits)


def relative(bias: Tensor, usable: Tensor, exclude_below: float) -> Tensor:
    """Biases against the largest usable one; those that are all but left out, left out.

    Args:
        bias: (..., N) ≤ 0.
        usable: Likewise, bool.
        exclude_below: A bias at or below this becomes `EXCLUDED`.
    """
    best = bias.detach().masked_fill(~usable, -torch.inf).amax(-1, keepdim=True)
    against = (bias - best.masked_fill(best == -torch.inf, 0.0)).clamp(max=0)
    return against.masked_fill(against <= exclude_below, EXCLUDED)


def left_out(labels: Tensor) -> Tensor:
    """Labels → biases: `EXCLUDED` where leaving out helps, 0 elsewhere."""
    return torch.zeros_like(labels).masked_fill(labels < 0.5, EXCLUDED)


def shuffled(bias: Tensor, first: int) -> Tensor:
    """(B, Q, S) with another query's bias for each from the ``first`` on."""
    order = torch.randperm(bias.shape[1] - first, device=bias.device) + first
    return torch.cat([bias[:, :first], bias[:, order]], dim=1)


def say(scene: Scene, like: Tensor) -> Tensor:
    """(B, S) AQR's say over each sensor, 0 to 1."""
    modulation = scene.batch.modulation.to(like.dtype)
    cameras = scene.memory.present.shape[1] - 1
    return torch.cat([modulation[:, :1], modulation[:, 1:].expand(-1, cameras)], dim=1)


def by_kind(values: Tensor, sensors: Tensor) -> Tensor:
    """(2,) of the LiDAR and of cameras → (S,) for (B, S) sensors; nothing comes from the host."""
    return torch.cat([values[:1], values[1:].expand(sensors.shape[1] - 1)])
