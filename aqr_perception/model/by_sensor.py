"""Attention whose bias is one number a query and sensor: sensor by sensor, then mixed.

With Z_s the sum of exp(logits) over the tokens of sensor s and o_s the attention to them alone,

    Σ_s exp(b_s) Z_s o_s / Σ_s exp(b_s) Z_s = Σ_s m_s o_s,    m = softmax_s(b_s + log Z_s)

which is exact, needs no further columns in queries, keys and values, and gives each sensor's share
m of the attention for nothing. It takes a kernel that returns log Z; PyTorch's for the CPU does,
but passes no gradient through it. Elsewhere, and in training, the bias is appended as columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

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
    kernel = getattr(torch.ops.aten, _KERNEL)
    attended, weights, first = [], [], 0
    for sensor, count in runs:
        part = slice(first, first + count)
        first += count
        mask = None
        if per_token is not None:  # one row for all queries, never written out
            mask = per_token[:, None, None, part].to(query.dtype).expand(
                -1, 1, query.shape[2], -1)
        seen, total = kernel(query, key[:, :, part], value[:, :, part], 0.0, False,
                             attn_mask=mask, scale=1.0)
        if per_sensor is not None:
            total = total + per_sensor[:, None, :, sensor]
        attended.append(seen)
        weights.append(total)
    share = torch.stack(weights, dim=-1).softmax(-1).to(query.dtype)  # (B, heads, Q, runs)
    mixed = attended[0] * share[..., :1]
    for number, seen in enumerate(attended[1:], start=1):
        mixed = mixed.addcmul(seen, share[..., number:number + 1])
    mass = share.new_zeros(len(share), share.shape[2], sensors)
    mass[..., [sensor for sensor, _ in runs]] = share.mean(1)
    return mixed, mass
