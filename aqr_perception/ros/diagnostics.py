"""What the node says of itself: ``/diagnostics`` once a second, and ``~/output/mode``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from std_msgs.msg import String

from aqr_perception.ros import statuses
from aqr_perception.ros.graph_facts import InputTopics, input_facts
from aqr_perception.ros.outputs import LATCHED_QOS
from aqr_perception.ros.parameters import NodeConfig
from aqr_perception.runtime.health import FlowReport
from aqr_perception.runtime.loop_health import LoopHealth
from aqr_perception.runtime.reasons import OutputFacts, why_no_output

PERIOD_S = 1.0
LOG_S = 5.0
"""So long without output until the log says why, and between two lines [s]."""
OUTPUT_S = 2.0
"""A result younger than this, or than so many usual frames, is output [s]."""
OUTPUT_FRAMES = 3.0
NO_OUTPUT = "no output"


@dataclass(frozen=True)
class NodeHealth:
    """What the node tells its diagnostics.

    Attributes:
        stage: ``unconfigured``, ``inactive`` or ``active``.
        failure: Why it could not be configured; empty otherwise.
        model: Facts about the network, by name; empty while none is loaded.
        loop: None while it is not active.
    """

    stage: str
    failure: str = ""
    model: Mapping[str, str] = field(default_factory=dict)
    loop: LoopHealth | None = None


class Diagnostics:
    """Publishes as long as the node lives, in every state of its life cycle.

    Args:
        node: Publishers, timer and log are its.
        config: The rig.
        topics: Where its inputs come from.
        health: Asked once a second.
    """

    def __init__(self, node: Node, config: NodeConfig, topics: InputTopics,
                 health: Callable[[], NodeHealth]) -> None:
        self._node = node
        self._config = config
        self._topics = topics
        self._health = health
        self._names = ("LiDAR", *config.cameras)
        self._mode = ""
        self._mode_lock = threading.Lock()
        self._last_output_s = time.monotonic()
        self._logged_s = 0.0
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._mode_publisher = node.create_publisher(String, "~/output/mode", LATCHED_QOS)
        node.create_timer(PERIOD_S, self._tell, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def show_mode(self, mode: str) -> None:
        """Publish which sensors take part, where that has changed; from any thread."""
        with self._mode_lock:
            if mode != self._mode:
                self._mode = mode
                self._mode_publisher.publish(String(data=mode))

    def _tell(self) -> None:
        health = self._health()
        loop = health.loop
        inputs = input_facts(
            self._node, self._names, self._topics,
            loop.flows if loop else (FlowReport(),) * len(self._names),
            loop.listening_s if loop else None, loop.incompatible if loop else {})
        reasons = []
        if not _has_output(loop):
            reasons = why_no_output(OutputFacts(
                inputs, self._config.sync.complete_only, self._config.sync.spread_s,
                has_sets=loop is not None and (loop.run.set_s or OUTPUT_S) < OUTPUT_S,
                has_results=loop is not None and loop.run.results.received > 0,
                drop=loop.run.drop if loop else "", busy_s=loop.run.busy_s if loop else None,
                stage=health.stage, failure=health.failure))
            self.show_mode(NO_OUTPUT)
        found = [
            *(statuses.of_input(facts, loop.flows[sensor] if loop else FlowReport(),
                                loop.run.sensors[sensor] if loop and loop.run.sensors else None)
              for sensor, facts in enumerate(inputs)),
            statuses.of_output(reasons, health.stage, loop),
            statuses.of_synchronisation(self._config.sync.mode, self._names, loop),
            statuses.of_latency(loop),
            statuses.of_model(health.stage, health.failure, health.model),
            statuses.of_aqr(health.model, loop),
            statuses.of_calibration(loop)]
        for status in found:
            status.name = f"{self._node.get_name()}: {status.name}"
            status.hardware_id = "aqr_perception"
        message = DiagnosticArray(status=found)
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)
        self._log("" if loop is None or not reasons else reasons[0].words)

    def _log(self, reason: str) -> None:
        """Say in the log, too, why an active detector is without output."""
        now_s = time.monotonic()
        if not reason:
            self._last_output_s = now_s
        elif now_s - self._last_output_s >= LOG_S and now_s - self._logged_s >= LOG_S:
            self._logged_s = now_s
            self._node.get_logger().warning(
                f"no output for {now_s - self._last_output_s:.0f} s: {reason}")


def _has_output(loop: LoopHealth | None) -> bool:
    """Whether results come at the pace of the frames."""
    if loop is None or loop.run.results.silent_s is None:
        return False
    frame_s = sum(found.p50 for stage, found in loop.latency.items()
                  if stage != "stamp_to_publish") * 1e-3
    return loop.run.results.silent_s < max(OUTPUT_S, OUTPUT_FRAMES * frame_s)
