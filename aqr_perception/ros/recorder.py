"""Listens to a detector: what it publishes, how long after the cloud, and where the time went."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2
from sensor_msgs_py.point_cloud2 import read_points
from vision_msgs.msg import Detection3DArray

from aqr_perception.ros.conversions import detections_from_message, stamp_to_ns
from aqr_perception.types import Detections

POLL_S = 0.05
DIAGNOSTICS = "/diagnostics"
LAST_WORD_S = 1.2
"""Diagnostics come once a second: so long after the last frame they know of it [s]."""
JOIN_S = 1.0
"""From a publisher's name in the graph to its first message that arrives, at the longest [s]."""


@dataclass(frozen=True)
class Received:
    """One message of the detector.

    Attributes:
        detections: What it says; velocities NaN where none came.
        latency_ms: From the arrival of the cloud of the same stamp at this process to its arrival;
            None where the cloud was not seen.
    """

    detections: Detections
    latency_ms: float | None


def stage_times(message: DiagnosticArray) -> dict[str, tuple[float, float, float]]:
    """Median, 90th and 99th percentile [ms] by stage, from a detector's diagnostics.

    Empty where the message says nothing of latency.
    """
    found = {}
    for status in message.status:
        if not status.name.endswith(": latency"):
            continue
        values = {value.key: value.value for value in status.values}
        for stage in dict.fromkeys(key.partition(".")[0] for key in values):
            p50, p90, p99 = (float(values.get(f"{stage}.{name}_ms", "nan"))
                             for name in ("p50", "p90", "p99"))
            found[stage] = p50, p90, p99
    return found


class Recorder:
    """Subscribes to a cloud and to the detections that come of it; use it in a ``with`` block.

    Args:
        detections_topic: Of the detector's output.
        velocities_topic: Of the cloud of their velocities.
        points_topic: Of the LiDAR's cloud.

    Attributes:
        stages: The detector's newest word on its latency, see `stage_times`.
    """

    def __init__(self, detections_topic: str, velocities_topic: str, points_topic: str) -> None:
        self._node: Node = rclpy.create_node("aqr_recorder", use_global_arguments=False)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._topic = detections_topic
        self._clouds: dict[int, float] = {}
        self._velocities: dict[int, NDArray[np.float32]] = {}
        self._received: list[Received] = []
        self.stages: dict[str, tuple[float, float, float]] = {}
        reliable = QoSProfile(depth=50)
        newest = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._node.create_subscription(Detection3DArray, detections_topic, self._take, reliable)
        self._node.create_subscription(PointCloud2, velocities_topic, self._take_velocities,
                                       reliable)
        self._node.create_subscription(PointCloud2, points_topic, self._note_cloud, newest)
        self._node.create_subscription(DiagnosticArray, DIAGNOSTICS, self._take_stages, 10)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *error: object) -> None:
        self._executor.shutdown()
        self._node.destroy_node()

    def wait_for_detector(self, timeout_s: float, gave_up: Callable[[], bool]) -> bool:
        """Listen until somebody publishes detections, and a little longer: the two must be joined.

        Args:
            timeout_s: Longest wait [s].
            gave_up: Asked meanwhile; True ends the wait.

        Returns:
            Whether somebody does.
        """
        deadline = time.monotonic() + timeout_s
        while not self._node.count_publishers(self._topic):
            if time.monotonic() > deadline or gave_up():
                return False
            self.spin(POLL_S)
        self.spin(JOIN_S)
        return True

    def hear_last_word(self) -> None:
        """Listen until the detector's diagnostics know of the last frame, if it has any."""
        if self._node.count_publishers(DIAGNOSTICS):
            self.spin(LAST_WORD_S)

    def spin(self, seconds: float) -> None:
        """Listen for so long [s]."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=min(left, POLL_S))

    @property
    def complete(self) -> int:
        """How many messages came whose velocities came too."""
        return sum(item.detections.stamp_ns in self._velocities for item in self._received)

    def received(self) -> list[Received]:
        """All that came, with velocities."""
        return [self._with_velocities(item) for item in self._received]

    def _with_velocities(self, item: Received) -> Received:
        boxes = item.detections.boxes
        velocity = self._velocities.get(item.detections.stamp_ns)
        if velocity is None or len(velocity) != len(boxes):
            return item
        return replace(item, detections=replace(item.detections,
                                                boxes=replace(boxes, velocity=velocity)))

    def _take_velocities(self, message: PointCloud2) -> None:
        rows = read_points(message, field_names=("vx", "vy"))
        self._velocities[stamp_to_ns(message.header.stamp)] = np.stack(
            [rows["vx"], rows["vy"]], axis=-1)

    def _take_stages(self, message: DiagnosticArray) -> None:
        self.stages = stage_times(message) or self.stages

    def _note_cloud(self, message: PointCloud2) -> None:
        self._clouds[stamp_to_ns(message.header.stamp)] = time.monotonic()

    def _take(self, message: Detection3DArray) -> None:
        now = time.monotonic()
        detections = detections_from_message(message)
        cloud = self._clouds.get(detections.stamp_ns)
        self._received.append(Received(
            detections, None if cloud is None else (now - cloud) * 1e3))
