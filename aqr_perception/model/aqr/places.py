"""Where a query lies in every sensor: its cell of the bird's-eye view, its pixel in each camera.

Coordinates are those of `torch.nn.functional.grid_sample` without aligned corners: -1 is the first
cell's outer edge, +1 the last one's, x (or u) before y (or v). They do not depend on the resolution
of the map that is sampled.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from aqr_perception.model.aqr.routing import Scene
from aqr_perception.model.constants import constant, picked

MIN_DEPTH = 1e-5
"""Nearer than this [m] to a camera's plane, or behind it, nothing is seen."""


@dataclass(frozen=True)
class Places:
    """Places of Q queries; V counts the cameras that have tokens, in the order of `Memory.views`.

    Attributes:
        bev: (B, Q, 2) x, y.
        camera: (B, V, Q, 2) u, v; 0 where the query is not visible.
        visible: (B, V, Q) bool: in front of the camera and inside its picture.
    """

    bev: Tensor
    camera: Tensor
    visible: Tensor


def full_precision(like: Tensor) -> torch.autocast:
    """Context in which geometry is computed: half precision would move a query by cells."""
    return torch.autocast(like.device.type, enabled=False)


def widened(tensor: Tensor) -> Tensor:
    """A tensor in single precision at least."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def metres(reference_points: Tensor, detection_range: tuple[float, ...]) -> Tensor:
    """(..., 3) in [0, 1] of the detection range → (..., 3) [m] in the model frame."""
    low, high = detection_range[:3], detection_range[3:]
    span = constant([end - start for start, end in zip(low, high)], reference_points)
    return reference_points * span + constant(low, reference_points)


def bev_coordinates(points: Tensor, detection_range: tuple[float, ...]) -> Tensor:
    """(..., 2 or more) x, y [m] in the model frame → (..., 2) x, y on the map, -1 to 1 inside."""
    low, high = detection_range[:2], detection_range[3:5]
    span = constant([end - start for start, end in zip(low, high)], points)
    return 2 * (points[..., :2] - constant(low, points)) / span - 1


def project(points: Tensor, image_from_model: Tensor, image_size: tuple[int, int]
            ) -> tuple[Tensor, Tensor]:
    """Project points into cameras.

    Args:
        points: (..., N, 3) [m].
        image_from_model: (..., 4, 4), see `Batch.image_from_lidar`; leading dimensions broadcast.
        image_size: Height and width [px].

    Returns:
        (..., N, 2) u, v on the map, 0 where not visible; and (..., N) visible.
    """
    homogeneous = F.pad(points, (0, 1), value=1.0)
    image = homogeneous @ image_from_model.to(points.dtype).transpose(-1, -2)
    depth = image[..., 2]
    front = depth > MIN_DEPTH
    height, width = image_size
    pixels = image[..., :2] / depth.where(front, torch.ones_like(depth))[..., None]
    visible = (front & (pixels >= 0).all(-1)
               & (pixels[..., 0] < width) & (pixels[..., 1] < height))
    coordinates = 2 * pixels / constant([width, height], pixels) - 1
    return coordinates.where(visible[..., None], torch.zeros_like(coordinates)), visible


def cameras_of(scene: Scene) -> Tensor:
    """(B, V, 4, 4) projections of the cameras that have tokens."""
    return picked(scene.batch.image_from_lidar, 1, scene.memory.views)


def locate(scene: Scene, first: int = 0) -> Places:
    """Find the queries from number ``first`` on in every sensor."""
    points = metres(scene.reference_points[:, first:], scene.detection_range)
    camera, visible = project(points[:, None], cameras_of(scene), scene.image_size)
    present = picked(scene.memory.present[:, 1:], 1, scene.memory.views)
    return Places(bev_coordinates(points, scene.detection_range), camera,
                  visible & present[..., None])


def to_cells(coordinates: Tensor, height: int, width: int) -> Tensor:
    """(..., 2) x, y in -1..1 → (..., 2) row, column [cells], whole numbers at cell centres."""
    size = constant([width, height], coordinates)
    return ((coordinates + 1) * size / 2 - 0.5).flip(-1)


def sample(maps: Tensor, coordinates: Tensor) -> Tensor:
    """Sample maps bilinearly; outside them there is zero.

    Args:
        maps: (N, C, H, W).
        coordinates: (N, Q, 2) x, y.

    Returns:
        (N, Q, C).
    """
    sampled = F.grid_sample(maps, coordinates[:, :, None].to(maps.dtype), mode="bilinear",
                            padding_mode="zeros", align_corners=False)
    return sampled[..., 0].transpose(1, 2)
