"""The node's subscriptions, and the sets that they are made into."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.qos import QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from aqr_perception.ros.calibration import CameraModels
from aqr_perception.ros.conversions import stamp_to_ns
from aqr_perception.ros.parameters import NodeConfig
from aqr_perception.ros.synchronization import set_maker
from aqr_perception.runtime.restart import RestartWatch
from aqr_perception.runtime.synchronizer import LIDAR, SampleSet

DATA_QOS = QoSProfile(depth=2, reliability=ReliabilityPolicy.BEST_EFFORT)
"""As sensor data: matches best-effort and reliable publishers; of large messages the newest two."""
INFO_QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


def input_topic(node: Node, name: str, defaults: Mapping[str, str]) -> str:
    """Full name of the topic of an input, after remapping.

    Args:
        node: The node.
        name: ``pointcloud``, ``image{i}`` or ``camera_info{i}``: below ``~/input/``.
        defaults: Where an input that is not remapped comes from instead, by name.
    """
    private = f"~/input/{name}"
    topic = node.resolve_topic_name(private)
    if name in defaults and topic == node.resolve_topic_name(private, only_expand=True):
        return defaults[name]
    return topic


class Inputs:
    """Subscribes to the cloud, the images and their camera_info while it lives.

    Image i comes from ``~/input/image{i}``, or, compressed, from ``/compressed`` below the name
    that this one is remapped to. QoS can be overridden by ROS 2's ``qos_overrides`` parameters.

    Attributes:
        topics: (S,) the resolved names, the LiDAR's first.
        received: (S,) messages so far.
    """

    def __init__(self, node: Node, config: NodeConfig, cameras: CameraModels,
                 default_topics: Mapping[str, str], on_set: Callable[[SampleSet], None],
                 on_bad: Callable[[str], None]) -> None:
        """Subscribe.

        Args:
            node: The subscriptions are its.
            config: Cameras, transport and synchronisation.
            cameras: Told of each CameraInfo.
            default_topics: Names that take the place of ``~/input/...`` unless remapped.
            on_set: Called with each set, in order.
            on_bad: Called with the reason why a message is not taken.
        """
        self._node = node
        self._on_set = on_set
        self._on_bad = on_bad
        self._sets = set_maker(config.sync)
        compressed = config.image_transport == "compressed"
        image_type = CompressedImage if compressed else Image
        suffix = "/compressed" if compressed else ""
        self.topics = [input_topic(node, "pointcloud", default_topics), *(
            input_topic(node, f"image{index}", default_topics) + suffix
            for index in range(len(config.cameras)))]
        self.received = [0] * len(self.topics)
        self._rounds = RestartWatch(len(self.topics))
        self._asked_at = list(self.received)
        self._due_ns: int | None = None
        self._timer = node.create_timer(
            1.0, self._poll, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._timer.cancel()  # set when a set waits for the clock
        self._subscriptions = [
            self._subscribe(PointCloud2 if sensor == LIDAR else image_type, topic, DATA_QOS,
                            functools.partial(self._take, sensor))
            for sensor, topic in enumerate(self.topics)]
        self._subscriptions += [
            self._subscribe(CameraInfo, input_topic(node, f"camera_info{index}", default_topics),
                            INFO_QOS, functools.partial(cameras.update, index))
            for index in range(len(config.cameras))]

    def silent_topics(self) -> list[str]:
        """Topics that no message has come on since this was last asked."""
        silent = [topic for topic, now, before in zip(self.topics, self.received, self._asked_at)
                  if now == before]
        self._asked_at = list(self.received)
        return silent

    def clear(self) -> None:
        """Forget all that waits: the clock went back."""
        self._rounds = RestartWatch(len(self.topics))
        self._sets.clear()
        self._poll()

    def close(self) -> None:
        """Destroy the subscriptions."""
        self._node.destroy_timer(self._timer)
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def _subscribe(self, message_type: type, topic: str, qos: QoSProfile,
                   callback: Callable[[Any], None]) -> Any:
        return self._node.create_subscription(
            message_type, topic, callback,
            QoSProfile(depth=qos.depth, reliability=qos.reliability),
            qos_overriding_options=QoSOverridingOptions(
                [QoSPolicyKind.RELIABILITY, QoSPolicyKind.DEPTH]))

    def _take(self, sensor: int, message: Any) -> None:
        self.received[sensor] += 1
        stamp_ns = stamp_to_ns(message.header.stamp)
        if stamp_ns <= 0:
            self._on_bad(f"a message on {self.topics[sensor]} has the stamp 0; expected the time "
                         "of the measurement")
            return
        now_ns = time.monotonic_ns()
        if self._rounds.starts_again(sensor, stamp_ns, now_ns):
            self._sets.clear()
        self._sets.add(sensor, stamp_ns, message, now_ns)
        self._poll()

    def _poll(self) -> None:
        """Hand on the sets that are due, and wake up when the next one is at the latest."""
        now_ns = time.monotonic_ns()
        for samples in self._sets.poll(now_ns):
            self._on_set(samples)
        due_ns = self._sets.next_due()
        if due_ns is None:
            self._timer.cancel()
        elif due_ns != self._due_ns or self._timer.is_canceled():
            self._timer.timer_period_ns = max(due_ns - now_ns, 1)
            self._timer.reset()
        self._due_ns = due_ns
