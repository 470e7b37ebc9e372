"""How what stands on the ground moves, read off a cloud of several sweeps without any learning.

A parked car looks alike in each sweep; one that drives stands a little further back in the older
ones. Over a few metres around a place, how far points lie along x and y falls with their age at
the speed of what is there: least squares of place on age. It is wrong where the view of a thing
changes from sweep to sweep, and says little where few points are; whoever reads it has to judge.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from aqr_perception.model.voxelize import Sorted

WINDOWS = (3, 5)
"""Sides of the neighbourhoods [tokens]: of a pedestrian or a car, and of something larger."""
FLOW_FEATURES = 4 * len(WINDOWS)
"""Numbers of `apparent_motion` a cell."""
GROUND_WINDOW = 15
"""Side of the neighbourhood [tokens] whose lowest point is the ground."""
ABOVE, BELOW = 0.35, 4.0
"""Heights over the ground [m] between which points stand on it."""
SHRINK = 0.002
"""Added to the variance of ages [s²], so that points of hardly different ages say "still"."""
TYPICAL_SPEED, TYPICAL_VARIANCE, FASTEST = 5.0, 0.0125, 20.0
"""Scales of the features [m/s, s²], and the largest speed that is said [m/s]."""


@torch.no_grad()
def apparent_motion(cells: Sorted) -> Tensor:
    """Fit the motion of what stands around each cell.

    Args:
        cells: Points in cells as large as tokens, of B frames.

    Returns:
        (B, rows, columns, `FLOW_FEATURES`): for each of the `WINDOWS` velocity along x and y over
        `TYPICAL_SPEED`, variance of the ages over `TYPICAL_VARIANCE`, and a fifth of log(1 +
        points). Zeros where nothing stands.
    """
    points, frames = cells.points, cells.frames
    rows, columns = cells.grid.shape[1:]
    ground = -F.max_pool2d(-cells.lowest.view(frames, 1, rows, columns), GROUND_WINDOW, 1,
                           GROUND_WINDOW // 2)
    ground = F.pad(ground.flatten(), (0, 1), value=torch.inf)  # nothing stands outside
    height = points[:, 2] - ground.index_select(0, cells.index)
    standing = (height > ABOVE) & (height < BELOW)
    xy, age = points[:, :2], points[:, 4:5]
    moments = torch.cat([torch.ones_like(age), age, age.square(), xy, xy * age], dim=1)
    sums = points.new_zeros(cells.cells + 1, moments.shape[1]).index_add_(
        0, cells.index, moments.where(standing[:, None], 0.0))[:-1]
    sums = sums.view(frames, rows, columns, -1).permute(0, 3, 1, 2)
    return torch.cat([_fit(F.avg_pool2d(sums, side, 1, side // 2, divisor_override=1))
                      for side in WINDOWS], dim=-1)


def _fit(sums: Tensor) -> Tensor:
    """(B, 7, H, W) count; sums of age, its square, x, y and both times age → (B, H, W, 4)."""
    count = sums[:, :1]
    means = sums[:, 1:] / count.clamp(min=1.0)
    age, square, xy, moved = means[:, :1], means[:, 1:2], means[:, 2:4], means[:, 4:]
    variance = (square - age.square()).clamp(min=0.0)
    velocity = -(moved - xy * age) / (variance + SHRINK)
    features = [velocity.clamp(-FASTEST, FASTEST) / TYPICAL_SPEED, variance / TYPICAL_VARIANCE,
                count.log1p() / 5]
    return torch.cat(features, dim=1).permute(0, 2, 3, 1)
