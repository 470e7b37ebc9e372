"""Upright 3D boxes: geometric centre, size (length, width, height), yaw about +z."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry import rigid

# Corner order: the four of the lower face counter-clockwise from front left, then the upper face.
_CORNER_SIGNS = np.array([
    [1, 1, -1], [-1, 1, -1], [-1, -1, -1], [1, -1, -1],
    [1, 1, 1], [-1, 1, 1], [-1, -1, 1], [1, -1, 1]], dtype=np.float64) / 2
EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4),
         (0, 4), (1, 5), (2, 6), (3, 7))


@dataclass(frozen=True)
class Boxes3D:
    """N boxes in one frame.

    Attributes:
        center: (N, 3) geometric centre [m].
        size: (N, 3) length along the heading, width, height [m].
        yaw: (N,) heading about +z, 0 along +x [rad].
        velocity: (N, 2) x, y over ground, in the axes of the frame [m/s]; NaN where unknown.
    """

    center: NDArray[np.float32]
    size: NDArray[np.float32]
    yaw: NDArray[np.float32]
    velocity: NDArray[np.float32]

    def __post_init__(self) -> None:
        count = len(self.center)
        for name, shape in (("center", (count, 3)), ("size", (count, 3)), ("yaw", (count,)),
                            ("velocity", (count, 2))):
            array = np.asarray(getattr(self, name), dtype=np.float32)
            if array.shape != shape:
                raise ValueError(f"boxes.{name} has shape {array.shape}; expected {shape}")
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        return len(self.center)

    def __getitem__(self, index: NDArray[np.integer] | NDArray[np.bool_] | slice) -> Boxes3D:
        """Select by slice, mask or index array; always Boxes3D, never a single box."""
        return Boxes3D(self.center[index], self.size[index], self.yaw[index], self.velocity[index])

    @staticmethod
    def empty() -> Boxes3D:
        """No boxes."""
        return Boxes3D(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32),
                       np.zeros(0, np.float32), np.zeros((0, 2), np.float32))

    def corners(self) -> NDArray[np.float32]:
        """Return (N, 8, 3) corners [m]; ``EDGES`` joins them.

        Lower face counter-clockwise seen from above, front left first; then the upper face alike.
        """
        local = _CORNER_SIGNS[None] * self.size[:, None].astype(np.float64)
        cosine, sine = np.cos(self.yaw)[:, None], np.sin(self.yaw)[:, None]
        x = cosine * local[..., 0] - sine * local[..., 1]
        y = sine * local[..., 0] + cosine * local[..., 1]
        return (np.stack([x, y, local[..., 2]], axis=-1) + self.center[:, None]).astype(np.float32)

    def transformed(self, dst_from_src: rigid.Matrix) -> Boxes3D:
        """Move boxes into another frame; they stay upright, so only its yaw turns them."""
        turn = rigid.yaw_of(dst_from_src)
        flat = np.concatenate([self.velocity, np.zeros((len(self), 1), np.float32)], axis=1)
        return Boxes3D(
            center=rigid.transform_points(dst_from_src, self.center.astype(np.float64)),
            size=self.size,
            yaw=rigid.wrap_angle(self.yaw + turn).astype(np.float32),
            velocity=rigid.rotate_vectors(dst_from_src, flat.astype(np.float64))[:, :2])


def points_in_boxes(points: NDArray[np.floating], boxes: Boxes3D, margin: float = 0.0
                    ) -> NDArray[np.bool_]:
    """Tell which point lies in which box.

    Args:
        points: (N, 3 or more) [m] in the frame of the boxes; further columns are ignored.
        boxes: M boxes.
        margin: Grows every face by this much [m].

    Returns:
        (M, N) mask; faces belong to the box.
    """
    inside = np.zeros((len(boxes), len(points)), dtype=bool)
    xyz = np.asarray(points[:, :3], dtype=np.float64)
    half = boxes.size.astype(np.float64) / 2 + margin
    cosine, sine = np.cos(boxes.yaw, dtype=np.float64), np.sin(boxes.yaw, dtype=np.float64)
    for i, center in enumerate(boxes.center.astype(np.float64)):  # memory stays at O(N)
        dx, dy, dz = (xyz - center).T
        inside[i] = ((np.abs(cosine[i] * dx + sine[i] * dy) <= half[i, 0])
                     & (np.abs(-sine[i] * dx + cosine[i] * dy) <= half[i, 1])
                     & (np.abs(dz) <= half[i, 2]))
    return inside
