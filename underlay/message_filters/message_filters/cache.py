"""A filter that remembers."""

from __future__ import annotations

from typing import Any

from rclpy.time import Time

from .simple_filter import SimpleFilter
from .stamps import arrival_time, has_stamp, header_time, warn_headerless


class Cache(SimpleFilter):
    """Keeps the messages that came last, passes each on, and is asked for them by time.

    The messages stay in the order in which they came, also where their stamps are in another; every
    question goes by that order.

    Attributes:
        cache_size: How many messages are kept.
        cache_msgs: The messages, the oldest arrival first.
        cache_times: Their times.
        allow_headerless: Whether messages without a stamp are taken, with their time of arrival.
    """

    def __init__(self, f: SimpleFilter, cache_size: int = 1,
                 allow_headerless: bool = False) -> None:
        super().__init__()
        self.cache_size = cache_size
        self.allow_headerless = allow_headerless
        self.cache_msgs: list[Any] = []
        self.cache_times: list[Time] = []
        self.connectInput(f)

    def connectInput(self, f: SimpleFilter) -> None:
        """Remember the output of ``f``, besides what was connected before."""
        self.incoming_connection = f.registerCallback(self.add)

    def add(self, msg: Any) -> None:
        """Remember a message and pass it on."""
        if has_stamp(msg):
            time = header_time(msg)
        elif self.allow_headerless:
            time = arrival_time()
        else:
            warn_headerless("message_filters_cache")
            return
        self.cache_times.append(time)
        self.cache_msgs.append(msg)
        if len(self.cache_msgs) > self.cache_size:
            self.cache_msgs.pop(0)
            self.cache_times.pop(0)
        self.signalMessage(msg)

    def getInterval(self, from_stamp: Time, to_stamp: Time) -> list[Any]:
        """The messages from one time to another, both included, in order of arrival.

        Raises:
            AssertionError: The interval ends before it begins.
        """
        if not from_stamp <= to_stamp:
            raise AssertionError(f"getInterval from {from_stamp} to {to_stamp}: ends before it "
                                 "begins, give the earlier time first")
        return [msg for time, msg in zip(self.cache_times, self.cache_msgs)
                if from_stamp <= time <= to_stamp]

    def getElemAfterTime(self, stamp: Time) -> Any | None:
        """Of the messages at or after a time, the one that came first; None where none is."""
        return next((msg for time, msg in zip(self.cache_times, self.cache_msgs)
                     if time >= stamp), None)

    def getElemBeforeTime(self, stamp: Time) -> Any | None:
        """Of the messages at or before a time, the one that came last; None where none is."""
        return next((msg for time, msg in zip(reversed(self.cache_times),
                                              reversed(self.cache_msgs)) if time <= stamp), None)

    def getLatestTime(self) -> Time | None:
        """The time of the message that came last."""
        return self.cache_times[-1] if self.cache_times else None

    def getLastestTime(self) -> Time | None:
        """``getLatestTime`` by the name it has before Kilted."""
        return self.getLatestTime()

    def getOldestTime(self) -> Time | None:
        """The time of the message that came first of those kept."""
        return self.cache_times[0] if self.cache_times else None

    def getLast(self) -> Any | None:
        """The first arrival that is not older than the last arrival: where stamps rise, the last.

        None where nothing has come yet.
        """
        latest = self.getLatestTime()
        return None if latest is None else self.getElemAfterTime(latest)
