"""The task heads: what a query says after each decoder layer, and how a box is put together."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aqr_perception.model.config import DetectorConfig
from aqr_perception.model.constants import picked
from aqr_perception.model.position import inverse_sigmoid, range_limits
from aqr_perception.types import CLASS_NAMES

BRANCHES = {"center": 2, "height": 1, "dim": 3, "rot": 2, "vel": 2, "cls_logits": len(CLASS_NAMES)}
"""CMT's names, and numbers a query. See `Head.forward` for what they really hold."""

CLASS_PRIOR = -2.19
"""Initial class logit: one query in ten finds something."""

PLAIN_ORDER = (0, 1, 3, 4, 2, 5)
"""Where (cx, cy, log l, log w, cz, log h) stand among (center, height, dim) in a network whose
``height`` is the height of the centre and whose ``dim`` are the three sizes."""


class Branch(nn.Module):
    """The parameters of a small MLP for each decoder layer; `Branches` evaluates them.

    Args:
        layers: L.
        channels: C.
        hidden: Width inside.
        leaving: Numbers a query.
    """

    def __init__(self, layers: int, channels: int, hidden: int, leaving: int) -> None:
        super().__init__()
        self.hidden_weight = nn.Parameter(torch.empty(layers, hidden, channels))
        self.norm_weight = nn.Parameter(torch.ones(layers, hidden))
        self.norm_bias = nn.Parameter(torch.zeros(layers, hidden))
        self.out_weight = nn.Parameter(torch.empty(layers, leaving, hidden))
        self.out_bias = nn.Parameter(torch.zeros(layers, leaving))
        for weight in (self.hidden_weight, self.out_weight):
            bound = 1 / math.sqrt(weight.shape[2])
            nn.init.uniform_(weight, -bound, bound)


class Branches(nn.ModuleDict):
    """Branches of one hidden width, all of them and all layers evaluated at once."""

    def forward(self, states: Tensor, first: int) -> dict[str, Tensor]:
        """(M, N, C) states of layers first..first+M-1 → by name (M, N, leaving)."""
        chosen = slice(first, first + len(states))

        def of_all(parameter: str) -> list[Tensor]:
            return [getattr(branch, parameter)[chosen] for branch in self.values()]

        x = torch.bmm(states, torch.cat(of_all("hidden_weight"), dim=1).transpose(1, 2))
        x = x.unflatten(-1, (len(self), -1))  # (M, N, branches, hidden)
        x = F.layer_norm(x, x.shape[-1:], eps=1e-6)
        weight, bias = (torch.stack(of_all(name), dim=1)[:, None]
                        for name in ("norm_weight", "norm_bias"))
        x = torch.addcmul(bias, x, weight).relu()
        return {name: torch.baddbmm(out_bias[:, None], own, out_weight.transpose(1, 2))
                for name, own, out_weight, out_bias in zip(
                    self, x.unbind(2), of_all("out_weight"), of_all("out_bias"))}


class Head(nn.Module):
    """Six branches, and the assembly of boxes around reference points."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        decoder = config.decoder
        self.config = config
        self.branches = Branches({
            name: Branch(decoder.layers, decoder.channels, decoder.head_channels, leaving)
            for name, leaving in BRANCHES.items()})
        for name, branch in self.branches.items():
            assert isinstance(branch, Branch)
            if name == "cls_logits":
                nn.init.constant_(branch.out_bias, CLASS_PRIOR)
            elif decoder.metric_offsets:
                nn.init.zeros_(branch.out_weight)

    def forward(self, states: Tensor, reference_points: Tensor, first: int = 0
                ) -> tuple[Tensor, Tensor]:
        """Read classes and boxes off the queries.

        In CMT the ten numbers of a box are laid down in the order (center, height, dim, rot, vel)
        but read everywhere as (cx, cy, log l, log w, cz, log h, sin, cos, vx, vy): so in every
        trained file ``height``, squashed into the range of z, is the log of the length, and
        ``dim`` holds log width, the height of the centre [m] and log height.

        Args:
            states: (M, B, Q, C) normalised states of decoder layers ``first`` and on.
            reference_points: (M, B, Q, 3) in [0, 1] of the detection range, of the same layers.
            first: Decoder layer of the first of them.

        Returns:
            logits (M, B, Q, K) and boxes (M, B, Q, 10) as `DetectorOutput` has them.
        """
        raw = {name: said.unflatten(1, states.shape[1:3])
               for name, said in self.branches(states.flatten(1, 2), first).items()}
        low, high = range_limits(self.config, reference_points)
        offset = torch.cat([raw["center"], raw["height"]], dim=-1)
        if self.config.decoder.metric_offsets:
            center = reference_points * (high - low) + low + offset
        else:
            center = (offset + inverse_sigmoid(reference_points)).sigmoid() * (high - low) + low
        place_and_size = torch.cat([center, raw["dim"]], dim=-1)
        if self.config.decoder.plain_boxes:
            place_and_size = picked(place_and_size, -1, PLAIN_ORDER)
        return raw["cls_logits"], torch.cat([place_and_size, raw["rot"], raw["vel"]], dim=-1)


