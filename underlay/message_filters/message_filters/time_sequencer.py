"""A filter that puts messages into the order of their stamps."""

from __future__ import annotations

import threading
from bisect import insort
from itertools import count
from typing import Any

from builtin_interfaces.msg import Time as TimeMsg
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time

from .simple_filter import SimpleFilter


class TimeSequencer(SimpleFilter):
    """Holds messages back for a while and then gives them out by their stamps.

    A message goes out, from a timer of the node, once its stamp is the delay old. One that comes
    after a later one has gone out is dropped.

    Attributes:
        delay: How old a stamp must be.
        update_rate: The period of the timer.
        queue_size: How many messages may wait, zero for any number; the earliest go first.
        last_time: The stamp that went out last.
    """

    def __init__(self, input_filter: SimpleFilter | None, delay: Duration | float,
                 update_rate: Duration | float, queue_size: int, node: Node,
                 msg_stamp_attr: str = "header.stamp") -> None:
        """Listen to a filter.

        Args:
            input_filter: The input; None to connect it later.
            delay: How old a stamp must be, in seconds or as a duration.
            update_rate: The period at which to look, in seconds or as a duration.
            queue_size: How many messages may wait, zero for any number.
            node: Whose clock and timer are used.
            msg_stamp_attr: Where the stamp is in a message.
        """
        super().__init__()
        self.delay = _duration(delay)
        self.update_rate = _duration(update_rate)
        self.queue_size = queue_size
        self.node = node
        self.msg_stamp_attrs = msg_stamp_attr.split(".")
        self.last_time = Time()
        self.lock = threading.Lock()
        self.incoming_connection: int | None = None
        self._waiting: list[tuple[int, int, Time, Any]] = []
        self._arrivals = count()
        self.update_timer = node.create_timer(self.update_rate.nanoseconds / 1e9, self._dispatch)
        if input_filter is not None:
            self.connectInput(input_filter)

    def connectInput(self, input_filter: SimpleFilter) -> None:
        """Take the output of a filter as input.

        Raises:
            RuntimeError: There is one already.
        """
        if self.incoming_connection is not None:
            raise RuntimeError("Already connected: a TimeSequencer has one input")
        self.incoming_connection = input_filter.registerCallback(self._add)

    def shutdown(self) -> None:
        """Stop the timer; what still waits is not given out."""
        self.update_timer.cancel()
        self.node.destroy_timer(self.update_timer)

    def _add(self, msg: Any) -> None:
        stamp = self._stamp(msg)
        if stamp is None:
            self.node.get_logger().warning(
                f"Dropped a message that has no {'.'.join(self.msg_stamp_attrs)}.")
            return
        with self.lock:
            if stamp.nanoseconds < self.last_time.nanoseconds:
                return
            # The number of the arrival keeps equal stamps in order and messages uncompared.
            insort(self._waiting, (stamp.nanoseconds, next(self._arrivals), stamp, msg))
            if self.queue_size and len(self._waiting) > self.queue_size:
                del self._waiting[0]

    def _stamp(self, msg: Any) -> Time | None:
        value = msg
        for attribute in self.msg_stamp_attrs:
            if not hasattr(value, attribute):
                return None
            value = getattr(value, attribute)
        if not isinstance(value, TimeMsg):
            raise TypeError(f"{'.'.join(self.msg_stamp_attrs)} of a {type(msg).__name__} is a "
                            f"{type(value).__name__}, expected a builtin_interfaces Time")
        return Time.from_msg(value)

    def _dispatch(self) -> None:
        due = []
        with self.lock:
            while self._waiting:
                _, _, stamp, msg = self._waiting[0]
                if stamp + self.delay > self.node.get_clock().now():
                    break
                del self._waiting[0]
                self.last_time = stamp
                due.append(msg)
        for msg in due:
            self.signalMessage(msg)


def _duration(value: Duration | float) -> Duration:
    return value if isinstance(value, Duration) else Duration(seconds=value)
