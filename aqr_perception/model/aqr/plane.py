"""Rigid motions in the plane: (..., 3) turn [rad], x and y [m]; and the path that a car drove."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from aqr_perception.model.position import inverse

LEAST_MOTION = 0.2
"""A car that moved less [m] does not say which way it drives."""

APART = 1.0
"""So far apart [m] are the poses of a path, at least."""

POSES = 28
"""So many are kept."""


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


def between(then: Tensor, now: Tensor) -> tuple[Tensor, Tensor]:
    """How a car moved from one pose to the next: then_from_now.

    Args:
        then: (B, 4, 4) float64 fixed_from_model.
        now: Likewise.

    Returns:
        (B, 3) turn, x, y, 0 where a pose is unknown; and (B,) bool: both are known.
    """
    known = now.isfinite().all(-1).all(-1) & then.isfinite().all(-1).all(-1)
    eye = torch.eye(4, dtype=now.dtype, device=now.device)
    motion = (inverse(then.where(known[:, None, None], eye))
              @ now.where(known[:, None, None], eye))
    return torch.stack([torch.atan2(motion[:, 1, 0], motion[:, 0, 0]), motion[:, 0, 3],
                        motion[:, 1, 3]], dim=1).float(), known


def driven_on(path: Tensor, step: Tensor) -> Tensor:
    """The path after one more step.

    A pose that lies less than `APART` behind is not kept for long, so that a path reaches as far
    back whatever the rate of the frames.

    Args:
        path: (B, P, 4) poses that the car had, newest first: past_from_now as turn [rad], x and
            y [m], and how far it drove since [m]. What is not known repeats the oldest that is; all
            are 0 where none is.
        step: (B, 3) before_from_now.
    """
    moved = torch.cat([after(path[..., :3], step[:, None]),
                       path[..., 3:] + step[:, None, 1:].norm(dim=-1, keepdim=True)], dim=-1)
    newest = torch.cat([step, step[:, 1:].norm(dim=-1, keepdim=True)], dim=-1)[:, None]
    longer = torch.cat([newest, moved[:, :-1]], dim=1)
    return torch.where(path[:, :1, 3:] < APART, moved, longer)


def of_places(places: Tensor, path: Tensor) -> Tensor:
    """(B, H, 3) places → (B, H, 3) cloud_from_model in the plane: turn, x, y.

    A distance is measured along the path; between two poses the car drove at constant speed and
    rate of turn, and beyond the oldest as it did there. With V(a) = [[sin a, cos a - 1],
    [1 - cos a, sin a]] / a the exponential map of the plane has translation V(a)·v, so that of a
    share s of a motion is V(s·a) V(a)⁻¹ s·translation.

    Args:
        places: See `Alignment.place`; distances count nothing where the car did not move.
        path: (B, P, 4) see `driven_on`.
    """
    far = places[..., 1].abs()
    poses = F.pad(path, (0, 0, 1, 0))  # the first is where the car is now
    length = poses[:, 1:, 3] - poses[:, :-1, 3]
    number = torch.arange(length.shape[1], device=path.device)
    oldest = (number * (length > LEAST_MOTION)).amax(dim=1, keepdim=True)
    at = (poses[:, None, 1:, 3] <= far[..., None]).sum(-1).minimum(oldest)
    newer, older = (poses.gather(1, place[..., None].expand(-1, -1, 4)) for place in (at, at + 1))
    way = older[..., 3] - newer[..., 3]
    share = (far - newer[..., 3]) / way.clamp(min=LEAST_MOTION) * (way > LEAST_MOTION)
    piece = after(older[..., :3], undone(newer[..., :3]))
    motion = after(_part(piece, share), newer[..., :3])
    motion = torch.where(places[..., 1:2] < 0, undone(motion), motion)
    return torch.stack([motion[..., 0] + places[..., 0], motion[..., 1] + places[..., 2],
                        motion[..., 2]], dim=-1)


def _part(motion: Tensor, share: Tensor) -> Tensor:
    """That share (...) of motions (..., 3)."""
    turn, x, y = motion.unbind(-1)
    (ahead, aside), (new_ahead, new_aside) = _curve(turn), _curve(share * turn)
    size = ahead.square() + aside.square()  # V is a multiple of a rotation: complex division
    vx = (ahead * x + aside * y) / size * share
    vy = (ahead * y - aside * x) / size * share
    return torch.stack([share * turn, new_ahead * vx - new_aside * vy,
                        new_aside * vx + new_ahead * vy], dim=-1)


def _curve(angle: Tensor) -> tuple[Tensor, Tensor]:
    """Entries of V: sin a / a and (1 - cos a) / a."""
    small = angle.abs() < 1e-3
    safe = torch.where(small, torch.ones_like(angle), angle)
    return (torch.where(small, torch.ones_like(angle), safe.sin() / safe),
            torch.where(small, angle / 2, (1 - safe.cos()) / safe))
