"""Where tokens and queries are: one embedding for both, so that attention can compare places.

Every place is described twice: on the ground plane, and on the ray from each camera that sees it
(the *ray points*: where the pixel's ray is at given depths, in [0, 1] of the detection range).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from aqr_perception.model.config import DetectorConfig
from aqr_perception.model.constants import constant, kept, picked

PROJECTION_EPSILON = 1e-6


def inverse_sigmoid(x: Tensor, epsilon: float = 1e-5) -> Tensor:
    """Logit of x, with both x and 1 - x kept at ``epsilon`` or more."""
    x = x.clamp(0.0, 1.0)
    return (x.clamp(min=epsilon) / (1 - x).clamp(min=epsilon)).log()


@kept
def bev_cell_centers(rows: int, columns: int, like: Tensor) -> Tensor:
    """(rows·columns, 2) centres (x, y) in [0, 1] of the cells of a map, row by row (y is the row).

    Args:
        rows: Cells along y.
        columns: Cells along x.
        like: Gives dtype and device.
    """
    y = (torch.arange(rows, dtype=like.dtype, device=like.device) + 0.5) / rows
    x = (torch.arange(columns, dtype=like.dtype, device=like.device) + 0.5) / columns
    y, x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1)


def sine_embedding(xy: Tensor, width: int) -> Tensor:
    """CMT's embedding of places on the ground plane: (..., 2 or more) in [0, 1] → (..., 2·width).

    Sines (even channels) and cosines (odd ones) of 2π·coordinate / T, T_i = 1 + 2·⌊i/2⌋/width:
    CMT passes a temperature and never uses it, so the divisors run from 1 to 2 only. The
    embedding of y stands before that of x; further coordinates are ignored.
    """
    channel = torch.arange(width, dtype=xy.dtype, device=xy.device)
    divisor = 1 + 2 * torch.div(channel, 2, rounding_mode="floor") / width
    angle = xy[..., :2].flip(-1)[..., None] * (2 * math.pi) / divisor
    waves = torch.stack([angle[..., 0::2].sin(), angle[..., 1::2].cos()], dim=-1)
    return waves.flatten(-3)


@kept
def depth_bins(count: int, far: float, like: Tensor) -> Tensor:
    """(count,) depths [m] on a ray, evenly from 1 m to just below ``far`` (CMT: 64 to 53.2 m)."""
    return 1 + torch.arange(count, dtype=like.dtype, device=like.device) * (far - 1) / count


def ray_points(pixels: Tensor, model_from_image: Tensor, depths: Tensor) -> Tensor:
    """Points on the rays of pixels.

    Args:
        pixels: (..., P, 3) u, v, 1.
        model_from_image: (..., 4, 4) inverse of the projection.
        depths: (D,) [m].

    Returns:
        (..., P, D, 3) [m] in the model frame.
    """
    origin = model_from_image[..., None, None, :3, 3]
    direction = torch.einsum("...ij,...pj->...pi", model_from_image[..., :3, :3], pixels)
    return direction[..., None, :] * depths[:, None] + origin


@kept
def pixel_grid(rows: int, columns: int, stride_v: float, stride_u: float, like: Tensor) -> Tensor:
    """(rows·columns, 3) pixel (u, v, 1) of each token of a camera's map: index times stride."""
    v = torch.arange(rows, dtype=like.dtype, device=like.device) * stride_v
    u = torch.arange(columns, dtype=like.dtype, device=like.device) * stride_u
    v, u = torch.meshgrid(v, u, indexing="ij")
    return torch.stack([u, v, torch.ones_like(u)], dim=-1).flatten(0, 1)


def project(points: Tensor, image_from_lidar: Tensor, width: int, height: int
            ) -> tuple[Tensor, Tensor]:
    """Project model-frame points into cameras.

    Args:
        points: (B, Q, 3) [m].
        image_from_lidar: (B, V, 4, 4).
        width: Of the image [px].
        height: Likewise.

    Returns:
        pixels (B, V, Q, 3) as (u, v, about 1), and visible (B, V, Q): in front of the camera and
        inside the image. The divisor carries no gradient, as in CMT.
    """
    homogeneous = torch.cat([points, torch.ones_like(points[..., :1])], dim=-1)
    projected = torch.einsum("bvij,bqj->bvqi", image_from_lidar, homogeneous)
    depth = projected[..., 2:3].detach()
    divisor = depth + torch.where(depth >= 0, PROJECTION_EPSILON, -PROJECTION_EPSILON)
    pixels = projected[..., :3] / divisor
    u, v, _ = pixels.unbind(-1)
    visible = ((projected[..., 2] > 0) & (u >= 0) & (u < width) & (v >= 0) & (v < height))
    return pixels, visible


@dataclass(frozen=True)
class Cameras:
    """The cameras of a batch, as position needs them.

    Attributes:
        image_from_lidar: (B, V, 4, 4) projections.
        usable: (B, V) bool: which of them each frame may look at.
        model_from_image: (B, V, 4, 4) inverse projections; by default they are computed.
    """

    image_from_lidar: Tensor
    usable: Tensor
    model_from_image: Tensor = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.model_from_image is None:
            object.__setattr__(self, "model_from_image", inverse(self.image_from_lidar))

    def of(self, views: tuple[int, ...]) -> Cameras:
        """Some of them."""
        return Cameras(picked(self.image_from_lidar, 1, views), picked(self.usable, 1, views),
                       picked(self.model_from_image, 1, views))


def inverse(matrices: Tensor) -> Tensor:
    """(..., N, N) inverted in double precision; numbers that are not finite where there is none.

    `torch.linalg.inv` would ask the device whether there is one, and wait for its answer.
    """
    return torch.linalg.inv_ex(matrices.double()).inverse.to(matrices.dtype)


class PositionEmbedding(nn.Module):
    """CMT's embedding: an MLP over sines of the ground plane, and one over points on rays."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        channels, bins = config.decoder.channels, config.decoder.depth_bins
        self.config = config
        self.ground = nn.Sequential(nn.Linear(2 * channels, channels), nn.ReLU(inplace=True),
                                    nn.Linear(channels, channels))
        self.rays: nn.Sequential | None = None
        if config.image is not None:
            self.rays = nn.Sequential(nn.Linear(3 * bins, 4 * channels), nn.ReLU(inplace=True),
                                      nn.Linear(4 * channels, channels))

    def bev(self, rows: int, columns: int, like: Tensor) -> Tensor:
        """(rows·columns, C) of the cells of the bird's-eye view."""
        return self._on_ground(bev_cell_centers(rows, columns, like))

    def images(self, cameras: Cameras, rows: int, columns: int) -> Tensor:
        """(B, V, rows·columns, C) of the tokens of each camera."""
        image = self.config.image
        assert image is not None
        pixels = pixel_grid(rows, columns, image.height / rows, image.width / columns,
                            cameras.image_from_lidar)
        return self._on_rays(pixels, cameras.model_from_image)

    def queries(self, reference_points: Tensor, cameras: Cameras) -> Tensor:
        """(B, Q, C) of queries at (B, Q, 3) in [0, 1] of the range: ground plus all rays to it."""
        ground = self._on_ground(reference_points)
        image = self.config.image
        if image is None or not cameras.usable.shape[1]:
            return ground
        low, high = range_limits(self.config, reference_points)
        pixels, visible = project(reference_points * (high - low) + low, cameras.image_from_lidar,
                                  image.width, image.height)
        rays = self._on_rays(pixels, cameras.model_from_image)
        seen = visible & cameras.usable[..., None]
        return ground + rays.masked_fill(~seen[..., None], 0.0).sum(dim=1)

    def _on_ground(self, xy: Tensor) -> Tensor:
        return self.ground(sine_embedding(xy, self.config.decoder.channels))

    def _on_rays(self, pixels: Tensor, model_from_image: Tensor) -> Tensor:
        """(..., P, 3) pixels → (..., P, C)."""
        assert self.rays is not None
        low, high = range_limits(self.config, pixels)
        depths = depth_bins(self.config.decoder.depth_bins, self.config.detection_range[3], pixels)
        points = ray_points(pixels, model_from_image, depths)
        return self.rays(((points - low) / (high - low)).flatten(-2))


def range_limits(config: DetectorConfig, like: Tensor) -> tuple[Tensor, Tensor]:
    """Low and high end (3,) of the detection range [m]."""
    limits = config.detection_range
    return constant(limits[:3], like), constant(limits[3:], like)
