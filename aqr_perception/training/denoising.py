"""Denoising queries: noisy copies of the truth that the decoder learns to put right.

They are extra queries in front of the others (DN-DETR, Li et al., 2022; CMT moves centres only).
Each group holds one copy of every object; no query sees another group, and the matching queries
see none, so that nothing of the truth reaches them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from aqr_perception.training.targets import BACKGROUND, Targets


@dataclass(frozen=True)
class DenoisingConfig:
    """How the copies are made.

    Attributes:
        groups: Largest number of copies of each object.
        noise: Largest shift of the centre along each axis, in half sizes of the box.
        background_above: A copy whose shift is longer than this (in those units) is to be called
            background; its box is still regressed.
    """

    groups: int = 10
    noise: float = 1.0
    background_above: float = 0.75


@dataclass(frozen=True)
class DenoisingQueries:
    """The copies of a batch: N of them, in D slots a frame, which stand before the Q queries.

    Attributes:
        reference_points: (B, D, 3) in [0, 1] of the detection range; 0 where a slot is empty.
        blocked: (D + Q, D + Q) bool, True where the row's query may not see the column's.
        frame: (N,) int64 which frame of the batch each copy belongs to.
        slot: (N,) int64 which of the D slots it has.
        boxes: (N, 9) the object it came from, see `Targets`.
        labels: (N,) int64 its class, or `BACKGROUND` where the noise is large.
    """

    reference_points: Tensor
    blocked: Tensor
    frame: Tensor
    slot: Tensor
    boxes: Tensor
    labels: Tensor

    @property
    def count(self) -> int:
        """D, the number of slots a frame."""
        return int(self.reference_points.shape[1])


def make_denoising(targets: Sequence[Targets], num_queries: int, detection_range: Tensor,
                   config: DenoisingConfig | None = None, uniform: Tensor | None = None,
                   generator: torch.Generator | None = None) -> DenoisingQueries | None:
    """Copy every object of a batch, with noise.

    Args:
        targets: One entry a frame.
        num_queries: Q; groups × most objects of a frame stay within it.
        detection_range: (6,) x, y, z from and to [m].
        config: How.
        uniform: (copies, 3) numbers in [0, 1) to use as noise, ordered group, frame, object; drawn
            where None. They belong to reproducible tests.
        generator: Where to draw from (on the device of the targets).

    Returns:
        The queries; None when no frame holds an object, or more than Q objects stand in one.
    """
    config = config or DenoisingConfig()
    counts = [len(frame) for frame in targets]
    most = max(counts, default=0)
    groups = min(config.groups, num_queries // most) if most else 0
    if not groups:
        return None
    boxes = torch.cat([frame.boxes for frame in targets]).repeat(groups, 1)
    labels = torch.cat([frame.labels for frame in targets]).repeat(groups)
    frame_index, slot = _slots(counts, groups, boxes.device)
    if uniform is None:
        uniform = torch.rand(len(boxes), 3, generator=generator, device=boxes.device,
                             dtype=boxes.dtype)
    shift = 2 * uniform.to(boxes) - 1
    center = boxes[:, :3] + shift * boxes[:, 3:6] / 2 * config.noise
    low, high = detection_range[:3].to(boxes), detection_range[3:].to(boxes)
    references = boxes.new_zeros(len(targets), groups * most, 3)
    references[frame_index, slot] = ((center - low) / (high - low)).clamp(0, 1)
    return DenoisingQueries(
        reference_points=references, blocked=_blocked(groups, most, num_queries, boxes.device),
        frame=frame_index, slot=slot, boxes=boxes,
        labels=torch.where(shift.norm(dim=1) > config.background_above, BACKGROUND, labels))


def _slots(counts: list[int], groups: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Frame and slot of each copy: group g of a frame owns slots g·most to (g + 1)·most - 1."""
    frame = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    first = torch.cat([torch.arange(count) for count in counts])
    slot = (first + max(counts) * torch.arange(groups)[:, None]).flatten()
    return frame.repeat(groups).to(device), slot.to(device)


def _blocked(groups: int, most: int, num_queries: int, device: torch.device) -> Tensor:
    """Who may not see whom: nobody sees the copies but those of the same group."""
    group = torch.cat([torch.arange(groups).repeat_interleave(most),
                       torch.full((num_queries,), groups)]).to(device)
    return (group[:, None] != group[None, :]) & (group < groups)[None, :]
