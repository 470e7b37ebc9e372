"""Small scenes for the tests of AQR, and scenes made of reference vectors."""

from __future__ import annotations

import math
from typing import Any

import torch
from golden import Golden
from torch import Tensor

from aqr_perception.model.aqr.routing import Scene
from aqr_perception.model.memory import Memory
from aqr_perception.types import Batch

RANGE = (-54.0, -54.0, -5.0, 54.0, 54.0, 3.0)


def token_sensor(bev_shape: tuple[int, int], views: int, image_shape: tuple[int, int]) -> Tensor:
    lidar = torch.zeros(math.prod(bev_shape), dtype=torch.int64)
    cameras = torch.arange(1, views + 1).repeat_interleave(math.prod(image_shape))
    return torch.cat([lidar, cameras])


def make_batch(image_from_lidar: Tensor, image_size: tuple[int, int], present: Tensor | None = None,
               points: Tensor | None = None, **changes: Any) -> Batch:
    """A batch around given projections; no pixels and points but random ones."""
    count, views = image_from_lidar.shape[:2]
    if present is None:
        present = torch.ones(count, 1 + views, dtype=torch.bool)
    generator = torch.Generator().manual_seed(5)
    if points is None:
        spread = torch.tensor([40.0, 40.0, 1.0, 0.5, 0.1])
        points = (torch.rand(count, 300, 5, generator=generator) * 2 - 1) * spread
    fields = dict(
        images=torch.randn(count, views, 3, *image_size, generator=generator),
        image_from_lidar=image_from_lidar, camera_present=present[:, 1:],
        points=points.flatten(0, 1),
        point_frame=torch.arange(count).repeat_interleave(points.shape[1]),
        lidar_present=present[:, 0], gains=torch.ones(count, 1 + views),
        modulation=torch.ones(count, 2), ages=torch.zeros(count, 1 + views),
        fixed_from_model=torch.eye(4, dtype=torch.float64).repeat(count, 1, 1))
    return Batch(**{**fields, **changes})


def golden_scene(golden: Golden, reference: Tensor, query_positions: Tensor, tokens: Tensor,
                 positions: Tensor, bev_shape: tuple[int, int], pers_shape: list[int],
                 detection_range: tuple[float, ...] = RANGE) -> Scene:
    """A scene of the published code's tensors, batch first."""
    views, *image_shape = pers_shape
    image_size = tuple(golden.about["config"]["img_hw"])
    dtype = tokens.dtype
    count = len(tokens)
    memory = Memory(tokens, positions, token_sensor(bev_shape, views, tuple(image_shape)),
                    torch.ones(count, 1 + views, dtype=torch.bool), bev_shape,
                    tuple(range(views)), tuple(image_shape))
    batch = make_batch(golden("lidar2img", dtype), image_size)
    return Scene(memory, reference, query_positions, 0, batch, image_size, detection_range,
                 predict=_no_prediction)


def _no_prediction(layer: int, target: Tensor) -> tuple[Tensor, Tensor]:
    raise AssertionError("nothing here asks for predictions")


def ring_of_cameras(count: int, views: int, image_size: tuple[int, int], turn: float = 0.0
                    ) -> Tensor:
    """(B, V, 4, 4) projections of cameras that look outwards all around, 1 m from the centre."""
    height, width = image_size
    focal = width / 2 / math.tan(math.radians(180 / views + 8))  # neighbours overlap by 16°
    intrinsics = torch.eye(4, dtype=torch.float64)
    intrinsics[0, 0] = intrinsics[1, 1] = focal
    intrinsics[0, 2], intrinsics[1, 2] = width / 2, height / 2
    matrices = []
    for view in range(views):
        angle = 2 * math.pi * view / views + turn
        cosine, sine = math.cos(angle), math.sin(angle)
        rows = torch.tensor([[sine, -cosine, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0],
                             [cosine, sine, 0.0, -1.0], [0.0, 0.0, 0.0, 1.0]],
                            dtype=torch.float64)
        matrices.append(intrinsics @ rows)
    return torch.stack(matrices).float().repeat(count, 1, 1, 1)


def make_scene(count: int = 2, views: int = 4, channels: int = 16, queries: int = 12,
               denoising: int = 0, bev_shape: tuple[int, int] = (16, 16),
               image_shape: tuple[int, int] = (4, 10), seed: int = 0,
               present: Tensor | None = None, **changes: Any) -> Scene:
    """A random scene around a ring of cameras, float32."""
    generator = torch.Generator().manual_seed(seed)
    image_size = (image_shape[0] * 8, image_shape[1] * 8)
    if present is None:
        present = torch.ones(count, 1 + views, dtype=torch.bool)
    sensors = token_sensor(bev_shape, views, image_shape)
    shape = (count, len(sensors), channels)
    tokens = torch.randn(shape, generator=generator)
    cells = math.prod(bev_shape)
    tokens[:, :cells] = tokens[:, :cells].relu()
    memory = Memory(tokens, torch.randn(shape, generator=generator), sensors, present, bev_shape,
                    tuple(range(views)), image_shape)
    reference = torch.rand(count, denoising + queries, 3, generator=generator)
    positions = torch.randn(count, denoising + queries, channels, generator=generator)
    batch = make_batch(ring_of_cameras(count, views, image_size), image_size, present)
    fields = dict(memory=memory, reference_points=reference, query_positions=positions,
                  denoising=denoising, batch=batch, image_size=image_size, detection_range=RANGE,
                  predict=_no_prediction)
    return Scene(**{**fields, **changes})
