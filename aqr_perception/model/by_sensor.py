"""Attention whose bias is one number a query and sensor: sensor by sensor, then mixed.

With Z_s the sum of exp(logits) over the tokens of sensor s and o_s the attention to them alone,

    Σ_s exp(b_s) Z_s o_s / Σ_s exp(b_s) Z_s = Σ_s m_s o_s,    m = softmax_s(b_s + log Z_s)

which is exact, needs no further columns in queries, keys and values, and gives each sensor's share
m of the attention for nothing. It takes a kernel that returns log Z; PyTorch's for the CPU does,
but passes no gradient through it. Elsewhere, and in training, the bias is appended as columns.
"""

from __future__ import annotations

from itertools import groupby

import torch
from torch import Tensor

from aqr_perception.model.constants import numbers, picked

_KERNEL = "_scaled_dot_product_flash_attention_for_cpu"
_TYPES = (torch.float32, torch.float64)


def available(like: Tensor) -> bool:
    """Whether this way can be gone for such a tensor."""
    return (like.device.type == "cpu" and like.dtype in _TYPES and not torch.is_grad_enabled()
            and hasattr(torch.ops.aten, _KERNEL))


def attend(query: Tensor, key: Tensor, value: Tensor, runs: tuple[tuple[int, int], ...],
           per_sensor: Tensor | None, per_token: Tensor | None, sensors: int
           ) -> tuple[Tensor, Tensor]:
    """Scaled dot-product attention with scale 1 and those two biases.

    Args:
        query: (B, heads, Q, D), the scale already applied.
        key: (B, heads, T, D), sensor after sensor.
        value: (B, heads, T, D).
        runs: Sensor and number of its tokens, in the order of the tokens; T ≥ 1 in all.
        per_sensor: (B, Q, S) bias, or None.
        per_token: (B, T) bias, or None.
        sensors: S.

    Returns:
        (B, heads, Q, D), and each sensor's share (B, Q, S) of the attention, mean over the heads.
    """
    attended, totals, first = [], [], 0
    for group in _alike(runs):
        tokens = slice(first, first + sum(count for _, count in group))
        first = tokens.stop
        bias = None if per_token is None else per_token[:, tokens].to(query.dtype)
        seen, total = _apart(query, key[:, :, tokens], value[:, :, tokens], bias, len(group))
        attended.append(seen)
        totals.append(total)
    weights = torch.cat(totals, dim=1).movedim(1, -1)  # (B, heads, Q, runs)
    if per_sensor is not None:
        weights = weights + picked(per_sensor, 2, [sensor for sensor, _ in runs])[:, None]
    share = weights.softmax(-1).to(query.dtype)
    shares = share.movedim(-1, 1)[..., None].split([part.shape[1] for part in attended], dim=1)
    mixed = sum(((seen * own).sum(1) for seen, own in zip(attended[1:], shares[1:])),
                (attended[0] * shares[0]).sum(1))
    mass = share.new_zeros(len(share), share.shape[2], sensors)
    seen_by = numbers([sensor for sensor, _ in runs], mass.device)
    return mixed, mass.index_copy(2, seen_by, share.mean(1))


def _alike(runs: tuple[tuple[int, int], ...]) -> list[list[tuple[int, int]]]:
    """Runs that follow each other and are equally long, together: one call does for them."""
    return [list(group) for _, group in groupby(runs, key=lambda run: run[1])]


def _apart(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, parts: int
           ) -> tuple[Tensor, Tensor]:
    """Attention to each of so many equal parts of the tokens by itself.

    Args:
        query: (B, heads, Q, D).
        key: (B, heads, parts·P, D).
        value: Likewise.
        bias: (B, parts·P) of each token, or None.
        parts: How many.

    Returns:
        (B, parts, heads, Q, D) and the log of the sum of exp(logits), (B, parts, heads, Q).
    """
    batch = len(query)
    many = query[:, None].expand(-1, parts, -1, -1, -1).flatten(0, 1)
    key, value = (x.unflatten(2, (parts, -1)).transpose(1, 2).flatten(0, 1) for x in (key, value))
    mask = None
    if bias is not None:  # one row for all queries, never written out
        mask = bias.unflatten(1, (parts, -1)).flatten(0, 1)[:, None, None].expand(
            -1, 1, query.shape[2], -1)
    seen, total = getattr(torch.ops.aten, _KERNEL)(many, key, value, 0.0, False, attn_mask=mask,
                                                   scale=1.0)
    return seen.unflatten(0, (batch, parts)), total.unflatten(0, (batch, parts))
