"""How many complete sets of six images and a cloud arrive over DDS, and how fast.

One process publishes, another receives through an ApproximateTimeSynchronizer, as the node does.
What decides is whether the middleware is given enough shared memory: see ``config/fastdds.xml``.
"""

from __future__ import annotations

import array
import multiprocessing
import os
import signal
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import rclpy
from message_filters import ApproximateTimeSynchronizer, SimpleFilter
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image, PointCloud2, PointField
from sensor_msgs_py.point_cloud2 import create_cloud

from aqr_perception.ros.conversions import stamp_to_ns
from aqr_perception.ros.messages import header_of

CAMERAS, WIDTH, HEIGHT, POINTS = 6, 1600, 900, 34_720
TOPICS = ("pointcloud", *(f"image{index}" for index in range(CAMERAS)))
NODE_NAME = "check_transport"
MATCH_S, SETTLE_S = 30.0, 1.0
PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
"""The second is the name that Fast DDS 2 knows (ROS 2 Humble and Jazzy)."""


@dataclass(frozen=True)
class TransportReport:
    """What was measured.

    Attributes:
        sets_sent: Sets of seven messages that were published.
        sets_arrived: Of these, those that came complete.
        latency_ms_p50: From the stamp, taken before publishing, to the callback of the complete
            set; None when none came.
        latency_ms_p95: The same.
        lost: Messages that did not come, by topic.
        rate_hz: Sets a second, as asked for.
        sender_late_ms_max: How late the sender itself was at worst: above one period, it and not
            the transport was too slow.
        reliability: Of publisher and subscriber.
        middleware: The RMW implementation.
        profile: The Fast DDS profile in force, or empty.
    """

    sets_sent: int
    sets_arrived: int
    latency_ms_p50: float | None
    latency_ms_p95: float | None
    lost: dict[str, int]
    rate_hz: float
    sender_late_ms_max: float
    reliability: str
    middleware: str
    profile: str


def profile_in_force() -> str:
    """Path of the Fast DDS profile that processes of this environment load; empty if none."""
    for variable in PROFILE_VARIABLES:
        path = os.environ.get(variable, "")
        if path and Path(path).is_file():
            return path
    return ""


def check_transport(sets: int, rate_hz: float, reliability: str) -> TransportReport:
    """Measure.

    Args:
        sets: How many sets to send.
        rate_hz: Sets a second.
        reliability: ``best_effort`` or ``reliable``.

    Raises:
        ValueError: Publisher and subscriber do not find each other, or one of them failed.
    """
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    receiver = spawn.Process(target=_receive, args=(there, reliability), daemon=True)
    receiver.start()
    there.close()
    try:
        _expect(here, receiver, MATCH_S)
        late_ms = _send(sets, rate_hz, reliability)
        here.send("finish")
        arrived, latencies, received, middleware = _expect(here, receiver, MATCH_S)
        receiver.join(5.0)
    finally:
        receiver.kill()
    p50, p95 = np.percentile(latencies, [50, 95]).tolist() if latencies else (None, None)
    return TransportReport(
        sets_sent=sets, sets_arrived=arrived, latency_ms_p50=p50, latency_ms_p95=p95,
        lost={topic: sets - count for topic, count in zip(TOPICS, received)}, rate_hz=rate_hz,
        sender_late_ms_max=late_ms, reliability=reliability, middleware=middleware,
        profile=profile_in_force())


def _expect(pipe: Connection, process: multiprocessing.process.BaseProcess, timeout_s: float
            ) -> tuple[int, list[float], list[int], str]:
    try:
        if pipe.poll(timeout_s):
            return pipe.recv()
    except EOFError:
        pass
    raise ValueError(f"the receiving process gave no answer (exit code {process.exitcode}); is a "
                     "middleware for ROS 2 installed?")


def _qos(reliability: str) -> QoSProfile:
    return QoSProfile(depth=2, reliability=ReliabilityPolicy[reliability.upper()])


def _send(sets: int, rate_hz: float, reliability: str) -> float:
    """Publish the sets; returns how late the worst one was [ms]."""
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = Node(f"{NODE_NAME}_sender", use_global_arguments=False)
    try:
        qos = _qos(reliability)
        publishers = [node.create_publisher(PointCloud2 if topic == "pointcloud" else Image,
                                            f"/{NODE_NAME}/{topic}", qos) for topic in TOPICS]
        _wait_for_match(publishers)
        messages = [_cloud(), *(_image(index) for index in range(CAMERAS))]
        start, late = time.monotonic() + 0.2, 0.0
        for index in range(sets):
            due = start + index / rate_hz
            time.sleep(max(due - time.monotonic(), 0.0))
            late = max(late, time.monotonic() - due)
            header = header_of(time.time_ns(), "rig")
            for publisher, message in zip(publishers, messages):
                message.header = header
                publisher.publish(message)
        time.sleep(SETTLE_S)
        return late * 1e3
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def _wait_for_match(publishers: list) -> None:
    deadline = time.monotonic() + MATCH_S
    while not all(publisher.get_subscription_count() for publisher in publishers):
        if time.monotonic() > deadline:
            raise ValueError(f"the two processes do not find each other within {MATCH_S:g} s: look "
                             "at ROS_DOMAIN_ID, ROS_AUTOMATIC_DISCOVERY_RANGE and the firewall")
        time.sleep(0.02)
    time.sleep(SETTLE_S)  # the other side must have matched too


def _cloud() -> PointCloud2:
    fields = [PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
              for index, name in enumerate(("x", "y", "z", "intensity"))]
    points = np.random.default_rng(0).normal(0, 20, (POINTS, 4)).astype(np.float32)
    return create_cloud(header_of(0, "rig"), fields, points)


def _image(index: int) -> Image:
    image = Image(height=HEIGHT, width=WIDTH, encoding="bgr8", step=3 * WIDTH)
    image.data = array.array("B", bytes([40 * index]) * (3 * WIDTH * HEIGHT))
    return image


def _receive(pipe: Connection, reliability: str) -> None:
    """Count complete sets until told to finish; runs in its own process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the sender ends it
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = Node(f"{NODE_NAME}_receiver", use_global_arguments=False)
    filters = [SimpleFilter() for _ in TOPICS]
    received = [0] * len(TOPICS)
    latencies: list[float] = []

    def complete(*messages: Image) -> None:
        latencies.append((time.time_ns() - stamp_to_ns(messages[0].header.stamp)) * 1e-6)

    ApproximateTimeSynchronizer(filters, 10, 0.02).registerCallback(complete)

    def take(index: int, message: Image) -> None:
        received[index] += 1
        filters[index].signalMessage(message)

    for index, topic in enumerate(TOPICS):
        node.create_subscription(PointCloud2 if topic == "pointcloud" else Image,
                                 f"/{NODE_NAME}/{topic}",
                                 lambda message, index=index: take(index, message),
                                 _qos(reliability))
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    pipe.send(None)
    try:
        while not pipe.poll():
            executor.spin_once(timeout_sec=0.1)
        pipe.recv()
        pipe.send((len(latencies), latencies, received,
                   rclpy.get_rmw_implementation_identifier()))
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
