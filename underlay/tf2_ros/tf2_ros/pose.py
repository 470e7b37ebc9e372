"""Rigid transforms as seven floats: x, y, z of the translation, then x, y, z, w of the rotation.

A buffer composes a handful of transforms a lookup, where tuples of floats are several times faster
than arrays. Quaternions need not be of unit length: as in tf2, which accepts a half per cent less
or more, a rotation by q is q v q*, and so scales by the square of the length of q.
"""

from __future__ import annotations

from math import acos, sin, sqrt

Pose = tuple[float, float, float, float, float, float, float]

IDENTITY: Pose = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)


def compose(a_from_b: Pose, b_from_c: Pose) -> Pose:
    """The transform a_from_c."""
    tx, ty, tz, x, y, z, w = a_from_b
    px, py, pz, i, j, k, r = b_from_c
    # q p q* = (w^2 - u.u) p + 2 (u.p) u + 2 w u x p, with u the vector part of q
    along = 2.0 * (x * px + y * py + z * pz)
    keep = w * w - x * x - y * y - z * z
    turn = 2.0 * w
    return (
        tx + keep * px + along * x + turn * (y * pz - z * py),
        ty + keep * py + along * y + turn * (z * px - x * pz),
        tz + keep * pz + along * z + turn * (x * py - y * px),
        w * i + x * r + y * k - z * j,
        w * j - x * k + y * r + z * i,
        w * k + x * j - y * i + z * r,
        w * r - x * i - y * j - z * k,
    )


def inverse(a_from_b: Pose) -> Pose:
    """The transform b_from_a, with the conjugate quaternion."""
    tx, ty, tz, x, y, z, w = a_from_b
    return compose((0.0, 0.0, 0.0, -x, -y, -z, w), (-tx, -ty, -tz, 0.0, 0.0, 0.0, 1.0))


def interpolate(first: Pose, second: Pose, ratio: float) -> Pose:
    """What lies between: straight for the translation, the shorter arc for the rotation.

    Args:
        first: What is at ratio 0.
        second: What is at ratio 1.
        ratio: How far from the first to the second.
    """
    rest = 1.0 - ratio
    ax, ay, az, a, b, c, d = first
    bx, by, bz, e, f, g, h = second
    x, y, z = rest * ax + ratio * bx, rest * ay + ratio * by, rest * az + ratio * bz
    dot = a * e + b * f + c * g + d * h
    length = sqrt((a * a + b * b + c * c + d * d) * (e * e + f * f + g * g + h * h))
    angle = acos(min(1.0, abs(dot) / length))
    if angle == 0.0:
        return x, y, z, a, b, c, d
    m = sin(rest * angle) / sin(angle)
    n = sin(ratio * angle) / sin(angle)
    if dot < 0.0:
        n = -n
    return x, y, z, m * a + n * e, m * b + n * f, m * c + n * g, m * d + n * h


def normalized(pose: Pose) -> Pose:
    """The same with a quaternion of unit length."""
    tx, ty, tz, x, y, z, w = pose
    length = sqrt(x * x + y * y + z * z + w * w)
    return tx, ty, tz, x / length, y / length, z / length, w / length


def with_sign_of_matrix(pose: Pose) -> Pose:
    """The same with that one of q and -q which a conversion through a rotation matrix gives.

    This is the one with positive w as long as the angle of the rotation is under 120 degrees, else
    the one whose greatest component of the axis is positive.
    """
    tx, ty, tz, x, y, z, w = pose
    leading = w if 4.0 * w * w > 1.0 else max((x, y, z), key=abs)
    return pose if leading >= 0.0 else (tx, ty, tz, -x, -y, -z, -w)
