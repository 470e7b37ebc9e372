"""Filters that wait until there is a message of every input, and give them out together."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Literal

from rclpy.duration import Duration
from rclpy.time import Time

from .simple_filter import SimpleFilter
from .stamps import arrival_time, has_stamp, header_time, warn_headerless

_Queue = dict[int, Any]


class TimeSynchronizer(SimpleFilter):
    """Gives out messages of equal stamps, one of each input, in the order of the inputs.

    A set makes whatever is older worthless, so this is dropped. Callbacks run while the filter's
    lock is held: one that feeds the same filter waits for ever.

    Attributes:
        queues: For each input, what waits: messages by the nanoseconds of their stamps.
        queue_size: How many messages of an input may wait; the oldest go first.
        lock: Held from a message's arrival to the end of the callbacks that it caused.
    """

    def __init__(self, fs: Sequence[SimpleFilter], queue_size: int) -> None:
        super().__init__()
        self.queue_size = queue_size
        self.lock = threading.Lock()
        self.connectInput(fs)

    def connectInput(self, fs: Sequence[SimpleFilter]) -> None:
        """Listen to filters, with empty queues."""
        self.queues: list[_Queue] = [{} for _ in fs]
        self.input_connections = [
            source.registerCallback(self.add, queue, index)
            for index, (source, queue) in enumerate(zip(fs, self.queues))]

    def add(self, msg: Any, my_queue: _Queue, my_queue_index: int | None = None) -> None:
        """Take a message of one input, and give out the set that it completes."""
        with self.lock:
            stamp = Time.from_msg(msg.header.stamp).nanoseconds
            self._enqueue(my_queue, stamp, msg)
            # Sets go out as soon as they are there, so only the new message can complete one.
            if not all(stamp in queue for queue in self.queues):
                return
            complete = [queue.pop(stamp) for queue in self.queues]
            for queue in self.queues:
                for older in [waiting for waiting in queue if waiting < stamp]:
                    del queue[older]
            self.signalMessage(*complete)

    def _enqueue(self, queue: _Queue, stamp: int, msg: Any) -> None:
        queue[stamp] = msg
        while len(queue) > self.queue_size:
            del queue[min(queue)]


class ApproximateTimeSynchronizer(TimeSynchronizer):
    """Gives out messages whose stamps lie close together, one of each input.

    A new message looks for partners among what waits. Those of an input that are nearest to it come
    first, the first input decides before the second, and the first combination whose stamps all lie
    within less than the slop goes out at once. There is no waiting for a better one, and what is
    older stays until its queue overflows.

    Attributes:
        slop: The bound on the spread of a set's stamps.
        queue_offset: Nanoseconds that are taken off the stamps of each input, or False. As upstream
            has it, a message completes a set only if its own input has no offset.
        allow_headerless: Whether messages without a stamp are taken, with their time of arrival.
        sync_arrival_time: Whether the time of arrival counts in place of every stamp.
    """

    def __init__(self, fs: Sequence[SimpleFilter], queue_size: int, slop: float,
                 queue_offset: Sequence[int] | bool = False, allow_headerless: bool = False,
                 sync_arrival_time: bool = False) -> None:
        """Listen to filters.

        Args:
            fs: The inputs.
            queue_size: How many messages of each may wait.
            slop: Seconds between the earliest and the latest of a set.
            queue_offset: Nanoseconds to take off the stamps of each input. A boolean is what Humble
                and Jazzy have in this place, ``allow_headerless``.
            allow_headerless: Take messages without a stamp, with their time of arrival.
            sync_arrival_time: Go by the time of arrival throughout.
        """
        if isinstance(queue_offset, bool):
            allow_headerless = allow_headerless or queue_offset
        self.slop = Duration(seconds=slop)
        self.queue_offset: Sequence[int] | Literal[False] = (
            False if isinstance(queue_offset, bool) else queue_offset)
        self.allow_headerless = allow_headerless
        self.sync_arrival_time = sync_arrival_time
        super().__init__(fs, queue_size)

    def add(self, msg: Any, my_queue: _Queue, my_queue_index: int | None = None) -> None:
        """Take a message of one input, and give out the set that it completes."""
        if self.sync_arrival_time or (self.allow_headerless and not has_stamp(msg)):
            stamp = arrival_time().nanoseconds
        elif has_stamp(msg):
            stamp = header_time(msg).nanoseconds
        else:
            warn_headerless("message_filters_approx")
            return
        key = stamp
        if my_queue_index is not None and self.queue_offset:
            key -= self.queue_offset[my_queue_index]
        with self.lock:
            self._enqueue(my_queue, key, msg)
            keys = self._find_set(my_queue_index, stamp, key)
            if keys is not None:
                self.signalMessage(*[queue.pop(k) for queue, k in zip(self.queues, keys)])

    def _find_set(self, own: int | None, stamp: int, key: int) -> list[int] | None:
        """Where the set is that a new message completes: a key of each queue.

        Args:
            own: The queue of the new message, or None if it is to be found like the others.
            stamp: The nanoseconds of the new message.
            key: The same, less the offset of its queue.
        """
        slop = self.slop.nanoseconds
        candidates = []
        for index, queue in enumerate(self.queues):
            if index == own:
                # Not the key: that is how an input with an offset never completes a set.
                near = [stamp] if stamp in queue else []
            else:
                near = sorted((waiting for waiting in queue if abs(waiting - key) <= slop),
                              key=lambda waiting: abs(waiting - key))
            if not near:
                return None
            candidates.append(near)
        bounds = None if own is None else (stamp, stamp)
        return _first_within(candidates, slop, bounds)


def _first_within(candidates: list[list[int]], slop: int,
                  bounds: tuple[int, int] | None) -> list[int] | None:
    """The first combination, in lexicographic order, that spreads over less than the slop.

    Args:
        candidates: For each place, what may stand there, the best first.
        slop: The spread that is too much.
        bounds: The least and the greatest of what is chosen already.
    """
    if not candidates:
        return []
    for choice in candidates[0]:
        low, high = (choice, choice) if bounds is None else bounds
        low, high = min(low, choice), max(high, choice)
        if high - low < slop:
            rest = _first_within(candidates[1:], slop, (low, high))
            if rest is not None:
                return [choice, *rest]
    return None
