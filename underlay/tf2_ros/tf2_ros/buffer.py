"""The buffer that nodes use: the tree of frames, with waiting, futures and simulated time."""

from __future__ import annotations

import threading
import time as wall
from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import TransformStamped
from rclpy.clock import Clock, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.task import Future
from rclpy.time import Time
from tf2_msgs.srv import FrameGraph

from .buffer_core import BufferCore, nanoseconds
from .buffer_interface import BufferInterface
from .exceptions import TransformException


class Buffer(BufferCore, BufferInterface):
    """Stores frames over time and tells where one is seen from another.

    A method with a timeout blocks its thread, so another one has to receive the transforms: a
    listener with a thread of its own, or an executor with several.
    """

    def __init__(self, cache_time: Duration | None = None, node: Node | None = None) -> None:
        """Make an empty buffer.

        Args:
            cache_time: How long moving transforms are kept; 10 s if not given.
            node: Where to offer the service ``tf2_frames``, and whose clock clears the buffer when
                it jumps back by a second or more, or begins or ends to be simulated.
        """
        BufferCore.__init__(self, cache_time)
        BufferInterface.__init__(self)
        self._arrival = threading.Condition(self._lock)
        self._pending: list[tuple[Future, Callable[[], TransformStamped]]] = []
        if node is None:
            self.clock = Clock()
        else:
            self.clock = node.get_clock()
            self.srv = node.create_service(FrameGraph, "tf2_frames", self._answer_frames)
        self.jump_handle = self.clock.create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(seconds=-1),
                          on_clock_change=True),
            post_callback=self.time_jump_callback)

    def time_jump_callback(self, time_jump: TimeJump) -> None:
        """Forget what was known before the clock jumped."""
        get_logger("tf2_buffer").warning("The clock jumped back: clearing the tf buffer.")
        self.clear()

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Add a sample of a moving frame; see ``BufferCore.set_transform``."""
        super().set_transform(transform, authority)
        self._announce()

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Say for good where a frame is; see ``BufferCore.set_transform``."""
        super().set_transform_static(transform, authority)
        self._announce()

    # ------------------------------------------------------------------ lookups

    def lookup_transform(self, target_frame: str, source_frame: str, time: Time,
                         timeout: Duration = Duration()) -> TransformStamped:  # noqa: B008
        """The transform that takes coordinates in the source frame to the target frame.

        Args:
            target_frame: Where to.
            source_frame: Where from.
            time: When; zero for the latest time that all links on the way share.
            timeout: How long to wait for it.

        Raises:
            TransformException: It cannot be had; the subclass and the message say why.
        """
        self.can_transform(target_frame, source_frame, time, timeout)
        return self.lookup_transform_core(target_frame, source_frame, time)

    def lookup_transform_full(self, target_frame: str, target_time: Time, source_frame: str,
                              source_time: Time, fixed_frame: str,
                              timeout: Duration = Duration()  # noqa: B008
                              ) -> TransformStamped:
        """The transform from the source frame at one time to the target frame at another.

        Args:
            target_frame: Where to.
            target_time: At which time; zero for the latest.
            source_frame: Where from.
            source_time: At which time; zero for the latest.
            fixed_frame: The frame that stands still in between.
            timeout: How long to wait for it.

        Raises:
            TransformException: It cannot be had; the subclass and the message say why.
        """
        self.can_transform_full(target_frame, target_time, source_frame, source_time, fixed_frame,
                                timeout)
        return self.lookup_transform_full_core(target_frame, target_time, source_frame,
                                               source_time, fixed_frame)

    def can_transform(self, target_frame: str, source_frame: str, time: Time,
                      timeout: Duration = Duration(),  # noqa: B008
                      return_debug_tuple: bool = False) -> bool | tuple[bool, str]:
        """Whether there is a transform, at the latest after the timeout.

        Returns:
            The answer; with ``return_debug_tuple``, together with the reason against it.
        """
        answer = self._wait(
            lambda: self.can_transform_core(target_frame, source_frame, time), timeout)
        return answer if return_debug_tuple else answer[0]

    def can_transform_full(self, target_frame: str, target_time: Time, source_frame: str,
                           source_time: Time, fixed_frame: str,
                           timeout: Duration = Duration(),  # noqa: B008
                           return_debug_tuple: bool = False) -> bool | tuple[bool, str]:
        """Whether there is a transform between two times, at the latest after the timeout.

        Returns:
            The answer; with ``return_debug_tuple``, together with the reason against it.
        """
        answer = self._wait(
            lambda: self.can_transform_full_core(target_frame, target_time, source_frame,
                                                 source_time, fixed_frame), timeout)
        return answer if return_debug_tuple else answer[0]

    # ------------------------------------------------------------------ for coroutines

    async def lookup_transform_async(self, target_frame: str, source_frame: str,
                                     time: Time) -> TransformStamped:
        """``lookup_transform`` for a coroutine, which waits until there is one."""
        return await self.wait_for_transform_async(target_frame, source_frame, time)

    async def lookup_transform_full_async(self, target_frame: str, target_time: Time,
                                          source_frame: str, source_time: Time,
                                          fixed_frame: str) -> TransformStamped:
        """``lookup_transform_full`` for a coroutine, which waits until there is one."""
        return await self.wait_for_transform_full_async(target_frame, target_time, source_frame,
                                                        source_time, fixed_frame)

    def wait_for_transform_async(self, target_frame: str, source_frame: str,
                                 time: Time) -> Future:
        """A future that gets the transform as soon as there is one; cancel it to give up."""
        return self._promise(
            lambda: self.lookup_transform_core(target_frame, source_frame, time))

    def wait_for_transform_full_async(self, target_frame: str, target_time: Time,
                                      source_frame: str, source_time: Time,
                                      fixed_frame: str) -> Future:
        """A future that gets the transform between two times as soon as there is one."""
        return self._promise(
            lambda: self.lookup_transform_full_core(target_frame, target_time, source_frame,
                                                    source_time, fixed_frame))

    # ------------------------------------------------------------------ waiting

    def _wait(self, ask: Callable[[], tuple[bool, str]], timeout: Duration) -> tuple[bool, str]:
        """Ask again after each arrival, until the answer is yes or the time is over.

        The time is the wall's, as upstream: simulated time may stand still.
        """
        limit = wall.monotonic() + nanoseconds(timeout) * 1e-9
        with self._arrival:
            answer = ask()
            while not answer[0] and (remaining := limit - wall.monotonic()) > 0.0:
                self._arrival.wait(remaining)
                answer = ask()
            return answer

    def _promise(self, look_up: Callable[[], TransformStamped]) -> Future:
        future: Future = Future()
        with self._lock:
            try:
                transform = look_up()
            except TransformException:
                self._pending.append((future, look_up))
                return future
        future.set_result(transform)
        return future

    def _announce(self) -> None:
        with self._arrival:
            self._arrival.notify_all()
        if self._pending:
            self._fulfil()

    def _fulfil(self) -> None:
        """Give each future that waits its transform if it can be had now, and drop those done.

        Results are set outside the lock: whoever waits for them may use the buffer.
        """
        with self._lock:
            found, waiting = [], []
            for future, look_up in self._pending:
                if future.done() or future.cancelled():
                    continue
                try:
                    found.append((future, look_up()))
                except TransformException:
                    waiting.append((future, look_up))
            self._pending = waiting
        for future, transform in found:
            future.set_result(transform)

    def _answer_frames(self, request: Any, response: Any) -> Any:
        response.frame_yaml = self.all_frames_as_yaml()
        return response
