"""The side task of the tokens: targets and loss of `DetectorOutput.heat`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from aqr_perception.model.heat import HEIGHT, unit_depth
from aqr_perception.training.distributed import normalisers
from aqr_perception.training.targets import Targets
from aqr_perception.types import CLASS_NAMES, Batch, Heat

LEAST_SPREAD, MOST_SPREAD = 0.7, 3.0
"""σ of an object's spot, in tokens."""
RARE = {"truck": 2.0, "construction_vehicle": 3.0, "bus": 3.0, "trailer": 3.0, "motorcycle": 3.0,
        "bicycle": 3.0, "traffic_cone": 1.5}
"""What missing an object of a class costs, where that is not 1: about the root of how much rarer it
is in simulated drives than cars, since the mean over classes counts all of them alike."""
OFFSET_WEIGHT = 2.0
"""Of an error in metres on the ground, beside what lies where."""
DEPTH_WEIGHT = 4.0
"""Of an error of the log of depth, beside those of a place in tokens."""


def heat_loss(heat: Heat, targets: Sequence[Targets], batch: Batch,
              detection_range: Sequence[float]) -> Tensor:
    """What every token of every sensor that is there got wrong (CenterNet, Zhou et al., 2019).

    A focal loss for what lies where, for both kinds of tokens; and for tokens with an object's
    centre in them how far off (L1) they place it.

    Args:
        heat: Of the network.
        targets: One entry a frame.
        batch: What the network saw; tells what was there, and where cameras look.
        detection_range: x, y, z from and to [m].

    Returns:
        Scalar: the sum of the four, each divided by the number of its objects.
    """
    none = heat.bev.new_zeros(2, dtype=torch.float32)
    spots = places = pictured = depths = none
    if heat.bev.shape[1]:
        shape = heat.bev.shape[1], heat.bev.shape[2]
        wanted = [bev_target(frame, shape, detection_range) for frame in targets]
        spots = spot_loss(heat.bev.float(), torch.stack(wanted), batch.lidar_present)
        places = offset_loss(heat.offset.float(), targets, batch.lidar_present, detection_range)
    if heat.views:
        views = list(heat.views)
        size = (int(batch.images.shape[3]), int(batch.images.shape[4]))
        wanted = [image_target(frame, projections[views], heat.image.shape[2:4], size)
                  for frame, projections in zip(targets, batch.image_from_lidar)]
        pictured = spot_loss(heat.image.float().flatten(0, 1), torch.cat(wanted),
                             batch.camera_present[:, views].flatten())
        depths = image_offset_loss(heat, targets, batch, size)
    # One exchange between processes, whatever each of them had to look at.
    sums, objects = torch.stack([spots, places, pictured, depths]).unbind(dim=1)
    return (sums / normalisers(objects.detach())).sum()


def spot_loss(logits: Tensor, wanted: Tensor, there: Tensor) -> Tensor:
    """Penalty-reduced focal loss.

    Args:
        logits: (N, rows, columns, K).
        wanted: Likewise, 1 at the centres of objects, falling off around them.
        there: (N,) bool: maps that count.

    Returns:
        (2,) its sum, and the number of centres.
    """
    center = wanted == 1
    cost = logits.new_tensor([RARE.get(name, 1.0) for name in CLASS_NAMES])
    missed = cost * F.softplus(-logits) * torch.sigmoid(-logits) ** 2
    false = F.softplus(logits) * torch.sigmoid(logits) ** 2 * (1 - wanted) ** 4
    each = torch.where(center, missed, false) * there[:, None, None, None]
    objects = (center & there[:, None, None, None]).sum()
    return torch.stack([each.sum(), objects.to(each.dtype)])


def offset_loss(offset: Tensor, targets: Sequence[Targets], there: Tensor,
                detection_range: Sequence[float]) -> Tensor:
    """How far off [m] tokens around the centre of an object place it.

    Those around it are asked as well as the one that holds it, since the peak may be theirs.

    Args:
        offset: (B, rows, columns, 3), see `Heat`.
        targets: One entry a frame.
        there: (B,) bool: frames whose LiDAR is there.
        detection_range: x, y, z from and to [m].

    Returns:
        (2,) `OFFSET_WEIGHT` times the sum over tokens, and their number.
    """
    rows, columns = offset.shape[1:3]
    low, high = offset.new_tensor(detection_range[:3]), offset.new_tensor(detection_range[3:])
    size = (high - low)[:2] / offset.new_tensor([columns, rows])  # of a token [m]
    middles = _middles(rows, columns, offset) * size + low[:2]
    height = HEIGHT * (high[2] - low[2]) + low[2]
    total = offset.new_zeros(2)
    for frame in range(len(targets)):
        boxes = targets[frame].boxes.to(offset.dtype)
        if not there[frame] or not len(boxes):
            continue
        reach = (boxes[:, 3:5].prod(dim=1).sqrt() / 2).clamp(min=1.5 * float(size.max()))
        token, nearest = _around(middles, boxes[:, :2], reach)
        wanted = boxes[nearest, :3] - torch.cat(
            [middles[token], height.expand(len(token), 1)], dim=1)
        wrong = (offset[frame].flatten(0, 1)[token] - wanted).abs().sum()
        total = total + torch.stack([OFFSET_WEIGHT * wrong, wrong.new_tensor(float(len(token)))])
    return total


def image_offset_loss(heat: Heat, targets: Sequence[Targets], batch: Batch, size: tuple[int, int]
                      ) -> Tensor:
    """How far off tokens of images around a projected centre place it.

    Args:
        heat: Of the network.
        targets: One entry a frame.
        batch: Tells what was there, and where cameras look.
        size: Height and width of the images [px].

    Returns:
        (2,) the sum over tokens, and their number.
    """
    rows, columns = heat.image.shape[2:4]
    middles = _middles(rows, columns, batch.image_from_lidar)
    total = heat.image_offset.new_zeros(2, dtype=torch.float32)
    for frame, truth in enumerate(targets):
        points = F.pad(truth.boxes[:, :3], (0, 1), value=1.0)
        for place, view in enumerate(heat.views):
            if not batch.camera_present[frame, view]:
                continue
            matrix = batch.image_from_lidar[frame, view].to(points.dtype)
            u, v, depth, _ = (points @ matrix.T).unbind(dim=1)
            ahead = depth > 0.5
            u, v, depth = u[ahead], v[ahead], depth[ahead]
            where = torch.stack([u * columns / size[1], v * rows / size[0]], dim=1) / depth[:, None]
            token, nearest = _around(middles, where, torch.ones_like(depth), depth)
            said = heat.image_offset[frame, place].float().flatten(0, 1)[token]
            log_depth = (depth[nearest] * unit_depth(matrix, size[1])).log()
            wrong = (said[:, :2] - (where[nearest] - middles[token])).abs().sum() + (
                DEPTH_WEIGHT * (said[:, 2] - log_depth).abs().sum())
            total = total + torch.stack([wrong, wrong.new_tensor(float(len(token)))])
    return total


def _middles(rows: int, columns: int, like: Tensor) -> Tensor:
    """(rows·columns, 2) x, y of the middles of tokens, in tokens, row by row."""
    y = torch.arange(rows, dtype=like.dtype, device=like.device) + 0.5
    x = torch.arange(columns, dtype=like.dtype, device=like.device) + 0.5
    y, x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1)


def _around(middles: Tensor, centers: Tensor, reach: Tensor, depth: Tensor | None = None
            ) -> tuple[Tensor, Tensor]:
    """Tokens near an object, and which of the objects it is.

    Args:
        middles: (T, 2).
        centers: (N, 2).
        reach: (N,) how far from its centre an object's tokens lie.
        depth: (N,) of several objects the least deep one counts; None: the closest one.

    Returns:
        (M,) indices of tokens, each once, and (M,) of objects.
    """
    if not len(centers):
        empty = torch.zeros(0, dtype=torch.int64, device=middles.device)
        return empty, empty
    distance = torch.cdist(middles, centers)
    rank = distance if depth is None else depth.expand_as(distance)
    best, nearest = rank.masked_fill(distance > reach, torch.inf).min(dim=1)
    token = best.isfinite().nonzero()[:, 0]
    return token, nearest[token]


def bev_target(targets: Targets, shape: tuple[int, int], detection_range: Sequence[float]
               ) -> Tensor:
    """(rows, columns, K) spots over the bird's-eye view, as wide as objects are."""
    rows, columns = shape
    low = targets.boxes.new_tensor(detection_range[:2])
    high = targets.boxes.new_tensor(detection_range[3:5])
    tokens = targets.boxes.new_tensor([columns, rows]) / (high - low)  # a metre
    spread = targets.boxes[:, 3:5].prod(dim=1).sqrt() / 4 * tokens.mean()
    return _spots((targets.boxes[:, :2] - low) * tokens - 0.5, spread, targets.labels, shape)


def image_target(targets: Targets, image_from_lidar: Tensor, shape: Sequence[int],
                 size: tuple[int, int]) -> Tensor:
    """(V, rows, columns, K) spots at the projected centres.

    Args:
        targets: Of one frame.
        image_from_lidar: (V, 4, 4).
        shape: Rows and columns of tokens.
        size: Height and width of the image [px].
    """
    rows, columns = int(shape[0]), int(shape[1])
    points = F.pad(targets.boxes[:, :3], (0, 1), value=1.0)
    maps = []
    for matrix in image_from_lidar.to(points.dtype):
        u, v, depth, _ = (points @ matrix.T).unbind(dim=1)
        ahead = depth > 0.5
        chosen = Targets(targets.boxes[ahead], targets.labels[ahead])
        depth = depth[ahead]
        tokens = points.new_tensor([columns / size[1], rows / size[0]])  # a pixel
        place = torch.stack([u[ahead], v[ahead]], dim=1) / depth[:, None] * tokens - 0.5
        focal = matrix[0, :3].norm() * tokens[0]
        extent = chosen.boxes[:, 4:6].prod(dim=1).sqrt()
        maps.append(_spots(place, extent * focal / depth / 6, chosen.labels, (rows, columns)))
    return torch.stack(maps)


def _spots(place: Tensor, spread: Tensor, labels: Tensor, shape: tuple[int, int]) -> Tensor:
    """(rows, columns, K) the largest of Gaussians, exactly 1 in the token of each centre.

    Args:
        place: (N, 2) x, y in tokens; whole numbers are middles of tokens.
        spread: (N,) σ in tokens.
        labels: (N,).
        shape: Rows and columns.
    """
    rows, columns = shape
    limits = place.new_tensor([columns - 1, rows - 1])
    nearest = place.round()
    inside = ((nearest >= 0) & (nearest <= limits)).all(dim=1)
    place, nearest, labels = place[inside], nearest[inside].long(), labels[inside]
    variance = spread[inside].clamp(LEAST_SPREAD, MOST_SPREAD).square()[:, None]
    x = torch.arange(columns, dtype=place.dtype, device=place.device)
    y = torch.arange(rows, dtype=place.dtype, device=place.device)
    across = torch.exp(-(x - place[:, :1]).square() / (2 * variance))
    down = torch.exp(-(y - place[:, 1:]).square() / (2 * variance))
    spots = (down[:, :, None] * across[:, None, :]).clamp(max=0.99)
    spots[torch.arange(len(spots)), nearest[:, 1], nearest[:, 0]] = 1.0
    out = place.new_zeros(len(CLASS_NAMES), rows, columns)
    return out.scatter_reduce(0, labels[:, None, None].expand_as(spots), spots, "amax"
                              ).permute(1, 2, 0)
