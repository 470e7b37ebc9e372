"""Transforms for the tests, in seconds, metres and degrees."""

from __future__ import annotations

from math import cos, radians, sin

from geometry_msgs.msg import TransformStamped
from rclpy.time import Time

ZERO = Time()


def at(seconds: float) -> Time:
    return Time(nanoseconds=round(seconds * 1e9))


def sample(parent: str, child: str, seconds: float = 0.0, xyz=(0.0, 0.0, 0.0), yaw: float = 0.0,
           quaternion=None) -> TransformStamped:
    """parent_from_child, turned by a yaw in degrees or by a quaternion xyzw."""
    message = TransformStamped()
    message.header.frame_id = parent
    message.header.stamp = at(seconds).to_msg()
    message.child_frame_id = child
    t, q = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z = map(float, xyz)
    half = radians(yaw) / 2
    q.x, q.y, q.z, q.w = map(float, quaternion or (0.0, 0.0, sin(half), cos(half)))
    return message


def xyz_of(transform: TransformStamped) -> tuple[float, float, float]:
    t = transform.transform.translation
    return t.x, t.y, t.z


def quaternion_of(transform: TransformStamped) -> tuple[float, float, float, float]:
    q = transform.transform.rotation
    return q.x, q.y, q.z, q.w


def seconds_of(transform: TransformStamped) -> float:
    return transform.header.stamp.sec + transform.header.stamp.nanosec * 1e-9
