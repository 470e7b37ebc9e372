"""Rigid transforms as 4×4 float64 matrices, named ``dst_from_src`` so that adjacent names cancel.

``camera_from_lidar @ lidar_from_base == camera_from_base``. Angles are radians, lengths metres,
quaternions are xyzw as in ROS messages.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = NDArray[np.float64]
BLOCK = 8192
"""Rows of one product in `rows_times`."""


def from_rotation_translation(rotation: ArrayLike, translation: ArrayLike) -> Matrix:
    """Build a transform from its two parts.

    Args:
        rotation: (3, 3) rotation matrix.
        translation: (3,) [m].

    Returns:
        (4, 4) transform.
    """
    dst_from_src = np.eye(4)
    dst_from_src[:3, :3] = rotation
    dst_from_src[:3, 3] = translation
    return dst_from_src


def from_translation_quaternion(translation: ArrayLike, quaternion_xyzw: ArrayLike) -> Matrix:
    """Build a transform as a ROS ``geometry_msgs/Transform`` states it.

    Args:
        translation: (3,) [m].
        quaternion_xyzw: (4,), of any length but zero; it is normalised.

    Raises:
        ValueError: The quaternion is zero or not finite.
    """
    quaternion = np.asarray(quaternion_xyzw, dtype=np.float64)
    norm = float(np.linalg.norm(quaternion))
    if not np.isfinite(norm) or norm < 1e-9:
        raise ValueError(f"rotation quaternion {quaternion.tolist()} has no direction; "
                         "expected a unit quaternion x, y, z, w")
    x, y, z, w = quaternion / norm
    rotation = np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])
    return from_rotation_translation(rotation, translation)


def to_translation_quaternion(dst_from_src: Matrix) -> tuple[Matrix, Matrix]:
    """Split a transform into translation (3,) [m] and unit quaternion xyzw (4,) with w ≥ 0.

    The branch with the largest of the four squared components is taken (Shepperd, 1978), which is
    stable for every rotation.
    """
    r = np.asarray(dst_from_src, dtype=np.float64)[:3, :3]
    trace = r[0, 0] + r[1, 1] + r[2, 2]
    squared_times_four = np.array([
        1 + 2 * r[0, 0] - trace, 1 + 2 * r[1, 1] - trace, 1 + 2 * r[2, 2] - trace, 1 + trace])
    largest = int(np.argmax(squared_times_four))
    if largest == 3:
        q = np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], 1 + trace])
    else:
        i, j, k = largest, (largest + 1) % 3, (largest + 2) % 3
        q = np.empty(4)
        q[i] = squared_times_four[i]
        q[j] = r[j, i] + r[i, j]
        q[k] = r[k, i] + r[i, k]
        q[3] = r[k, j] - r[j, k]
    q /= np.linalg.norm(q)
    return np.array(dst_from_src[:3, 3], dtype=np.float64), -q if q[3] < 0 else q


def from_xyz_yaw(x: float, y: float, z: float, yaw: float) -> Matrix:
    """Build a transform that turns by ``yaw`` [rad] about +z and then moves by x, y, z [m]."""
    cosine, sine = np.cos(yaw), np.sin(yaw)
    return from_rotation_translation(
        [[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]], [x, y, z])


def inverse(dst_from_src: Matrix) -> Matrix:
    """Return ``src_from_dst``; exact for a rotation that is orthonormal."""
    rotation = dst_from_src[:3, :3].T
    return from_rotation_translation(rotation, -rotation @ dst_from_src[:3, 3])


def transform_points(dst_from_src: Matrix, points: NDArray[np.floating]) -> NDArray[np.floating]:
    """Move points into another frame.

    Args:
        dst_from_src: (4, 4) rigid transform.
        points: (..., 3) [m] in the source frame.

    Returns:
        (..., 3) [m] in the destination frame, in the dtype of ``points``; the input is untouched.
    """
    matrix = dst_from_src.astype(points.dtype, copy=False)
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def rows_times(rows: NDArray[np.floating], matrix: NDArray[np.floating],
               out: NDArray[np.floating] | None = None) -> NDArray[np.floating]:
    """Product of many short rows and a small matrix, as ``rows @ matrix``, in one thread.

    For a whole cloud at once, OpenBLAS starts as many threads as there are cores; they go on
    spinning after it, and take the cores from the network that waits for the cloud.

    Args:
        rows: (N, C).
        matrix: (C, K), of the same dtype.
        out: (N, K) to write to; None makes one.
    """
    if out is None:
        out = np.empty((len(rows), matrix.shape[1]), rows.dtype)
    for begin in range(0, len(rows), BLOCK):
        np.matmul(rows[begin:begin + BLOCK], matrix, out=out[begin:begin + BLOCK])
    return out


def rotate_vectors(dst_from_src: Matrix, vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    """Turn free vectors (velocities), shape (..., 3), into another frame."""
    return vectors @ dst_from_src[:3, :3].T.astype(vectors.dtype, copy=False)


def yaw_of(dst_from_src: Matrix) -> float:
    """Heading [rad] in the destination's x-y plane of the source frame's +x axis."""
    return float(np.arctan2(dst_from_src[1, 0], dst_from_src[0, 0]))


def wrap_angle(angle: ArrayLike) -> Matrix:
    """Bring angles [rad] into [-π, π)."""
    return (np.asarray(angle, dtype=np.float64) + np.pi) % (2 * np.pi) - np.pi


def interpolate(start: Matrix, end: Matrix, fraction: float) -> Matrix:
    """Pose between two poses: linear in translation, spherical (slerp) in rotation.

    Args:
        start: (4, 4) transform at fraction 0.
        end: (4, 4) transform at fraction 1.
        fraction: Where between the two; values outside [0, 1] extrapolate.
    """
    t0, q0 = to_translation_quaternion(start)
    t1, q1 = to_translation_quaternion(end)
    cosine = float(np.dot(q0, q1))
    if cosine < 0:  # q and -q are one rotation; take the short way round
        q1, cosine = -q1, -cosine
    angle = float(np.arccos(min(cosine, 1.0)))
    if angle < 1e-8:
        quaternion = q0 + fraction * (q1 - q0)
    else:
        quaternion = (np.sin((1 - fraction) * angle) * q0 + np.sin(fraction * angle) * q1)
    return from_translation_quaternion(t0 + fraction * (t1 - t0), quaternion)


def check_rigid(dst_from_src: ArrayLike | None, name: str, tolerance: float = 1e-3) -> Matrix:
    """Validate a matrix that came from a file or a message.

    Args:
        dst_from_src: What came.
        name: How the source calls it, for the error.
        tolerance: Largest deviation of the rotation from orthonormal.

    Returns:
        (4, 4) float64.

    Raises:
        ValueError: Wrong shape, not finite, or not a rotation (a reflection or a scale).
    """
    try:
        matrix = np.array(dst_from_src, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name}: expected a 4×4 matrix of numbers") from None
    if matrix.shape != (4, 4):
        raise ValueError(f"{name}: expected a 4×4 matrix, got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name}: holds a value that is not finite")
    rotation = matrix[:3, :3]
    if (np.abs(rotation @ rotation.T - np.eye(3)).max() > tolerance
            or np.linalg.det(rotation) < 0
            or np.abs(matrix[3] - [0, 0, 0, 1]).max() > tolerance):
        raise ValueError(f"{name}: is not a rigid transform (rotation and translation only)")
    return matrix
