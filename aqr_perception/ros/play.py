"""Recorded messages → DDS at their own pace."""

from __future__ import annotations

import importlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from aqr_perception.ros.messages import ns_to_stamp
from aqr_perception.ros.recorded import SerializedMessage
from aqr_perception.ros.topics import TF, TF_STATIC

READ_AHEAD_BYTES = 1 << 30
"""What is held of a recording: 40 sets of six 1600×900 images."""
CLOCK = "/clock"
CLOCK_PERIOD_S = 0.01
LOOK_S = 0.1
"""How often one who waits for the reader looks whether to stop [s]."""
SETTLE_S = 0.5
"""After the last subscriber was matched, and after the last message: the other side's time [s]."""
ACKNOWLEDGE_S = 5.0
SHORTEST_LOOP_S = 0.1
"""From one start of a loop to the next at least: what a recording of a single frame takes."""
# Without these nothing can be detected, so it is worth waiting for somebody who takes them.
SENSOR_TYPES = ("sensor_msgs/msg/PointCloud2", "sensor_msgs/msg/Image",
                "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/CameraInfo",
                "tf2_msgs/msg/TFMessage")


class ReadAhead:
    """Reads messages in a thread of its own, so far ahead as memory allows.

    Args:
        messages: What is read; an exception of it comes out where the messages are taken.
        stop: Set from elsewhere to wait no longer.
        limit_bytes: How much is held.
    """

    def __init__(self, messages: Iterable[SerializedMessage], stop: threading.Event,
                 limit_bytes: int = READ_AHEAD_BYTES) -> None:
        self._stop = stop
        self._limit_bytes = limit_bytes
        self._changed = threading.Condition()
        self._held: deque[SerializedMessage] = deque()
        self._held_bytes = 0
        self._finished = False
        self._closed = False
        self._error: BaseException | None = None
        threading.Thread(target=self._read, args=(messages,), name="read_ahead",
                         daemon=True).start()

    def wait_filled(self) -> list[SerializedMessage] | None:
        """Wait until as much is held as may be.

        Returns:
            All messages where they fit, for playing them more than once; else None, also where it
            is stopped.
        """
        with self._changed:
            self._wait(lambda: self._finished or self._held_bytes >= self._limit_bytes)
            if self._error is not None:
                raise self._error
            return list(self._held) if self._finished else None

    def _wait(self, ready: Callable[[], bool]) -> None:
        """Until it is ready, or to stop: the event cannot wake who waits, so it is looked at."""
        while not ready() and not self._stop.is_set():
            self._changed.wait(LOOK_S)

    def close(self) -> None:
        """Stop reading."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[SerializedMessage]:
        while True:
            with self._changed:
                self._wait(lambda: bool(self._held) or self._finished)
                if not self._held:
                    if self._error is not None:
                        raise self._error
                    return
                message = self._held.popleft()
                self._held_bytes -= len(message.data)
                self._changed.notify_all()
            yield message

    def _read(self, messages: Iterable[SerializedMessage]) -> None:
        error: BaseException | None = None
        try:
            for message in messages:
                with self._changed:
                    self._changed.wait_for(
                        lambda: self._closed or self._held_bytes < self._limit_bytes)
                    if self._closed:
                        return
                    self._held.append(message)
                    self._held_bytes += len(message.data)
                    self._changed.notify_all()
        except Exception as failure:  # handed to the thread that plays
            error = failure
        finally:
            with self._changed:
                self._error, self._finished = error, True
                self._changed.notify_all()


@dataclass
class PlayReport:
    """What went out: messages by topic, seconds, and how late the worst one was [ms]."""

    messages: dict[str, int]
    seconds: float = 0.0
    late_ms_max: float = 0.0


class Player:
    """Publishes serialized messages.

    Args:
        node: Holds the publishers.
        topics: Message type by topic.
        reliability: Of images, clouds and camera_info: ``reliable``, ``best_effort``, or ``auto``:
            best effort where all who have subscribed by now ask for no more, else reliable. (Fast
            DDS loses large messages from a reliable writer to a best-effort reader on a machine
            that is short of time, and none between two of one kind.)
        stop: Set from elsewhere to end.
        publish_clock: Whether the recording's time goes out on ``/clock``.

    Attributes:
        report: What went out so far.
        left_out: Topics that do not go out, with the reason: their message type is not installed
            here, or it is a recorded ``/clock`` beside the one that is published.
    """

    def __init__(self, node: Node, topics: dict[str, str], reliability: str, stop: threading.Event,
                 publish_clock: bool = False) -> None:
        self._node = node
        self._reliability = reliability
        self._stop = stop
        classes = {topic: message_class_of(message_type) for topic, message_type in topics.items()}
        self._classes = {topic: found for topic, found in classes.items() if found is not None}
        self.left_out = [f"{topic} ({topics[topic]}): its package is not installed"
                         for topic, found in classes.items() if found is None]
        if publish_clock and CLOCK in self._classes:  # two of them would jump to and fro
            del self._classes[CLOCK]
            self.left_out.append(f"{CLOCK}: the recording's own; --clock publishes another")
        self._sensors = _either_form(topic for topic in self._classes
                                     if topics[topic] in SENSOR_TYPES)
        self._publishers: dict[str, Any] = {}
        self._clock = node.create_publisher(Clock, CLOCK, 10) if publish_clock else None
        self.report = PlayReport(dict.fromkeys(topics, 0))

    def wait_for_subscribers(self, timeout_s: float) -> None:
        """Wait until somebody takes each sensor topic; of a raw and a compressed image, either.

        Raises:
            ValueError: Not within the time; names the topics.
        """
        deadline = time.monotonic() + timeout_s
        self._wait_for(self._node.count_subscribers, deadline, timeout_s)
        self._open()
        self._wait_for(lambda topic: self._publishers[topic].get_subscription_count(), deadline,
                       timeout_s)
        self._stop.wait(SETTLE_S)

    def _wait_for(self, count: Callable[[str], int], deadline: float, timeout_s: float) -> None:
        while waiting := [topics[0] for topics in self._sensors if not any(map(count, topics))]:
            if time.monotonic() >= deadline:
                raise ValueError(f"nobody subscribed to {', '.join(waiting)} within {timeout_s:g} s"
                                 ": start the node, or play fewer topics with --topics")
            if self._stop.wait(0.02):
                return

    def _open(self) -> None:
        """Make the publishers."""
        for topic, message_class in self._classes.items():
            if topic not in self._publishers:
                self._publishers[topic] = self._node.create_publisher(
                    message_class, topic, self._qos(topic))

    def _qos(self, topic: str) -> QoSProfile:
        if topic == TF_STATIC:
            return QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE,
                              durability=DurabilityPolicy.TRANSIENT_LOCAL)
        if topic == TF:
            return QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
        asked = {endpoint.qos_profile.reliability
                 for endpoint in self._node.get_subscriptions_info_by_topic(topic)}
        lax = self._reliability == "best_effort" or (
            self._reliability == "auto" and asked == {ReliabilityPolicy.BEST_EFFORT})
        return QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT if lax
                          else ReliabilityPolicy.RELIABLE)

    def play(self, messages: Iterable[SerializedMessage], rate: float) -> None:
        """Publish each message when its time has come; returns early when stopped.

        Args:
            messages: In order of their stamps.
            rate: Seconds of the recording in one second.
        """
        self._open()
        start_s, first_ns = time.monotonic(), None
        for message in messages:
            if first_ns is None:
                first_ns = message.stamp_ns
            due_s = start_s + (message.stamp_ns - first_ns) * 1e-9 / rate
            if not self._wait_until(due_s, message.stamp_ns, rate):
                break
            if message.topic in self._publishers:
                self._publishers[message.topic].publish(message.data)
                self.report.messages[message.topic] += 1
            late_ms = (time.monotonic() - due_s) * 1e3
            self.report.late_ms_max = max(self.report.late_ms_max, late_ms)
        self.report.seconds += time.monotonic() - start_s

    def finish(self) -> None:
        """Stay until reliable subscribers have everything, and the others had time to read."""
        deadline = time.monotonic() + ACKNOWLEDGE_S
        for topic, publisher in self._publishers.items():
            left_s = deadline - time.monotonic()
            # Latched topics are acknowledged with a heartbeat only, seconds after they arrived.
            if topic != TF_STATIC and left_s > 0:
                publisher.wait_for_all_acked(Duration(seconds=left_s))
        self._stop.wait(SETTLE_S)

    def _wait_until(self, due_s: float, stamp_ns: int, rate: float) -> bool:
        """Sleep, and keep the clock running meanwhile; False when stopped."""
        while (left_s := due_s - time.monotonic()) > 0:
            if self._clock is not None:
                self._publish_clock(stamp_ns - int(left_s * rate * 1e9))
                left_s = min(left_s, CLOCK_PERIOD_S)
            if self._stop.wait(left_s):
                return False
        if self._clock is not None:
            self._publish_clock(stamp_ns)
        return not self._stop.is_set()

    def _publish_clock(self, now_ns: int) -> None:
        assert self._clock is not None
        self._clock.publish(Clock(clock=ns_to_stamp(max(now_ns, 0))))


def play_source(player: Player, read: Callable[[], Iterable[SerializedMessage]], rate: float,
                loop: bool, stop: threading.Event, wait_s: float | None) -> None:
    """Play a recording once, or again and again until stopped.

    Args:
        player: Publishes.
        read: Starts to read the recording from its beginning.
        rate: Seconds of the recording in one second.
        loop: Whether to begin again.
        stop: Ends it.
        wait_s: Longest wait for subscribers; None does not wait.

    Raises:
        ValueError: The recording is damaged or empty, or nobody subscribed in time.
    """
    ahead = ReadAhead(read(), stop)
    try:
        kept = ahead.wait_filled()
        if kept is not None and not kept:
            raise ValueError("the recording holds no messages to play")
        if wait_s is not None and not stop.is_set():
            player.wait_for_subscribers(wait_s)
        while not stop.is_set():
            started_s = time.monotonic()
            player.play(ahead if kept is None else kept, rate)
            if not loop:
                break
            stop.wait(max(started_s + _loop_period_s(kept, rate) - time.monotonic(), 0.0))
            if kept is None:
                ahead.close()
                ahead = ReadAhead(read(), stop)
    finally:
        ahead.close()
    player.finish()


def _loop_period_s(kept: Sequence[SerializedMessage] | None, rate: float) -> float:
    """From start to start: the recording's length and one mean step between its clouds more."""
    if kept is None:
        return 0.0  # long: what it took to play is period enough
    clouds = [message.stamp_ns for message in kept
              if message.message_type == "sensor_msgs/msg/PointCloud2"]
    length_s = (kept[-1].stamp_ns - kept[0].stamp_ns) * 1e-9
    step_s = (clouds[-1] - clouds[0]) * 1e-9 / (len(clouds) - 1) if len(clouds) > 1 else 0.0
    return max((length_s + step_s) / rate, SHORTEST_LOOP_S)


def message_class_of(message_type: str) -> type | None:
    """Python class of ``package/msg/Name``; None where the package is not installed."""
    package, kind, name = message_type.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.{kind}"), name, None)
    except ImportError:
        return None



def _either_form(topics: Iterable[str]) -> list[list[str]]:
    """Group a raw image with its compressed form: of the two, one is taken."""
    groups: dict[str, list[str]] = {}
    for topic in topics:
        groups.setdefault(topic.removesuffix("/compressed"), []).append(topic)
    return list(groups.values())
