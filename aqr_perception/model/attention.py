"""Multi-head attention whose logits can be biased without a dense query × token matrix.

A bias that factors as a(query)·b(token) is exact when a and b are appended to queries and keys as
further columns: q·k/√d + a·b = [q/√d, a]·[k, b]. The fused kernels of
``scaled_dot_product_attention`` then need no mask at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aqr_perception.model import by_sensor
from aqr_perception.model.aqr.window import WindowBias, attend

EXCLUDED = -1e4
"""Bias that leaves a token out: exp(-1e4) is exactly 0 in every floating point type, and -1e4 fits
half precision. Two of them on one token stay finite in half precision too."""


@dataclass(frozen=True)
class Columns:
    """One factored bias, Σ_n queries[..., n] · keys[..., n].

    Attributes:
        queries: (B, Q, N), or (B, heads, Q, N) where heads differ.
        keys: (B, T, N).
        part: What it says: ``sensor`` (keys are one-hot sensors), ``token`` (queries are ones), or
            anything else.
    """

    queries: Tensor
    keys: Tensor
    part: str = "other"


@dataclass(frozen=True)
class Reading:
    """Further values of the tokens, which tell where attention went; they ride in padding.

    Attributes:
        values: (B, T, N).
        read: Turns what each head saw of them on the mean, (B, heads, Q, N), into (B, Q, C), which
            is added to the result.
    """

    values: Tensor
    read: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Bias:
    """All that is added to the logits of one cross-attention.

    Attributes:
        columns: Factored biases; without any, the plain kernel runs.
        window: A bias on a few tokens of each query, or None.
        groups: (B, T, S) one-hot group of each token, to measure each group's share of the
            attention, or None. It rides in value columns that the bias pads anyway.
        kernel: Precision of the fused kernel, where it is not that of the queries.
        runs: Sensor and number of its tokens, in the tokens' order; None where they are mixed.
        reading: Further values, or None; needs columns.
    """

    columns: tuple[Columns, ...] = ()
    window: WindowBias | None = None
    groups: Tensor | None = None
    kernel: torch.dtype | None = None
    runs: tuple[tuple[int, int], ...] | None = None
    reading: Reading | None = None

    def of(self, part: str) -> Columns | None:
        """The columns that say a part, or None."""
        return next((columns for columns in self.columns if columns.part == part), None)


NO_BIAS = Bias()


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
                blocked: Tensor | None = None) -> Tensor:
        """Attend, without bias.

        Args:
            queries: (B, Q, C).
            keys: (B, T, C).
            values: (B, T, C).
            blocked: (Q, T) bool, True where a query may not look; for self-attention only, since it
                is dense.

        Returns:
            (B, Q, C).
        """
        q, k, v = self._project(queries, keys, values)
        attended = F.scaled_dot_product_attention(
            q, k, v, attn_mask=None if blocked is None else ~blocked,
            dropout_p=self.weight_dropout if self.training else 0.0)
        return self.out(attended.transpose(1, 2).flatten(2))

    def biased(self, queries: Tensor, keys: Tensor, values: Tensor, bias: Bias = NO_BIAS
               ) -> tuple[Tensor, Tensor | None]:
        """Attend with biased logits.

        Args:
            queries: (B, Q, C).
            keys: (B, T, C); with T = 0 the result is the output layer's bias.
            values: (B, T, C).
            bias: What is added to the logits.

        Returns:
            (B, Q, C), and each group's share (B, Q, S) of the attention, mean over the heads and
            without gradient, where ``bias.groups`` asks for it.
        """
        q, k, v = self._project(queries, keys, values)
        width, scale = q.shape[-1], None
        mass: Tensor | None
        if _by_sensor(q, bias):
            attended, mass = self._sensor_by_sensor(q, k, v, bias)
            return self._result(attended, width, bias), mass
        if bias.columns or bias.window is not None:
            q, k, v = _appended(q / math.sqrt(width), k, v, bias)
            scale = 1.0
        if bias.kernel is not None:
            q, k, v = q.to(bias.kernel), k.to(bias.kernel), v.to(bias.kernel)
        if bias.window is not None:
            attended = attend(q, k, v, bias.window)
        else:
            attended = F.scaled_dot_product_attention(q, k, v, scale=scale)
        attended = attended.to(queries.dtype)
        mass = None
        if bias.groups is not None and scale is not None:
            first = width + (0 if bias.reading is None else bias.reading.values.shape[-1])
            mass = attended[..., first:first + bias.groups.shape[-1]].detach().float().mean(dim=1)
        return self._result(attended, width, bias), mass

    def _result(self, attended: Tensor, width: int, bias: Bias) -> Tensor:
        """(B, heads, Q, width and more) → (B, Q, C)."""
        result = self.out(attended[..., :width].transpose(1, 2).flatten(2))
        if bias.reading is None or not bias.columns:
            return result
        last = width + bias.reading.values.shape[-1]
        return result + bias.reading.read(attended[..., width:last])

    @staticmethod
    def _sensor_by_sensor(q: Tensor, k: Tensor, v: Tensor, bias: Bias) -> tuple[Tensor, Tensor]:
        """The same without columns for what is said of sensors and tokens."""
        assert bias.runs is not None
        assert bias.groups is not None
        per_sensor, per_token = bias.of("sensor"), bias.of("token")
        others = tuple(columns for columns in bias.columns if columns.part == "other")
        q = q / math.sqrt(q.shape[-1])
        if others:
            q, k, v = _appended(q, k, v, Bias(others, reading=bias.reading))
        return by_sensor.attend(
            q, k, v, bias.runs, None if per_sensor is None else per_sensor.queries,
            None if per_token is None else per_token.keys[..., 0], bias.groups.shape[-1])

    def _project(self, queries: Tensor, keys: Tensor, values: Tensor
                 ) -> tuple[Tensor, Tensor, Tensor]:
        """Each (B, N, C) → (B, heads, N, C / heads)."""
        channels = queries.shape[-1]
        weights, biases = self.qkv.weight.split(channels), self.qkv.bias.split(channels)
        q, k, v = (F.linear(x, weight, bias).unflatten(-1, (self.heads, -1)).transpose(1, 2)
                   for x, weight, bias in zip((queries, keys, values), weights, biases))
        return q, k, v


def _by_sensor(q: Tensor, bias: Bias) -> bool:
    """Whether attention is to run sensor by sensor: cheaper where it can."""
    return (bool(bias.runs) and bias.groups is not None and bool(bias.columns)
            and bias.window is None and bias.kernel is None and by_sensor.available(q))


def _appended(q: Tensor, k: Tensor, v: Tensor, bias: Bias) -> tuple[Tensor, Tensor, Tensor]:
    """Append the columns to queries and keys, groups or zeros to values; widths in steps of 8."""
    batch, heads, count, _ = q.shape
    queries, keys, values = [q], [k], [v]
    for columns in bias.columns:
        by_head = columns.queries if columns.queries.ndim == 4 else columns.queries[:, None]
        queries.append(by_head.to(q.dtype).expand(batch, heads, count, -1))
        keys.append(columns.keys[:, None].to(k.dtype).expand(-1, heads, -1, -1))
    if bias.reading is not None:
        values.append(bias.reading.values[:, None].to(v.dtype).expand(-1, heads, -1, -1))
    if bias.groups is not None:
        values.append(bias.groups[:, None].to(v.dtype).expand(-1, heads, -1, -1))
    wanted = 8 * math.ceil(max(sum(part.shape[-1] for part in parts)
                               for parts in (keys, values)) / 8)
    return tuple(_padded(parts, wanted) for parts in (queries, keys, values))  # type: ignore


def _padded(parts: list[Tensor], width: int) -> Tensor:
    """Concatenate along the last axis and fill up with zeros."""
    missing = width - sum(part.shape[-1] for part in parts)
    if missing:
        parts.append(parts[0].new_zeros(()).expand(*parts[0].shape[:-1], missing))
    return torch.cat(parts, dim=-1)
