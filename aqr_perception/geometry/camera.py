"""The pinhole camera with lens distortion.

Its frame: x right, y down, z forward. Pixels are (u, v): u to the right, v down.
A pixel's centre has integer coordinates, as in OpenCV and ``sensor_msgs/CameraInfo``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

# Number of coefficients that sensor_msgs/distortion_models allows for each model.
DISTORTION_LENGTHS = {"plumb_bob": (4, 5), "rational_polynomial": (8, 12, 14), "equidistant": (4,)}
FARTHEST = 1e4
"""Focal lengths and principal point, in sides of the image; a cut-out of a long lens has much."""
NO_DISTORTION: NDArray[np.float64] = np.zeros(0)


@dataclass(frozen=True)
class PinholeCamera:
    """Intrinsics of one camera.

    Attributes:
        width: Image width [px].
        height: Image height [px].
        intrinsics: (3, 3) matrix K [px] of the (distorted, unrectified) image.
        distortion_model: ``plumb_bob``, ``rational_polynomial`` or ``equidistant``.
        distortion: Coefficients in the order of ``sensor_msgs/CameraInfo.d``; empty or all zero
            for an ideal pinhole.
    """

    width: int
    height: int
    intrinsics: NDArray[np.float64]
    distortion_model: str = "plumb_bob"
    distortion: NDArray[np.float64] = field(default_factory=lambda: NO_DISTORTION)

    def __post_init__(self) -> None:
        intrinsics = np.asarray(self.intrinsics, dtype=np.float64)
        distortion = np.asarray(self.distortion, dtype=np.float64).reshape(-1)
        if self.width < 1 or self.height < 1:
            raise ValueError(f"camera size is {self.width}×{self.height}; expected at least 1×1")
        if intrinsics.shape != (3, 3) or not np.isfinite(intrinsics).all():
            raise ValueError(f"K has shape {intrinsics.shape}; expected 3×3 finite numbers")
        if intrinsics[0, 0] <= 0 or intrinsics[1, 1] <= 0:
            raise ValueError(f"focal lengths are {intrinsics[0, 0]:g}, {intrinsics[1, 1]:g} px; "
                             "expected above 0 (is the camera calibrated?)")
        side = max(self.width, self.height)
        if (np.abs(intrinsics[:2]).max() > FARTHEST * side
                or min(intrinsics[0, 0], intrinsics[1, 1]) < side / FARTHEST):
            raise ValueError(f"K is {intrinsics[:2].tolist()} for a picture of {self.width}×"
                             f"{self.height}; expected pixels (is the camera calibrated?)")
        if intrinsics[2].tolist() != [0.0, 0.0, 1.0]:
            raise ValueError(f"the last row of K is {intrinsics[2].tolist()}; expected 0, 0, 1")
        if self.distortion_model not in DISTORTION_LENGTHS:
            raise ValueError(f"distortion model '{self.distortion_model}' is unknown; expected one "
                             f"of {', '.join(DISTORTION_LENGTHS)}")
        lengths = DISTORTION_LENGTHS[self.distortion_model]
        if distortion.size and distortion.size not in lengths:
            raise ValueError(f"{self.distortion_model} has {distortion.size} coefficients; "
                             f"expected {' or '.join(map(str, lengths))}, or none")
        if not np.isfinite(distortion).all():
            raise ValueError("a distortion coefficient is not finite")
        object.__setattr__(self, "intrinsics", intrinsics)
        object.__setattr__(self, "distortion", distortion)

    @property
    def is_distorted(self) -> bool:
        """Whether any coefficient differs from zero."""
        return bool(np.any(self.distortion))

    def project(self, points: NDArray[np.floating]
                ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Project points of the camera frame.

        Args:
            points: (N, 3) [m].

        Returns:
            pixels (N, 2) as (u, v), NaN for points with z ≤ 0; and visible (N,): in front of the
            camera and inside the image, borders included by half a pixel.
        """
        points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        front = points[:, 2] > 1e-6
        pixels = np.full((len(points), 2), np.nan)
        rays = points[front, :2] / points[front, 2:3]
        pixels[front] = self._distort(rays) @ self.intrinsics[:2, :2].T + self.intrinsics[:2, 2]
        with np.errstate(invalid="ignore"):
            inside = ((pixels >= -0.5) & (pixels < [self.width - 0.5, self.height - 0.5])).all(1)
        return pixels, front & inside

    def unproject(self, pixels: NDArray[np.floating], depth: NDArray[np.floating] | float
                  ) -> NDArray[np.float64]:
        """Return the points (N, 3) [m] that lie at ``depth`` (z, [m]) behind pixels (N, 2).

        Exact without distortion; with it, inverted by iteration, which holds inside the field of
        view where the lens model is monotonic.
        """
        pixels = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
        bent = (pixels - self.intrinsics[:2, 2]) @ np.linalg.inv(self.intrinsics[:2, :2]).T
        rays = bent
        if self.is_distorted:
            for _ in range(100):  # fixed point of rays = bent - (lens(rays) - rays)
                error = bent - self._distort(rays)
                rays = rays + error
                if np.abs(error).max(initial=0.0) < 1e-12:
                    break
        homogeneous = np.concatenate([rays, np.ones((len(rays), 1))], axis=1)
        return homogeneous * np.broadcast_to(np.asarray(depth, np.float64), len(rays))[:, None]

    def resized(self, width: int, height: int) -> PinholeCamera:
        """Camera of the image scaled to ``width`` × ``height``.

        Rows 0 and 1 of K are scaled about the image's corner pixel (no half-pixel shift), as CMT
        and most of the field do.
        """
        scale = np.diag([width / self.width, height / self.height, 1.0])
        return replace(self, width=width, height=height, intrinsics=scale @ self.intrinsics)

    def cropped(self, left: int, top: int, width: int, height: int) -> PinholeCamera:
        """Camera of the window of the image that starts at pixel (``left``, ``top``)."""
        shifted = self.intrinsics.copy()
        shifted[0, 2] -= left
        shifted[1, 2] -= top
        return replace(self, width=width, height=height, intrinsics=shifted)

    def undistorted(self) -> PinholeCamera:
        """The ideal pinhole camera with the same K and size."""
        return replace(self, distortion=NO_DISTORTION)

    def undistort_map(self, target: PinholeCamera
                      ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Where each pixel of ``target`` (an ideal pinhole in the same place) lies in this image.

        Returns:
            Two (target.height, target.width) arrays, u and v, as ``cv2.remap`` takes them: one
            remap undistorts, scales and crops at once.
        """
        v, u = np.mgrid[:target.height, :target.width].astype(np.float64)
        rays = target.unproject(np.stack([u.ravel(), v.ravel()], axis=1), 1.0)
        pixels = self._distort(rays[:, :2]) @ self.intrinsics[:2, :2].T + self.intrinsics[:2, 2]
        u_source, v_source = pixels.astype(np.float32).T.reshape(2, target.height, target.width)
        return np.ascontiguousarray(u_source), np.ascontiguousarray(v_source)

    def _distort(self, rays: NDArray[np.float64]) -> NDArray[np.float64]:
        """Normalised image coordinates (N, 2) as the lens bends them.

        Formulas: OpenCV calib3d (plumb_bob and rational_polynomial with thin prism and tilt) and
        Kannala-Brandt for equidistant.
        """
        if not self.is_distorted or not len(rays):
            return rays
        if self.distortion_model == "equidistant":
            bent = cv2.fisheye.distortPoints(rays[:, None], np.eye(3), self.distortion)
            return np.asarray(bent[:, 0], dtype=np.float64)
        points = np.concatenate([rays, np.ones((len(rays), 1))], axis=1)
        bent, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), np.eye(3), self.distortion)
        return np.asarray(bent[:, 0], dtype=np.float64)
