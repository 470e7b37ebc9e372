"""Inputs → memory: runs the trunks of the sensors that are there, and only those."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from aqr_perception.model.config import DetectorConfig
from aqr_perception.model.image_backbone import ImageBranch
from aqr_perception.model.inputs import BGR_MEAN, BGR_STD
from aqr_perception.model.lidar_backbone import LidarBranch, tallest_cells
from aqr_perception.model.memory import Memory, Selection
from aqr_perception.model.voxelize import grid_of
from aqr_perception.types import Batch


class Tokenizer(nn.Module):
    """Both branches, side by side."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        channels = config.decoder.channels
        self.config = config
        self.lidar = LidarBranch(config) if config.lidar else None
        self.image = ImageBranch(config.image, channels) if config.image else None

    def forward(self, batch: Batch, selection: Selection) -> Memory:
        """Make the tokens of a batch; the decoder adds their positions.

        Args:
            batch: The inputs.
            selection: Sensors that each frame may look at.

        Returns:
            The memory without positions (an empty tensor).
        """
        usable = selection.usable
        maps: list[Tensor] = []
        sensors: list[int] = []
        bev_shape, image_shape, views = (0, 0), (0, 0), ()
        if self.lidar is not None and selection.there[0]:
            maps.append(self._bev(self.lidar, batch, usable[:, 0]))
            sensors.append(0)
            bev_shape = (maps[0].shape[2], maps[0].shape[3])
        views = tuple(v for v, there in enumerate(selection.there[1:]) if there)
        if self.image is not None and views:
            maps += self._images(self.image, batch, usable[:, 1:], views).unbind(1)
            sensors += [1 + view for view in views]
            image_shape = (maps[-1].shape[2], maps[-1].shape[3])
        empty = batch.images.new_zeros(len(usable), 0, self.config.decoder.channels)
        tokens = [one.flatten(2).transpose(1, 2) for one in maps]
        token_sensor = torch.repeat_interleave(
            torch.tensor(sensors, dtype=torch.int64),
            torch.tensor([one.shape[1] for one in tokens], dtype=torch.int64))
        return Memory(tokens=torch.cat([empty, *tokens], dim=1), positions=empty,
                      token_sensor=token_sensor.to(usable.device), present=usable,
                      bev_shape=bev_shape, views=views, image_shape=image_shape,
                      chosen=self._chosen(batch, bev_shape, len(token_sensor)))

    def _chosen(self, batch: Batch, bev_shape: tuple[int, int], tokens: int) -> Tensor | None:
        """(B, K) the tokens that attention is to read; None: all."""
        lidar = self.config.lidar
        cells = bev_shape[0] * bev_shape[1]
        if lidar is None or not 0 < lidar.max_tokens < cells:
            return None
        tallest = tallest_cells(batch.points, batch.point_frame, len(batch.lidar_present),
                                grid_of(self.config), lidar.stride, lidar.max_tokens)
        rest = torch.arange(cells, tokens, device=tallest.device).expand(len(tallest), -1)
        return torch.cat([tallest, rest], dim=1)

    @staticmethod
    def _bev(branch: LidarBranch, batch: Batch, usable: Tensor) -> Tensor:
        """(B, C, rows, columns); frames whose LiDAR is not usable stay out of the trunk."""
        rank = usable.long().cumsum(0) - 1
        kept = usable[batch.point_frame]

        def run(count: int) -> Tensor:
            return branch(batch.points[kept], rank[batch.point_frame[kept]], count)

        return _scattered(usable, run)

    @staticmethod
    def _images(branch: ImageBranch, batch: Batch, usable: Tensor, views: tuple[int, ...]) -> Tensor:
        """(B, len(views), C, rows, columns); absent pictures stay out of the trunk."""
        chosen = usable[:, views]
        wanted = chosen.flatten()
        pictures = batch.images[:, views].flatten(0, 1)
        maps = _scattered(wanted, lambda count: branch(pictures[wanted]))
        return maps.unflatten(0, chosen.shape)


def filled(batch: Batch, usable: Tensor) -> Batch:
    """Fill what is missing as published CMT checkpoints know it (``absence: zeros``).

    Black pixels for a camera, one point at the origin for the LiDAR. A camera whose calibration is
    unknown stays absent: without it a black image has no place.
    """
    calibrated = ~(batch.image_from_lidar == torch.eye(4, device=usable.device)).all(3).all(2)
    black = batch.images.new_tensor(-BGR_MEAN / BGR_STD)[:, None, None]
    images = torch.where(usable[:, 1:, None, None, None], batch.images, black)
    blind = (~usable[:, 0]).nonzero()[:, 0]
    kept = usable[batch.point_frame, 0]
    points = torch.cat([batch.points[kept], batch.points.new_zeros(len(blind), 5)])
    frame = torch.cat([batch.point_frame[kept], blind])
    order = frame.argsort(stable=True)
    return replace(batch, images=images, camera_present=calibrated, points=points[order],
                   point_frame=frame[order], lidar_present=torch.ones_like(batch.lidar_present),
                   gains=torch.where(usable, batch.gains, 1.0))


def _scattered(wanted: Tensor, run: Callable[[int], Tensor]) -> Tensor:
    """Run on the wanted rows and put the results at their places, zeros elsewhere."""
    count = int(wanted.sum())
    maps = run(count)
    if count == len(wanted):
        return maps
    out = maps.new_zeros(len(wanted), *maps.shape[1:])
    return out.index_copy(0, wanted.nonzero()[:, 0], maps)


