"""What the queries look at: one row of tokens from all sensors, and which sensor each came from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aqr_perception.types import Batch


@dataclass(frozen=True)
class Selection:
    """Which sensors a batch may use, known on the host, so that nothing waits for the device.

    Attributes:
        usable: (B, S) bool: delivered, gain above 0, and the network has the branch.
        host: The same, on the host.
        there: S flags: usable in some frame.
        unbiased: Every frame may use all that is there, with gain 1.
        routed: AQR has some say in some frame.
    """

    usable: Tensor
    host: Tensor
    there: tuple[bool, ...]
    unbiased: bool
    routed: bool


def select_sensors(batch: Batch, has_lidar: bool, has_image: bool) -> Selection:
    """Find out which sensors count; waits for the device once.

    Args:
        batch: The inputs.
        has_lidar: The network has a LiDAR branch.
        has_image: It has a camera branch.
    """
    delivered = torch.cat([batch.lidar_present[:, None] & has_lidar,
                           batch.camera_present & has_image], dim=1)
    usable = delivered & (batch.gains > 0)
    sensors = usable.shape[1]
    told = torch.cat([usable, batch.gains != 1, batch.modulation > 0], dim=1).cpu()
    chosen, changed, modulated = told.split([sensors, sensors, 2], dim=1)
    there = chosen.any(dim=0)
    return Selection(
        usable=usable, host=chosen, there=tuple(there.tolist()), routed=bool(modulated.any()),
        unbiased=bool(chosen[:, there].all()) and not bool(changed[:, there].any()))


@dataclass(frozen=True)
class Memory:
    """T tokens a frame: the bird's-eye view row by row, then each camera's map row by row.

    Sensors that no frame of the batch can use have no tokens at all; where only some frames lack a
    sensor, `present` says so and the attention leaves those tokens out.

    Attributes:
        tokens: (B, T, C) features; attention reads its values from them.
        positions: (B, T, C) position embedding; keys are ``tokens + positions``.
        token_sensor: (T,) int64: 0 the LiDAR, 1 + v the camera v of the rig.
        present: (B, S) bool: which sensors each frame may look at (delivered, and gain above 0).
        bev_shape: Rows (y) and columns (x) of the bird's-eye view; (0, 0) if it has no tokens.
        views: The rig's cameras that have tokens, in order.
        image_shape: Rows and columns of each camera's map; (0, 0) if no camera has tokens.
        chosen: (B, K) int64 the tokens that attention reads, the others hold nothing of use;
            None: it reads all. Cells of the bird's-eye view come first, then all image tokens.
    """

    tokens: Tensor
    positions: Tensor
    token_sensor: Tensor
    present: Tensor
    bev_shape: tuple[int, int]
    views: tuple[int, ...]
    image_shape: tuple[int, int]
    chosen: Tensor | None = None

    @property
    def bev(self) -> Tensor:
        """(B, H, W, C) view of the LiDAR's tokens; H = W = 0 where it has none."""
        height, width = self.bev_shape
        return self.tokens[:, :height * width].unflatten(1, (height, width))

    @property
    def runs(self) -> tuple[tuple[int, int], ...]:
        """Each sensor that has tokens, and how many of them attention reads, in their order."""
        pictures = self.image_shape[0] * self.image_shape[1]
        read = self.tokens.shape[1] if self.chosen is None else self.chosen.shape[1]
        cells = read - len(self.views) * pictures
        bev = ((0, cells),) if cells else ()
        return (*bev, *((1 + view, pictures) for view in self.views))

    @property
    def images(self) -> Tensor:
        """(B, len(views), H, W, C) view of the cameras' tokens."""
        rows, columns = self.image_shape
        first = self.bev_shape[0] * self.bev_shape[1]
        return self.tokens[:, first:].unflatten(1, (len(self.views), rows, columns))
