"""Rigid motions in the plane: (..., 3) turn [rad], x and y [m]."""

from __future__ import annotations

import torch
from torch import Tensor

LEAST_MOTION = 0.2
"""A car that moved less [m] since the frame before does not say which way it drives."""


def matrices(motion: Tensor) -> Tensor:
    """(..., 3) turn, x, y → (..., 4, 4)."""
    turn, x, y = motion.unbind(-1)
    sine, cosine, zero, one = turn.sin(), turn.cos(), torch.zeros_like(x), torch.ones_like(x)
    rows = [cosine, -sine, zero, x, sine, cosine, zero, y, zero, zero, one, zero,
            zero, zero, zero, one]
    return torch.stack(rows, dim=-1).unflatten(-1, (4, 4))


def after(second: Tensor, first: Tensor) -> Tensor:
    """Two motions (..., 3) in the plane, one after the other: second · first."""
    turn, x, y = second.unbind(-1)
    sine, cosine = turn.sin(), turn.cos()
    return torch.stack([turn + first[..., 0], cosine * first[..., 1] - sine * first[..., 2] + x,
                        sine * first[..., 1] + cosine * first[..., 2] + y], dim=-1)


def undone(motion: Tensor) -> Tensor:
    """(..., 3) inverse of a motion in the plane."""
    turn, x, y = motion.unbind(-1)
    sine, cosine = turn.sin(), turn.cos()
    return torch.stack([-turn, -cosine * x - sine * y, sine * x - cosine * y], dim=-1)


def of_places(places: Tensor, step: Tensor) -> Tensor:
    """(B, H, 3) places → (B, H, 3) cloud_from_model in the plane: turn, x, y.

    A distance is driven as the car drove since the frame before, at constant speed and rate of
    turn. With V(a) = [[sin a, cos a - 1], [1 - cos a, sin a]] / a the exponential map of the plane
    has translation V(a)·v, so that of a share s of the motion is V(s·a) V(a)⁻¹ s·translation.

    Args:
        places: See `Alignment.place`; distances count nothing where the car did not move.
        step: (B, 3) before_from_now: turn, x, y.
    """
    way = step[:, 1:].norm(dim=1, keepdim=True)
    share = places[..., 1] / way.clamp(min=LEAST_MOTION) * (way > LEAST_MOTION)
    turn = step[:, :1]
    (ahead, aside), (new_ahead, new_aside) = _path(turn), _path(share * turn)
    size = ahead.square() + aside.square()  # V is a multiple of a rotation: complex division
    vx = (ahead * step[:, 1:2] + aside * step[:, 2:3]) / size * share
    vy = (ahead * step[:, 2:3] - aside * step[:, 1:2]) / size * share
    return torch.stack([places[..., 0] + share * turn,
                        new_ahead * vx - new_aside * vy + places[..., 2],
                        new_aside * vx + new_ahead * vy], dim=-1)


def _path(angle: Tensor) -> tuple[Tensor, Tensor]:
    """Entries of V: sin a / a and (1 - cos a) / a."""
    small = angle.abs() < 1e-3
    safe = torch.where(small, torch.ones_like(angle), angle)
    return (torch.where(small, torch.ones_like(angle), safe.sin() / safe),
            torch.where(small, angle / 2, (1 - safe.cos()) / safe))
