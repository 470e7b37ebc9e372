"""The buffer itself: transforms in, transforms out, for any number of threads, without waiting."""

from __future__ import annotations

import threading
from math import isnan
from typing import Any

from geometry_msgs.msg import TransformStamped
from rclpy.logging import get_logger
from rclpy.time import Time

from . import frame_listing
from .exceptions import TransformException
from .frame_names import require_known, without_slash
from .frame_tree import FrameTree
from .history import seconds
from .pose import Pose

DEFAULT_CACHE_TIME_NS = 10 * 10**9
QUATERNION_TOLERANCE = 10e-3  # of the squared length


class BufferCore:
    """Transforms of frames to their parents, kept for a while, and composed on request.

    Times are rclpy times, builtin_interfaces times or anything with ``nanoseconds``; zero asks for
    the latest moment that all links on the way share.
    """

    def __init__(self, cache_time: Any = None) -> None:
        """Make an empty buffer.

        Args:
            cache_time: How long moving transforms are kept, an rclpy duration; 10 s if not given.
        """
        self._span = DEFAULT_CACHE_TIME_NS if cache_time is None else nanoseconds(cache_time)
        self._lock = threading.RLock()
        self._tree = FrameTree(self._span)
        self._authorities: dict[str, str] = {}

    # ------------------------------------------------------------------ in

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Add a sample of a moving frame.

        What cannot be right (a frame that is its own parent, no name, NaN, a quaternion that is not
        of unit length) and what is older than the buffer reaches back is logged and left out.

        Args:
            transform: parent_from_child; the parent is its header's frame.
            authority: Who says so, for the listings.
        """
        self._set(transform, authority, static=False)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Say for good where a frame is. Arguments as of ``set_transform``."""
        self._set(transform, authority, static=True)

    def clear(self) -> None:
        """Forget all samples of moving frames; names and static frames stay."""
        with self._lock:
            self._tree.clear()

    def _set(self, transform: TransformStamped, authority: str, static: bool) -> None:
        child = without_slash(transform.child_frame_id)
        parent = without_slash(transform.header.frame_id)
        stamp = nanoseconds(transform.header.stamp)
        t, q = transform.transform.translation, transform.transform.rotation
        pose = (t.x, t.y, t.z, q.x, q.y, q.z, q.w)
        faults = _faults(parent, child, pose)
        for fault in faults:
            get_logger("tf2").error(f'{fault} (child_frame_id "{child}", frame_id "{parent}", '
                                    f'authority "{authority}"): transform ignored')
        if faults:
            return
        with self._lock:
            if static:
                self._tree.insert_static(child, parent, pose)
            elif not self._tree.insert(child, parent, stamp, pose):
                get_logger("tf2").warning(
                    f"TF_OLD_DATA ignoring data from the past for frame {child} at time "
                    f"{seconds(stamp)} according to authority {authority}: the buffer keeps "
                    f"{self._span / 1e9:g} s and has later data")
                return
            self._authorities[child] = authority

    # ------------------------------------------------------------------ out

    def lookup_transform_core(self, target_frame: str, source_frame: str,
                              time: Any) -> TransformStamped:
        """The transform target_from_source at a time, without waiting.

        Raises:
            TransformException: It cannot be had; the subclass and the message say why.
        """
        with self._lock:
            stamp, pose = self._tree.lookup(target_frame, source_frame, nanoseconds(time))
        return _message(target_frame, source_frame, stamp, pose)

    def lookup_transform_full_core(self, target_frame: str, target_time: Any, source_frame: str,
                                   source_time: Any, fixed_frame: str) -> TransformStamped:
        """The transform from the source at one time to the target at another, without waiting.

        Args:
            target_frame: Where to.
            target_time: At which time.
            source_frame: Where from.
            source_time: At which time.
            fixed_frame: The frame that stood still in between.

        Raises:
            TransformException: It cannot be had; the subclass and the message say why.
        """
        with self._lock:
            stamp, pose = self._tree.lookup_full(
                target_frame, nanoseconds(target_time), source_frame, nanoseconds(source_time),
                fixed_frame)
        return _message(target_frame, source_frame, stamp, pose)

    def can_transform_core(self, target_frame: str, source_frame: str,
                           time: Any) -> tuple[bool, str]:
        """Whether ``lookup_transform_core`` would succeed, and if not, why."""
        with self._lock:
            reason = self._tree.why_not(target_frame, source_frame, nanoseconds(time))
        return reason is None, reason or ""

    def can_transform_full_core(self, target_frame: str, target_time: Any, source_frame: str,
                                source_time: Any, fixed_frame: str) -> tuple[bool, str]:
        """Whether ``lookup_transform_full_core`` would succeed, and if not, why."""
        with self._lock:
            reason = self._tree.why_not_full(
                target_frame, nanoseconds(target_time), source_frame, nanoseconds(source_time),
                fixed_frame)
        return reason is None, reason or ""

    def get_latest_common_time(self, target_frame: str, source_frame: str) -> Time:
        """The latest time at which the one can be had from the other; zero if any will do.

        Raises:
            LookupException: One is not known.
            InvalidArgumentException: One has a name that cannot be.
            TransformException: Nothing connects them. It is this class itself, as upstream.
        """
        with self._lock:
            for name in (target_frame, source_frame):
                require_known(name, self._tree.frames, "get_latest_common_time")
            try:
                latest = self._tree.latest_common_time(target_frame, source_frame)
            except TransformException as reason:
                raise TransformException(str(reason)) from None
        return Time(nanoseconds=latest)

    def all_frames_as_yaml(self) -> str:
        """Every frame that has a parent, with who sends it and how often, as YAML."""
        with self._lock:
            return frame_listing.as_yaml(self._tree.frames, self._authorities)

    def all_frames_as_string(self) -> str:
        """Every frame that has ever had a parent, one a line."""
        with self._lock:
            return frame_listing.as_text(self._tree.frames)

    def _frameExists(self, frame_id: str) -> bool:
        return frame_id in self._tree.frames

    def _getFrameStrings(self) -> list[str]:
        with self._lock:
            return list(self._tree.frames)


def nanoseconds(time: Any) -> int:
    """A time or duration in nanoseconds, of rclpy or of a message.

    Raises:
        TypeError: It is neither.
    """
    if hasattr(time, "nanosec") and hasattr(time, "sec"):
        return time.sec * 10**9 + time.nanosec
    if hasattr(time, "nanoseconds"):
        return time.nanoseconds
    raise TypeError(f"a time needs sec and nanosec, or nanoseconds; {type(time).__name__} has not")


def _faults(parent: str, child: str, pose: Pose) -> list[str]:
    faults = []
    if parent == child:
        faults.append("TF_SELF_TRANSFORM: a frame cannot be its own parent")
    if not child:
        faults.append("TF_NO_CHILD_FRAME_ID: child_frame_id is empty")
    if not parent:
        faults.append("TF_NO_FRAME_ID: header.frame_id is empty")
    if any(map(isnan, pose)):
        faults.append(f"TF_NAN_INPUT: {pose} holds a NaN")
    if not abs(sum(value * value for value in pose[3:]) - 1.0) < QUATERNION_TOLERANCE:
        faults.append(f"TF_DENORMALIZED_QUATERNION: {pose[3:]} is not of unit length")
    return faults


def _message(target: str, source: str, stamp: int, pose: Pose) -> TransformStamped:
    message = TransformStamped()
    message.header.frame_id = target
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
    message.child_frame_id = source
    t, q = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z, q.x, q.y, q.z, q.w = pose
    return message
