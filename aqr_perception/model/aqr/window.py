"""Attention with a bias on a few tokens of each query's own, without a query × token matrix.

Let Z = Σ_t exp(s_t) over all tokens, Z_w the same over the query's window, p the softmax within the
window and b the bias there. Then

    Σ_t exp(s + b) v / Σ_t exp(s + b) = (o + ρ Σ_w p (e^b - 1) v) / (1 + ρ Σ_w p (e^b - 1))

where o is the plain attention and ρ = Z_w / Z. The fused kernel gives o, and ρ as well: one more
token, whose logit is log Z_w for this query and whose value is 1 in one more column, receives the
share ρ / (1 + ρ). As ρ ≤ 1, nothing of this loses precision.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

QUERIES_AT_ONCE = 128
"""Windows are gathered for so many queries at a time; bounds the memory that they take."""

_NOTHING = -1e4
"""Logit of a token that is not there."""


@dataclass(frozen=True)
class WindowBias:
    """A bias on N tokens of each query.

    Attributes:
        index: (B, Q, N) int64 which tokens.
        bias: (B, Q, N) what is added to their logits; 0 where ``real`` is False.
        real: (B, Q, N) bool, False where an entry stands for no token.
    """

    index: Tensor
    bias: Tensor
    real: Tensor

    def among(self, chosen: Tensor, tokens: int) -> WindowBias:
        """The same, where only some of the tokens are there.

        Args:
            chosen: (B, K) int64 numbers of those, which become 0 to K - 1.
            tokens: T, how many there were.
        """
        number = torch.full((len(chosen), tokens), -1, device=chosen.device)
        number = number.scatter(1, chosen, torch.arange(
            chosen.shape[1], device=chosen.device).expand_as(chosen))
        index = number.gather(1, self.index.flatten(1)).view_as(self.index)
        real = self.real & (index >= 0)
        return WindowBias(index.clamp(min=0), self.bias * real, real)


def attend(query: Tensor, key: Tensor, value: Tensor, window: WindowBias) -> Tensor:
    """Scaled dot-product attention with scale 1 and a bias in windows.

    Args:
        query: (B, heads, Q, D), the scale already applied.
        key: (B, heads, T, D).
        value: (B, heads, T, D).
        window: The bias.

    Returns:
        (B, heads, Q, D).
    """
    if not key.shape[2]:
        return F.scaled_dot_product_attention(query, key, value, scale=1.0)
    total, change, shift = _windows(query, key, value, window)
    plain, share = _plain(query, key, value, total)
    ratio = share / (1 - share)
    return (plain + ratio * shift) / (1 + ratio * change)


def _plain(query: Tensor, key: Tensor, value: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
    """The attention without bias, and the share (B, heads, Q, 1) of the additional token.

    Its logit is stated in two columns, the second one being what the first lost in rounding.
    """
    width = query.shape[-1]
    extra = 8 + -width % 8
    coarse = total.to(query.dtype)
    fine = (total - coarse.to(total.dtype)).to(query.dtype)
    pad = query.new_zeros(()).expand(*query.shape[:3], extra - 2)
    query = torch.cat([query, coarse, fine, pad], dim=-1)
    key, value = F.pad(key, (0, extra, 0, 1)), F.pad(value, (0, extra, 0, 1))
    key, value = _with(key, width, 2), _with(value, width, 1)
    attended = F.scaled_dot_product_attention(query, key, value, scale=1.0)
    share = attended[..., width:width + 1].to(total.dtype)
    return attended[..., :width] / (1 - share), share


def _with(padded: Tensor, first: int, count: int) -> Tensor:
    """Set ``count`` columns of the last token to 1."""
    padded[..., -1, first:first + count].fill_(1)
    return padded


def _windows(query: Tensor, key: Tensor, value: Tensor, window: WindowBias
             ) -> tuple[Tensor, Tensor, Tensor]:
    """Log Z_w (B, heads, Q, 1), Σ p (e^b - 1) likewise, and Σ p (e^b - 1) v (B, heads, Q, D)."""
    parts = []
    for start in range(0, query.shape[2], QUERIES_AT_ONCE):
        part = slice(start, start + QUERIES_AT_ONCE)
        arguments = (query[:, :, part], key, value, window.index[:, part], window.bias[:, part],
                     window.real[:, part])
        if torch.is_grad_enabled():  # gather again in the backward pass instead of keeping
            parts.append(checkpoint(_window, *arguments, use_reentrant=False))
        else:
            parts.append(_window(*arguments))
    total, change, shift = (torch.cat(part, dim=2) for part in zip(*parts))
    return total, change, shift


def _window(query: Tensor, key: Tensor, value: Tensor, index: Tensor, bias: Tensor, real: Tensor
            ) -> tuple[Tensor, Tensor, Tensor]:
    """`_windows` for a few queries."""
    frame = torch.arange(len(index), device=index.device)[:, None, None]
    near, shown = key.transpose(1, 2)[frame, index], value.transpose(1, 2)[frame, index]
    logits = torch.einsum("bhqd,bqnhd->bhqn", query, near)
    logits = logits.to(bias.dtype).masked_fill(~real[:, None], _NOTHING)
    excess = logits.softmax(-1) * torch.expm1(bias)[:, None]
    shift = torch.einsum("bhqn,bqnhd->bhqd", excess.to(shown.dtype), shown)
    return logits.logsumexp(-1, keepdim=True), excess.sum(-1, keepdim=True), shift
