"""What a query knows before it has looked anywhere: the token that it was placed at.

TransFusion (Bai et al., 2022) starts its queries with the feature under the peak. Here adaptive
query routing has its say over that too: a seed is worth as much as its token is trusted, and a
sensor that is left out seeds nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aqr_perception.model.aqr.routing import Routing
from aqr_perception.model.attention import EXCLUDED
from aqr_perception.model.memory import Memory
from aqr_perception.types import CLASS_NAMES, Heat

NOWHERE = -1
"""Token of a query that was not placed at one."""


class QuerySeed(nn.Module):
    """Token and what it says it holds → content of a query; at first nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bev = nn.Linear(channels + len(CLASS_NAMES), channels)
        self.image = nn.Linear(channels + len(CLASS_NAMES), channels)
        for layer in (self.bev, self.image):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, memory: Memory, heat: Tensor, token: Tensor) -> Tensor:
        """Read seeds off tokens.

        Args:
            memory: Tokens, modulated ones where AQR modulates.
            heat: (B, T, K) logits of all tokens, see `all_logits`.
            token: (B, Q) int64 index of a token, or `NOWHERE`.

        Returns:
            (B, Q, C); zeros where there is no token.
        """
        at = token.clamp(min=0)[..., None]
        content = torch.cat([
            memory.tokens.gather(1, at.expand(-1, -1, memory.tokens.shape[2])),
            heat.gather(1, at.expand(-1, -1, heat.shape[2])).sigmoid()], dim=-1)
        cells = memory.bev_shape[0] * memory.bev_shape[1]
        seeds = torch.where(at < cells, self.bev(content), self.image(content))
        return seeds.masked_fill(token[..., None] == NOWHERE, 0.0)


def all_logits(heat: Heat, like: Tensor) -> Tensor:
    """(B, T, K) what each token says it holds, in the order of `Memory`; without gradient."""
    both = torch.cat([heat.bev.flatten(1, 2), heat.image.flatten(1, 3)], dim=1)
    return both.detach().to(like.dtype)


def seed_trust(routing: Routing | None, gains: Tensor, memory: Memory, token: Tensor) -> Tensor:
    """How much of a seed stays.

    A sensor counts as much as it does in attention beside the one that counts most there, so a
    factor common to all sensors changes nothing here either; a token as much as its own bias says.

    Args:
        routing: What AQR says about the first layer.
        gains: (B, S), see `Batch`.
        memory: Whose tokens.
        token: (B, Q) see `QuerySeed`.

    Returns:
        (B, Q, 1) in [0, 1].
    """
    at = token.clamp(min=0)
    by_sensor = gains.masked_fill(~memory.present, 0.0).log().clamp(min=EXCLUDED)[:, None]
    if routing is not None and routing.query_bias is not None:
        by_sensor = by_sensor + routing.query_bias
    relative = by_sensor - by_sensor.amax(dim=-1, keepdim=True)
    sensor = memory.token_sensor[at][..., None]
    bias = relative.expand(*token.shape, -1).gather(2, sensor)[..., 0]
    if routing is not None and routing.token_bias is not None:
        bias = bias + routing.token_bias.gather(1, at)
    return bias.clamp(max=0.0).exp()[..., None]


def tokens_under(references: Tensor, bev_shape: tuple[int, int], usable: Tensor) -> Tensor:
    """(B, D) the cell of the bird's-eye view that each reference point lies in.

    Args:
        references: (B, D, 3) in [0, 1] of the detection range.
        bev_shape: Rows and columns; (0, 0) without a LiDAR.
        usable: (B,) bool: whether a frame may look at its LiDAR; else `NOWHERE`.
    """
    rows, columns = bev_shape
    if not rows:
        return references.new_full(references.shape[:2], NOWHERE, dtype=torch.int64)
    x = (references[..., 0] * columns).long().clamp(0, columns - 1)
    y = (references[..., 1] * rows).long().clamp(0, rows - 1)
    return (y * columns + x).masked_fill(~usable[:, None], NOWHERE)
