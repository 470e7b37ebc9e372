"""What the queries look at: one row of tokens from all sensors, and which sensor each came from."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


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
    """

    tokens: Tensor
    positions: Tensor
    token_sensor: Tensor
    present: Tensor
    bev_shape: tuple[int, int]
    views: tuple[int, ...]
    image_shape: tuple[int, int]

    @property
    def bev(self) -> Tensor:
        """(B, H, W, C) view of the LiDAR's tokens; H = W = 0 where it has none."""
        height, width = self.bev_shape
        return self.tokens[:, :height * width].unflatten(1, (height, width))

    @property
    def images(self) -> Tensor:
        """(B, len(views), H, W, C) view of the cameras' tokens."""
        rows, columns = self.image_shape
        first = self.bev_shape[0] * self.bev_shape[1]
        return self.tokens[:, first:].unflatten(1, (len(self.views), rows, columns))
