"""CameraInfo and tf → Calibration: each frame anew, so that a change takes effect with the next."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any

from rclpy.time import Time
from tf2_ros import TransformException

from aqr_perception.geometry import rigid
from aqr_perception.geometry.camera import PinholeCamera
from aqr_perception.ros.conversions import camera_from_message, matrix_from_message

POLL_S = 0.004
FIRST_WAIT_S = 1.0
"""How long the first frame waits for the fixed frame to show up in tf [s]."""
GIVE_UP_AFTER = 3
"""After so many frames without motion in time, later ones ask tf but do not wait for it; so too
with a camera that tf does not know."""
LATEST = Time()


class CameraModels:
    """The newest CameraInfo of each camera, as a PinholeCamera.

    The same camera object is given until the message's content changes, so that what was derived
    from it (undistortion maps) can be kept by identity.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._messages: list[Any] = [None] * len(names)
        self._parsed: list[tuple[tuple[Any, ...], PinholeCamera] | None] = [None] * len(names)

    def update(self, index: int, message: Any) -> None:
        """Take a CameraInfo; it is read when a frame needs it."""
        self._messages[index] = message

    def missing(self) -> list[str]:
        """Names of the cameras that have none yet."""
        return [name for name, message in zip(self._names, self._messages) if message is None]

    def camera(self, index: int) -> PinholeCamera:
        """Return the camera.

        Raises:
            ValueError: No CameraInfo has come, or it does not describe a camera.
        """
        name, message = self._names[index], self._messages[index]
        if message is None:
            raise ValueError(f"{name}: no camera_info has come on ~/input/camera_info{index}")
        roi = message.roi
        content = (message.width, message.height, message.distortion_model, tuple(message.d),
                   tuple(message.k), message.binning_x, message.binning_y,
                   roi.x_offset, roi.y_offset, roi.width, roi.height)
        parsed = self._parsed[index]
        if parsed is None or parsed[0] != content:
            try:
                parsed = content, camera_from_message(message)
            except ValueError as error:
                raise ValueError(f"{name}: its camera_info does not fit: {error}") from None
            self._parsed[index] = parsed
        return parsed[1]


class RigTransforms:
    """Poses out of tf at the sensors' own stamps.

    Args:
        buffer: A ``tf2_ros.Buffer``, filled by another thread.
        fixed_frame: Frame that does not move with the car, or empty.
        timeout_s: Longest wait for the transforms of one frame.
        stop: Set to end a wait early.
    """

    def __init__(self, buffer: Any, fixed_frame: str, timeout_s: float, stop: threading.Event
                 ) -> None:
        self._buffer = buffer
        self._fixed_frame = fixed_frame
        self._timeout_s = timeout_s
        self._stop = stop
        self._asked_before = False
        self._misses = 0
        self._unknown: dict[str, int] = {}

    def begin(self, lidar_frame: str) -> FrameTransforms:
        """Start the look-ups of one frame: decides whether motion can be taken into account."""
        moving = bool(self._fixed_frame) and self._has_fixed_frame(lidar_frame)
        wait = self._timeout_s if self._misses < GIVE_UP_AFTER else 0.0
        return FrameTransforms(self, lidar_frame, self._fixed_frame if moving else "",
                               time.monotonic() + wait)

    def note_motion(self, found: bool) -> None:
        """Keep count of frames whose motion tf did not know in time."""
        self._misses = 0 if found else self._misses + 1

    def note_camera(self, camera_frame: str, found: bool) -> None:
        """Keep count of frames in which tf did not know a camera."""
        self._unknown[camera_frame] = 0 if found else self._unknown.get(camera_frame, 0) + 1

    def waits_for(self, camera_frame: str) -> bool:
        """Whether tf may still come to know a camera that it does not."""
        return self._unknown.get(camera_frame, 0) < GIVE_UP_AFTER

    def look_up(self, deadline: float, target: str, target_ns: int, source: str, source_ns: int,
                fixed: str) -> rigid.Matrix:
        """(4, 4) target frame at its time from source frame at its time.

        Args:
            deadline: ``time.monotonic()`` up to which tf may still learn it.
            target: Frame of the result.
            target_ns: When.
            source: Frame of the points.
            source_ns: When.
            fixed: Frame in which things stand still between the two; empty: both at ``target_ns``.

        Raises:
            TransformException: tf does not know it.
            ValueError: What it says is no transform, or farther than anything is.
        """
        while True:
            try:
                if fixed:
                    stamped = self._buffer.lookup_transform_full(
                        target, Time(nanoseconds=target_ns), source, Time(nanoseconds=source_ns),
                        fixed)
                else:
                    stamped = self._buffer.lookup_transform(
                        target, source, Time(nanoseconds=target_ns))
                return matrix_from_message(stamped.transform)
            except TransformException:
                if time.monotonic() >= deadline or self._stop.wait(POLL_S):
                    raise

    def joins(self, frame: str, others: Iterable[str]) -> bool:
        """Whether tf joins a frame to one of the others at any time; does not wait for it."""
        return any(self._buffer.can_transform(other, frame, LATEST) for other in others)

    def _has_fixed_frame(self, lidar_frame: str) -> bool:
        """Whether tf joins the two at any time; waits for it once, when the first frame asks."""
        deadline = time.monotonic() + (0.0 if self._asked_before else FIRST_WAIT_S)
        self._asked_before = True
        while not self._buffer.can_transform(self._fixed_frame, lidar_frame, LATEST):
            if time.monotonic() >= deadline or self._stop.wait(POLL_S):
                return False
        return True


class FrameTransforms:
    """The look-ups of one frame; they share one deadline.

    Attributes:
        notes: What was not found and what was taken instead, in words.
    """

    def __init__(self, rig: RigTransforms, lidar_frame: str, fixed_frame: str, deadline: float
                 ) -> None:
        self.notes: list[str] = []
        self._rig = rig
        self._lidar_frame = lidar_frame
        self._fixed_frame = fixed_frame
        self._deadline = deadline

    def fixed_from_lidar(self, stamp_ns: int) -> rigid.Matrix | None:
        """(4, 4) pose of the LiDAR in the fixed frame; None where tf does not know it.

        When tf does not know it in time, the cameras' look-ups of this frame take the rig alone.
        """
        if not self._fixed_frame:
            return None
        try:
            pose = self._rig.look_up(self._deadline, self._fixed_frame, stamp_ns,
                                     self._lidar_frame, stamp_ns, "")
        except (TransformException, ValueError) as error:
            self._without_motion(error)
            return None
        self._rig.note_motion(found=True)
        return pose

    def earlier_pose(self, frame: str, stamp_ns: int) -> rigid.Matrix | None:
        """(4, 4) pose of a frame in the fixed frame at an earlier stamp, without waiting for tf."""
        if not self._fixed_frame:
            return None
        try:
            return self._rig.look_up(0.0, self._fixed_frame, stamp_ns, frame, stamp_ns, "")
        except (TransformException, ValueError):
            return None

    def camera_from_lidar(self, camera_frame: str, camera_ns: int, lidar_ns: int) -> rigid.Matrix:
        """(4, 4) camera at its own stamp from LiDAR at its stamp, motion between them included.

        Without a fixed frame, or when tf does not know the motion in time, the rig alone.

        Raises:
            ValueError: tf does not join the two frames.
        """
        deadline = self._deadline if self._rig.waits_for(camera_frame) else 0.0
        without_motion = None
        if self._fixed_frame:
            try:
                pose = self._rig.look_up(deadline, camera_frame, camera_ns, self._lidar_frame,
                                         lidar_ns, self._fixed_frame)
                self._rig.note_camera(camera_frame, found=True)
                return pose
            except (TransformException, ValueError) as error:
                without_motion = error
        try:
            pose = self._rig.look_up(deadline, camera_frame, camera_ns, self._lidar_frame, lidar_ns,
                                     "")
        except (TransformException, ValueError) as error:
            self._rig.note_camera(camera_frame, found=False)
            raise ValueError(f"tf has no transform from '{self._lidar_frame}' to '{camera_frame}': "
                             f"{error}") from None
        self._rig.note_camera(camera_frame, found=True)
        if without_motion is not None:  # the camera is known, where the car was is not
            self._without_motion(without_motion)
        return pose

    def _without_motion(self, error: Exception) -> None:
        self._rig.note_motion(found=False)
        self.notes.append(f"the motion between the stamps is left out of this frame: tf does not "
                          f"know '{self._fixed_frame}' at them yet ({error})")
        self._fixed_frame = ""
