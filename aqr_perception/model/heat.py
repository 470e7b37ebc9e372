"""Where something seems to be, token by token: it teaches the trunks, and places queries.

Each token says for each class whether the centre of an object lies in it, and where in it. As a
side task that gives every token of both trunks a target in every step, where queries reach few of
them (CMT starts from trunks that were trained elsewhere; a small network that starts from nothing
needs this). The peaks over the bird's-eye view are also where some of the queries start
(TransFusion, Bai et al., 2022). Only places are taken from it: what a query knows, it gets by
attention, which AQR can bias.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aqr_perception.model.memory import Memory
from aqr_perception.types import CLASS_NAMES, Heat

PRIOR = -4.0
"""Initial logit: one token in fifty."""

HEIGHT = 0.5
"""Height at which placed queries start, in [0, 1] of the detection range: -1 m, the middle of a car
that stands on the ground."""


class HeatHead(nn.Module):
    """One linear layer for each kind of token."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bev = nn.Linear(channels, len(CLASS_NAMES))
        self.image = nn.Linear(channels, len(CLASS_NAMES))
        self.offset = nn.Linear(channels, 3)
        for layer in (self.bev, self.image):
            nn.init.constant_(layer.bias, PRIOR)
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)

    def forward(self, memory: Memory) -> Heat:
        """Tokens → logits; a map without tokens is empty."""
        return Heat(bev=self.bev(memory.bev), image=self.image(memory.images), views=memory.views,
                    offset=self.offset(memory.bev))


def place_queries(heat: Heat, usable: Tensor, learned: Tensor, count: int,
                  detection_range: tuple[float, ...]) -> Tensor:
    """Start some of the queries at the peaks of the heat over the bird's-eye view.

    Args:
        heat: Of a batch.
        usable: (B,) bool: frames whose LiDAR may be looked at; elsewhere all stay as learned.
        learned: (B, Q, 3) learned reference points.
        count: How many queries to place, the first ones.
        detection_range: x, y, z from and to [m].

    Returns:
        (B, Q, 3) reference points; the placed ones carry no gradient.
    """
    if not heat.bev.shape[1]:
        return learned
    scores = heat.bev.detach().permute(0, 3, 1, 2)
    peaks = F.max_pool2d(scores, 3, 1, 1) == scores
    strongest = scores.masked_fill(~peaks, -torch.inf).amax(dim=1)  # over the classes
    rows, columns = strongest.shape[1:]
    index = strongest.flatten(1).topk(count, dim=1).indices
    y = (torch.div(index, columns, rounding_mode="floor") + 0.5) / rows
    x = (index % columns + 0.5) / columns
    middle = torch.stack([x, y, torch.full_like(x, HEIGHT)], dim=-1).to(learned.dtype)
    offset = heat.offset.detach().flatten(1, 2).gather(1, index[..., None].expand(-1, -1, 3))
    size = learned.new_tensor(detection_range[3:]) - learned.new_tensor(detection_range[:3])
    placed = (middle + offset.to(learned.dtype) / size).clamp(0.0, 1.0)
    mixed = torch.cat([placed, learned[:, count:]], dim=1)
    return torch.where(usable[:, None, None], mixed, learned)
