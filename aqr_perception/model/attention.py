"""Multi-head attention whose logits can be biased without a dense query × token matrix.

A bias that factors as a(query)·b(token) is exact when a and b are appended to queries and keys as
further columns: q·k/√d + a·b = [q/√d, a]·[k, b]. The fused kernels of
``scaled_dot_product_attention`` then need no mask at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EXCLUDED = -1e4
"""Bias that leaves a token out: exp(-1e4) is exactly 0 in every floating point type, and -1e4 fits
half precision. Two of them on one token stay finite in half precision too."""


@dataclass(frozen=True)
class Columns:
    """One factored bias, Σ_n queries[..., n] · keys[..., n].

    Attributes:
        queries: (B, Q, N), or (B, heads, Q, N) where heads differ.
        keys: (B, T, N).
    """

    queries: Tensor
    keys: Tensor


class Attention(nn.Module):
    """Attention of queries to tokens; without dropout on its weights unless told."""

    def __init__(self, channels: int, heads: int, weight_dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.weight_dropout = weight_dropout
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.out.bias)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor,
                columns: Sequence[Columns] = (), blocked: Tensor | None = None) -> Tensor:
        """Attend.

        Args:
            queries: (B, Q, C).
            keys: (B, T, C); with T = 0 the result is the output layer's bias.
            values: (B, T, C).
            columns: Biases on the logits.
            blocked: (Q, T) bool, True where a query may not look; for self-attention only, since it
                is dense.

        Returns:
            (B, Q, C).
        """
        channels = queries.shape[-1]
        weights, biases = self.qkv.weight.split(channels), self.qkv.bias.split(channels)
        q, k, v = (self._split(F.linear(x, weight, bias))
                   for x, weight, bias in zip((queries, keys, values), weights, biases))
        scale: float | None = None
        width = q.shape[-1]
        if columns:
            q, k, v = _append(q / math.sqrt(width), k, v, columns)
            scale = 1.0
        allowed = None if blocked is None else ~blocked
        attended = F.scaled_dot_product_attention(
            q, k, v, attn_mask=allowed, scale=scale,
            dropout_p=self.weight_dropout if self.training else 0.0)
        return self.out(attended[..., :width].transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        """(B, N, C) → (B, heads, N, C / heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def _append(q: Tensor, k: Tensor, v: Tensor, columns: Sequence[Columns]
            ) -> tuple[Tensor, Tensor, Tensor]:
    """Append the columns to queries and keys, zeros to values; widths become a multiple of 8."""
    batch, heads, count, width = q.shape
    extra = sum(bias.keys.shape[-1] for bias in columns)
    padding = -(width + extra) % 8
    query_parts, key_parts = [q], [k]
    for bias in columns:
        by_head = bias.queries if bias.queries.ndim == 4 else bias.queries[:, None]
        query_parts.append(by_head.to(q.dtype).expand(batch, heads, count, -1))
        key_parts.append(bias.keys[:, None].to(k.dtype).expand(-1, heads, -1, -1))
    if padding:
        query_parts.append(q.new_zeros(()).expand(batch, heads, count, padding))
        key_parts.append(k.new_zeros(()).expand(batch, heads, k.shape[2], padding))
    return (torch.cat(query_parts, dim=-1), torch.cat(key_parts, dim=-1),
            F.pad(v, (0, extra + padding)))
