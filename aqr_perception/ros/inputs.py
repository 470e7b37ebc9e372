"""The node's subscriptions, and the sets that they are made into."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.qos import QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from aqr_perception.ros.calibration import CameraModels
from aqr_perception.ros.conversions import stamp_to_ns
from aqr_perception.ros.graph_facts import InputTopics, mismatch_in_words
from aqr_perception.ros.parameters import NodeConfig
from aqr_perception.ros.synchronization import set_maker
from aqr_perception.runtime.health import FlowMonitor
from aqr_perception.runtime.restart import RestartWatch
from aqr_perception.runtime.sample_set import LIDAR, SampleSet
from aqr_perception.runtime.sweeps import KeptSweep, SweepAccumulator
from aqr_perception.runtime.synchronizer import SynchronizerCounts

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # ROS 2 Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

DATA_QOS = QoSProfile(depth=2, reliability=ReliabilityPolicy.BEST_EFFORT)
"""As sensor data: matches best-effort and reliable publishers; of large messages the newest two."""
INFO_QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


class Inputs:
    """Subscribes to the cloud, the images and their camera_info while it lives.

    QoS can be overridden by ROS 2's ``qos_overrides`` parameters.

    Attributes:
        flows: (S,) how the messages of each input come.
        restarts: How often a recording was seen to start again.
    """

    def __init__(self, node: Node, config: NodeConfig, cameras: CameraModels, topics: InputTopics,
                 on_set: Callable[[SampleSet], None], on_bad: Callable[[str], None]) -> None:
        """Subscribe.

        Args:
            node: The subscriptions are its.
            config: Cameras, transport, synchronisation and how sweeps are joined.
            cameras: Told of each CameraInfo.
            topics: Where they come from.
            on_set: Called with each set, in order.
            on_bad: Called with the reason why a message is not taken.

        Raises:
            Exception: Of rclpy, where a topic or a QoS override does not fit; nothing is left
                subscribed.
        """
        self._node = node
        self._on_set = on_set
        self._on_bad = on_bad
        self._sets = set_maker(config.sync)
        self._sweeps = SweepAccumulator(config.sweeps, config.sync.deadline_s)
        self._topics = topics
        self.flows = tuple(FlowMonitor() for _ in topics.data)
        self._mismatches: dict[str, str] = {}
        self.restarts = 0
        self._rounds = RestartWatch(len(topics.data))
        self._due_ns: int | None = None
        self._drained = False
        self._timer = node.create_timer(
            1.0, self._deadline, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._timer.cancel()  # set when a set waits for the clock
        image_type = CompressedImage if config.image_transport == "compressed" else Image
        self._subscriptions: list[Any] = []
        try:
            # An executor takes what is ready in this order: calibration before it is needed.
            for index, topic in enumerate(topics.infos):
                self._subscribe(CameraInfo, topic, INFO_QOS,
                                functools.partial(self._take_info, cameras, index))
            for sensor, topic in enumerate(topics.data):
                self._subscribe(PointCloud2 if sensor == LIDAR else image_type, topic, DATA_QOS,
                                functools.partial(self._take, sensor))
        except BaseException:
            self.close()
            raise

    @property
    def counts(self) -> SynchronizerCounts:
        """Of the synchroniser, since the start."""
        return self._sets.counts

    @property
    def incompatible(self) -> dict[int, str]:
        """Topic, and what of its publisher's QoS does not fit, by sensor; only where nothing comes.

        Of a camera, its images' before its camera_info's.
        """
        found = {}
        for sensor, topic in (*enumerate(self._topics.infos, 1), *enumerate(self._topics.data)):
            if topic in self._mismatches:
                found[sensor] = f"{topic}: {self._mismatches[topic]}"
        return found

    def clear(self) -> None:
        """Forget all that waits: the clock went back."""
        self._rounds = RestartWatch(len(self.flows))
        self._sets.clear()
        self._sweeps.clear()
        self._poll()

    def close(self) -> None:
        """Destroy the subscriptions."""
        self._node.destroy_timer(self._timer)
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def _subscribe(self, message_type: type, topic: str, qos: QoSProfile,
                   callback: Callable[[Any], None]) -> None:
        self._subscriptions.append(self._node.create_subscription(
            message_type, topic, callback,
            QoSProfile(depth=qos.depth, reliability=qos.reliability),
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=functools.partial(self._mismatch, topic)),
            qos_overriding_options=QoSOverridingOptions(
                [QoSPolicyKind.RELIABILITY, QoSPolicyKind.DEPTH])))

    def _mismatch(self, topic: str, event: Any) -> None:
        """A publisher's QoS keeps its messages from coming."""
        words = mismatch_in_words(event.last_policy_kind, topic)
        self._mismatches[topic] = words
        self._node.get_logger().warning(f"nothing will come on {topic}: {words}")

    def _take_info(self, cameras: CameraModels, index: int, message: CameraInfo) -> None:
        self._mismatches.pop(self._topics.infos[index], None)
        cameras.update(index, message)

    def _take(self, sensor: int, message: Any) -> None:
        now_ns = time.monotonic_ns()
        self._mismatches.pop(self._topics.data[sensor], None)
        stamp_ns = stamp_to_ns(message.header.stamp)
        if stamp_ns <= 0:
            reason = "a message has the stamp 0; expected the time of the measurement"
            self.flows[sensor].refuse(reason, now_ns)
            self._on_bad(f"{self._topics.data[sensor]}: {reason}")
            return
        self.flows[sensor].note(stamp_ns, now_ns)
        if self._rounds.starts_again(sensor, stamp_ns, now_ns):
            self.restarts += 1
            for samples in self._sets.flush(now_ns):
                self._hand_on(samples)
            self._sets.clear()
            self._sweeps.clear()
        if sensor == LIDAR:  # kept as it is: who needs its points decodes them
            self._sweeps.keep(KeptSweep(stamp_ns, message=message))
        self._sets.add(sensor, stamp_ns, message, now_ns)
        self._poll()

    def _deadline(self) -> None:
        """The deadline of a set has come: decide in the executor's next round.

        By then the messages that had come in time are taken from the middleware; where the machine
        is short of time, they may wait there for long.
        """
        self._drained = not self._drained
        if self._drained:
            self._wake_after(0)
        else:
            self._poll(expire=True)

    def _poll(self, expire: bool = False) -> None:
        """Hand on the sets that are due, and wake up at the deadline of the next."""
        now_ns = time.monotonic_ns()
        for samples in self._sets.poll(now_ns, expire):
            self._hand_on(samples)
        due_ns = self._sets.next_due()
        if due_ns is None:
            self._timer.cancel()
        elif due_ns != self._due_ns or expire:
            self._drained = False
            self._wake_after(due_ns - now_ns)
        self._due_ns = due_ns

    def _hand_on(self, samples: SampleSet) -> None:
        """Give a set out together with the sweeps before its own."""
        own = samples.samples[LIDAR]
        if own is not None:
            samples = replace(samples, sweeps=self._sweeps.chosen(own.stamp_ns))
        self._on_set(samples)

    def _wake_after(self, delay_ns: int) -> None:
        self._timer.timer_period_ns = max(delay_ns, 1)
        self._timer.reset()
