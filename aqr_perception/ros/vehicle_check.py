"""Sensors live, die and come back while a detector listens; what it says is written down."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter_client import AsyncParameterClient
from rclpy.qos import QoSProfile
from std_msgs.msg import String
from vision_msgs.msg import Detection3DArray

from aqr_perception.ros.conversions import stamp_to_ns
from aqr_perception.ros.outputs import LATCHED_QOS
from aqr_perception.ros.recorder import DIAGNOSTICS, stage_times
from aqr_perception.ros.sensor_stream import SensorStream
from aqr_perception.runtime.kill_check import Heard, Sensors, VehicleRun, living_in

DETECTOR = "detector"
POLL_S = 0.05
STEADY_S = 3.0
"""Without a fault, before the first kill [s]."""
DEAD_S, ALIVE_S = 1.5, 1.2
"""Shortest time that a sensor is dead, and that all are alive after it [s]."""
SAMPLE_S = 3.0
"""From sample to sample of the detector's memory [s]."""
PATIENCE_S = 10.0
"""Longest wait for the detector to say what is true [s]."""
DEADLINE = "sync.deadline"
"""Parameter of the detector that a bound follows from [s]."""
STEADY_SETS = 8
"""Results before the first kill: from then on the detector knows how the sweeps come."""
MADE, PUBLISHED = ("synchronisation", "sets"), ("output", "published")
PASSED_OVER, DROPPED = ("output", "passed_over"), ("output", "dropped")
"""Status and name of what the detector counts."""


class Listener:
    """Hears the detector's results, who took part in them, and its diagnostics.

    Args:
        is_running: Whether the detector's process runs; asked while listening.

    Attributes:
        outputs: Stamp and arrival of each result [ns].
        modes: Arrival [ns] and words of each change of who takes part.
        diagnostics: The detector's; the newest last.
    """

    def __init__(self, is_running: Callable[[], bool]) -> None:
        self._is_running = is_running
        self._node: Node = rclpy.create_node("aqr_check_vehicle", use_global_arguments=False)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self.outputs: list[tuple[int, int]] = []
        self.modes: list[tuple[int, str]] = []
        self.diagnostics: list[DiagnosticArray] = []
        output = f"/{DETECTOR}/output"
        self._node.create_subscription(
            Detection3DArray, f"{output}/detections", self._take, QoSProfile(depth=50))
        self._node.create_subscription(String, f"{output}/mode", self._take_mode, LATCHED_QOS)
        self._node.create_subscription(
            DiagnosticArray, DIAGNOSTICS, self.diagnostics.append, 10)

    def close(self) -> None:
        """Take it off the graph."""
        self._executor.shutdown()
        self._node.destroy_node()

    def spin_until(self, condition: Callable[[], bool], limit_s: float, least_s: float = 0.0
                   ) -> bool:
        """Listen until something is so.

        Args:
            condition: Asked now and then.
            limit_s: Longest time [s].
            least_s: Shortest time [s].

        Returns:
            Whether it was so at the end.

        Raises:
            ValueError: The detector's process has ended.
        """
        start_s = time.monotonic()
        while (passed_s := time.monotonic() - start_s) < limit_s:
            if passed_s >= least_s and condition():
                return True
            if not self._is_running():
                raise ValueError("the node has ended")
            self._executor.spin_once(timeout_sec=POLL_S)
        return condition()

    def deadline_s(self) -> float:
        """Ask the detector for the value of `DEADLINE` [s].

        Raises:
            ValueError: It does not answer.
        """
        client = AsyncParameterClient(self._node, DETECTOR)
        answers: list[Any] = []

        def answered() -> bool:
            if not answers and client.services_are_ready():
                answers.append(client.get_parameters([DEADLINE]))
            return bool(answers) and answers[0].done()

        if not self.spin_until(answered, PATIENCE_S):
            raise ValueError(f"the detector does not tell its parameters within {PATIENCE_S:g} s")
        return float(answers[0].result().values[0].double_value)

    def hear_diagnostics_at_rest(self) -> DiagnosticArray:
        """Wait for diagnostics that know what became of every set; nothing is sent meanwhile.

        Raises:
            ValueError: None come, or sets stay without an end.
        """
        self.diagnostics.clear()  # one may be on its way that was made before: wait for two
        if not self.spin_until(lambda: len(self.diagnostics) > 1
                               and _is_at_rest(self.diagnostics[-1]), PATIENCE_S):
            raise ValueError("the detector's diagnostics do not account for all of its sets within "
                             f"{PATIENCE_S:g} s")
        return self.diagnostics[-1]

    def _take(self, message: Detection3DArray) -> None:
        self.outputs.append((stamp_to_ns(message.header.stamp), time.monotonic_ns()))

    def _take_mode(self, message: String) -> None:
        self.modes.append((time.monotonic_ns(), message.data))


def run_kills(listener: Listener, stream: SensorStream, cameras: Sequence[str],
              kills: Sequence[Sensors]) -> VehicleRun:
    """Let sensors die and come back, one kill after the other.

    Args:
        listener: Hears the detector.
        stream: Is ready, and sends nothing yet.
        cameras: (V,) their names.
        kills: Which die together.

    Raises:
        ValueError: Nothing comes of the sensors while all are well, or the detector stops.
    """
    whole = frozenset(range(1 + len(cameras)))

    def kill_each() -> None:
        for killed in kills:
            stream.let_live(whole - killed)
            listener.spin_until(_says(listener, cameras, whole - killed), PATIENCE_S, DEAD_S)
            stream.let_live(whole)
            listener.spin_until(_says(listener, cameras, whole), PATIENCE_S, ALIVE_S)

    return _run(listener, stream, cameras, kill_each)


def run_soak(listener: Listener, stream: SensorStream, cameras: Sequence[str], minutes: float,
             memory_mib: Callable[[], float]) -> tuple[VehicleRun, list[tuple[float, float]]]:
    """Let all sensors live, and look at the detector's memory now and then.

    Args:
        listener: Hears the detector.
        stream: Is ready, and sends nothing yet.
        cameras: (V,) their names.
        minutes: How long.
        memory_mib: Gives what the detector's process holds [MiB].

    Returns:
        The run, and the time [s] and memory [MiB] of each sample.

    Raises:
        ValueError: Nothing comes of the sensors, or the detector stops.
    """
    samples: list[tuple[float, float]] = []

    def watch() -> None:
        start_s = time.monotonic()
        while (passed_s := time.monotonic() - start_s) < 60 * minutes:
            samples.append((passed_s, memory_mib()))
            listener.spin_until(lambda: False, min(SAMPLE_S, 60 * minutes - passed_s))
        samples.append((passed_s, memory_mib()))

    return _run(listener, stream, cameras, watch), samples


def _run(listener: Listener, stream: SensorStream, cameras: Sequence[str],
         act: Callable[[], None]) -> VehicleRun:
    """Send until the detector is steady, do something meanwhile, and count up."""
    whole = frozenset(range(1 + len(cameras)))
    says_whole = _says(listener, cameras, whole)
    deadline_s = listener.deadline_s()
    stream.let_live(whole)
    if not listener.spin_until(says_whole, PATIENCE_S):
        words = listener.modes[-1][1] if listener.modes else "nothing"
        raise ValueError(f"with all sensors alive, the detector says '{words}'")
    stream.let_live(frozenset())
    before = listener.hear_diagnostics_at_rest()
    listener.outputs.clear()
    begun_ns = time.monotonic_ns()
    stream.let_live(whole)
    listener.spin_until(lambda: says_whole() and len(listener.outputs) >= STEADY_SETS,
                        PATIENCE_S, STEADY_S)
    act()
    sent = [item for item in stream.finish() if item.sent_ns > begun_ns]
    listener.spin_until(
        lambda: listener.outputs[-1:] != [] and listener.outputs[-1][0] == sent[-1].stamp_ns
        and says_whole(), PATIENCE_S)
    heard = Heard(list(listener.outputs), [mode for mode in listener.modes if mode[0] > begun_ns],
                  time.monotonic_ns())
    after = listener.hear_diagnostics_at_rest()
    passed_over, dropped = (_count(after, *names) - _count(before, *names)
                            for names in (PASSED_OVER, DROPPED))
    stages = stage_times(after)
    if not stages:
        raise ValueError("the detector's diagnostics tell no latency: it is not active any more")
    return VehicleRun(sent, heard, passed_over, dropped, stages, deadline_s)


def _says(listener: Listener, cameras: Sequence[str], alive: Sensors) -> Callable[[], bool]:
    """Whether the detector's last word names just these sensors."""
    return lambda: bool(listener.modes) and living_in(listener.modes[-1][1], cameras) == alive


def _count(message: DiagnosticArray, part: str, name: str) -> int:
    """A number that the detector says of a part of itself."""
    values = {value.key: value.value for status in message.status
              if status.name.endswith(f": {part}") for value in status.values}
    return int(values.get(name, 0))


def _is_at_rest(message: DiagnosticArray) -> bool:
    """Whether it is known what became of every set."""
    return _count(message, *MADE) == sum(
        _count(message, *names) for names in (PUBLISHED, PASSED_OVER, DROPPED))
