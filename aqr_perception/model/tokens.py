"""Inputs → memory: runs the trunks of the sensors that are there, and only those."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from aqr_perception.model.config import DetectorConfig
from aqr_perception.model.constants import constant, numbers, picked
from aqr_perception.model.image_backbone import ImageBranch
from aqr_perception.model.inputs import BGR_MEAN, BGR_STD
from aqr_perception.model.lidar_backbone import LidarBranch, tallest_cells
from aqr_perception.model.memory import Memory, Selection, select_sensors
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
        bev = images = None
        views = tuple(v for v, there in enumerate(selection.there[1:]) if there)
        if self.lidar is not None and selection.there[0]:
            bev = self._bev(self.lidar, batch, usable[:, 0], selection.host[:, 0])
        if self.image is not None and views:
            images = self._images(self.image, batch, selection.host[:, 1:], views)
        memory = assemble(bev, images, views, usable, self.config.decoder.channels)
        return replace(memory, chosen=self._chosen(batch, memory.bev_shape,
                                                   len(memory.token_sensor)))

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
    def _bev(branch: LidarBranch, batch: Batch, usable: Tensor, host: Tensor) -> Tensor:
        """(B, C, rows, columns); frames whose LiDAR is not usable stay out of the trunk.

        Args:
            branch: The trunk.
            batch: The inputs.
            usable: (B,) bool.
            host: The same, on the host.
        """
        def run(count: int) -> Tensor:
            if count == len(usable):
                return branch(batch.points, batch.point_frame, count)
            rank = usable.long().cumsum(0) - 1
            kept = usable[batch.point_frame]
            return branch(batch.points[kept], rank[batch.point_frame[kept]], count)

        return _scattered(host, run)

    @staticmethod
    def _images(branch: ImageBranch, batch: Batch, host: Tensor, views: tuple[int, ...]) -> Tensor:
        """(B, len(views), C, rows, columns); absent pictures stay out of the trunk."""
        wanted = picked(host, 1, views).flatten()
        pictures = picked(batch.images, 1, views).flatten(0, 1)
        maps = _scattered(wanted, lambda count: branch(
            picked(pictures, 0, wanted.nonzero()[:, 0].tolist())))
        return maps.unflatten(0, (len(host), len(views)))


def assemble(bev: Tensor | None, images: Tensor | None, views: tuple[int, ...], present: Tensor,
             channels: int) -> Memory:
    """Lay the maps of the sensors side by side, without positions.

    Args:
        bev: (B, C, rows, columns), or None.
        images: (B, len(views), C, rows, columns), or None.
        views: Cameras of the rig that ``images`` holds.
        present: (B, S) bool: sensors that each frame may look at.
        channels: C.
    """
    device = present.device
    rows = [torch.zeros(len(present), 0, channels, device=device)]
    sensors = [torch.zeros(0, dtype=torch.int64, device=device)]
    bev_shape, image_shape = (0, 0), (0, 0)
    if bev is not None:
        rows.append(bev.flatten(2).transpose(1, 2))
        sensors.append(torch.zeros(rows[-1].shape[1], dtype=torch.int64, device=device))
        bev_shape = (bev.shape[2], bev.shape[3])
    if images is not None:
        rows.append(images.flatten(3).transpose(2, 3).flatten(1, 2))
        image_shape = (images.shape[3], images.shape[4])
        sensors.append(numbers(views, device).add(1).repeat_interleave(
            image_shape[0] * image_shape[1]))
    tokens = torch.cat([part.to(rows[-1].dtype) for part in rows], dim=1)
    return Memory(tokens=tokens, positions=rows[0], token_sensor=torch.cat(sensors),
                  present=present, bev_shape=bev_shape, views=views if images is not None else (),
                  image_shape=image_shape)


def as_known(batch: Batch, config: DetectorConfig) -> tuple[Batch, Selection, Tensor]:
    """What the trunks look at, as the network knows absent sensors (`DecoderConfig.absence`).

    Args:
        batch: B frames; any sensor may be absent.
        config: Of the network.

    Returns:
        The batch, `filled` or as it is; who takes part in it; and (B, S) bool which sensors were
        usable before anything was filled in.
    """
    branches = config.lidar is not None, config.image is not None
    selection = select_sensors(batch, *branches)
    if config.decoder.absence != "zeros":
        return batch, selection, selection.usable
    batch = filled(batch, selection.usable)
    return batch, select_sensors(batch, *branches), selection.usable


def filled(batch: Batch, usable: Tensor) -> Batch:
    """Fill what is missing as published CMT checkpoints know it (``absence: zeros``).

    Black pixels for a camera, one point at the origin for the LiDAR. A camera whose calibration is
    unknown stays absent: without it a black image has no place.
    """
    calibrated = ~(batch.image_from_lidar == torch.eye(4, device=usable.device)).all(3).all(2)
    black = constant((-BGR_MEAN / BGR_STD).tolist(), batch.images)[:, None, None]
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
    """Run on the wanted rows and put the results at their places, zeros elsewhere.

    Args:
        wanted: (N,) bool, on the host.
        run: Number of wanted rows → their results.
    """
    rows = wanted.nonzero()[:, 0].tolist()
    maps = run(len(rows))
    if len(rows) == len(wanted):
        return maps
    out = maps.new_zeros(len(wanted), *maps.shape[1:])
    return out.index_copy(0, numbers(rows, maps.device), maps)


