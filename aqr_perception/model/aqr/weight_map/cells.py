"""Which tokens lie around a query, in our way and in the published one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aqr_perception.model.aqr.places import MIN_DEPTH, Places, cameras_of, locate, metres, to_cells
from aqr_perception.model.aqr.routing import Scene
from aqr_perception.model.constants import numbers, picked

VIEWS_AT_ONCE = 2
"""A query looks into at most so many cameras; more than two never overlap on a common rig."""


@dataclass(frozen=True)
class Cells:
    """Whole cells of Q queries: one in the bird's-eye view, one in each of M cameras.

    Attributes:
        bev: (B, Q, 2) int64 row, column; may lie outside the map.
        camera: (B, M, Q, 3) int64 place of the camera among those with tokens, row, column.
        visible: (B, M, Q) bool.
    """

    bev: Tensor
    camera: Tensor
    visible: Tensor


def nearest_cells(scene: Scene, places: Places) -> Cells:
    """The cells that the queries' places fall into, in the cameras that see them most centrally."""
    bev = to_cells(places.bev, *scene.memory.bev_shape).round().long()
    if not scene.memory.views:
        nothing = places.visible[:, :0]
        return Cells(bev, nothing[..., None].expand(-1, -1, -1, 3).long(), nothing)
    off_centre = places.camera[..., 0].abs().masked_fill(~places.visible, 2.0)
    count = min(VIEWS_AT_ONCE, off_centre.shape[1])
    view = off_centre.topk(count, dim=1, largest=False).indices  # (B, M, Q)
    spread = view[..., None].expand(-1, -1, -1, 2)
    cell = to_cells(places.camera.gather(1, spread), *scene.memory.image_shape).round().long()
    return Cells(bev, torch.cat([view[..., None], cell], dim=-1), places.visible.gather(1, view))


def published_cells(reference_points: Tensor, image_from_model: Tensor,
                    detection_range: tuple[float, ...], image_size: tuple[int, int],
                    bev_shape: tuple[int, int], image_shape: tuple[int, int]) -> Cells:
    """The cells of the published code, its habits included.

    Only the first camera that sees a query counts; one that none sees lies at camera 0, row 0,
    column 0; one ratio (of the heights) serves both axes of an image; the bird's-eye view is not
    checked for cells outside.

    Args:
        reference_points: (B, Q, 3) in [0, 1].
        image_from_model: (B, V, 4, 4).
        detection_range: x, y, z from and to [m].
        image_size: Height and width [px].
        bev_shape: Rows and columns.
        image_shape: Rows and columns of a camera's map.
    """
    points = metres(reference_points, detection_range)
    low, high = detection_range[0], detection_range[3]
    cell = ((points[..., :2] - low) * (bev_shape[0] / (high - low))).floor().long()
    homogeneous = torch.cat([points, torch.ones_like(points[..., :1])], dim=-1)
    image = homogeneous[:, None] @ image_from_model.to(points.dtype).transpose(-1, -2)
    pixels = image[..., :2] / image[..., 2:3].clamp(min=MIN_DEPTH)  # (B, V, Q, 2)
    height, width = image_size
    seen = (pixels >= 0).all(-1) & (pixels[..., 0] < width) & (pixels[..., 1] < height)
    first = seen.to(torch.int8).argmax(dim=1, keepdim=True)
    pixel = pixels.gather(1, first[..., None].expand(-1, -1, -1, 2))
    place = (pixel * (image_shape[0] / height)).floor().long().flip(-1)
    camera = torch.cat([first[..., None], place], dim=-1)
    camera = camera * seen.any(dim=1, keepdim=True)[..., None]
    return Cells(cell.flip(-1), camera, torch.ones_like(camera[..., 0], dtype=torch.bool))


def scene_cells(scene: Scene, published: bool, first: int) -> Cells:
    """Either kind, of the queries from number ``first`` on."""
    if not published or not scene.memory.views:
        return nearest_cells(scene, locate(scene, first))
    cameras = cameras_of(scene)
    blind = cameras.new_zeros(4, 4)  # projects everything to pixel -1, where nothing is seen
    blind[0, 3], blind[2, 3], blind[3, 3] = -1, 1, 1
    present = picked(scene.memory.present[:, 1:], 1, scene.memory.views)
    return published_cells(
        scene.reference_points[:, first:], cameras.where(present[..., None, None], blind),
        scene.detection_range, scene.image_size, scene.memory.bev_shape, scene.memory.image_shape)


def odd_window(side: int) -> list[int]:
    """Offsets of a window of 2⌊side/2⌋ + 1 cells: the generator's."""
    return list(range(-(side // 2), side // 2 + 1))


def window_tokens(cells: Cells, lidar_offsets: list[int], camera_offsets: list[int],
                  bev_shape: tuple[int, int], image_shape: tuple[int, int]
                  ) -> tuple[Tensor, Tensor]:
    """The tokens in windows around the queries' cells.

    Args:
        cells: Of the queries.
        lidar_offsets: Along both axes of the bird's-eye view.
        camera_offsets: Along both axes of an image.
        bev_shape: Rows and columns.
        image_shape: Likewise.

    Returns:
        (B, Q, N) int64 index of each token, 0 where the window leaves the map, and (B, Q, N) bool
        which of them are real. The bird's-eye view comes first, then camera by camera.
    """
    bev_index, bev_inside = _window(cells.bev, lidar_offsets, *bev_shape)
    rows, columns = image_shape
    index, inside = _window(cells.camera[..., 1:], camera_offsets, rows, columns)
    index = index + cells.camera[..., :1] * (rows * columns) + bev_shape[0] * bev_shape[1]
    inside = inside & cells.visible[..., None]
    index = torch.cat([bev_index, index.transpose(1, 2).flatten(2)], dim=-1)
    inside = torch.cat([bev_inside, inside.transpose(1, 2).flatten(2)], dim=-1)
    return index * inside, inside


def _window(cell: Tensor, offsets: list[int], height: int, width: int) -> tuple[Tensor, Tensor]:
    """Cells (..., 2) → flat indices (..., n²) around them, and which lie inside."""
    offset = numbers(offsets, cell.device)
    row = (cell[..., 0, None] + offset)[..., :, None]
    column = (cell[..., 1, None] + offset)[..., None, :]
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return (row * width + column).flatten(-2), inside.flatten(-2)
