"""What runs while the node is active: inputs → newest set → frame → pipeline → outputs."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Protocol

from rclpy.lifecycle import LifecycleNode

from aqr_perception.ros.calibration import CameraModels, RigTransforms
from aqr_perception.ros.calibration_pictures import CalibrationPictures
from aqr_perception.ros.frames import FrameAssembler
from aqr_perception.ros.graph_facts import InputTopics
from aqr_perception.ros.inputs import Inputs
from aqr_perception.ros.output_frame import OutputFrame
from aqr_perception.ros.outputs import Outputs
from aqr_perception.ros.parameters import NodeConfig
from aqr_perception.ros.worker import NewestWorker
from aqr_perception.runtime.aqr_values import values_of_report
from aqr_perception.runtime.health import RunMonitor
from aqr_perception.runtime.latency import LatencyWindow
from aqr_perception.runtime.loop_health import LoopHealth
from aqr_perception.runtime.mode import describe, without_unused
from aqr_perception.runtime.sample_set import SampleSet
from aqr_perception.types import Controls, Detections, SensorFrame

QUIET_S = 5.0
"""Shortest time between two log lines of one kind [s]."""
LONGEST_MS = 60_000.0
"""A result that seems older than this [ms] has a stamp of another clock."""
STOP_S = 30.0
"""Longest wait for the frame at work: a large network on a slow CPU [s]."""


class Result(Protocol):
    """What is needed of a pipeline's result; `runtime.pipeline.FrameResult` is one."""

    detections: Detections
    times: Any
    """A dataclass of milliseconds by stage, as `runtime.pipeline.StageTimes`."""
    aqr: Any
    note: str
    used: tuple[bool, ...]


class Pipeline(Protocol):
    """What is needed of a pipeline; `runtime.pipeline.DetectionPipeline` is one."""

    def __call__(self, frame: SensorFrame, controls: Controls, /) -> Any:
        """Detect objects in one frame; gives a `Result`."""

    def check(self, controls: Controls, /) -> None:
        """Raise ValueError where the network cannot be run so; called from another thread."""

    def facts(self) -> Mapping[str, str]:
        """Device, memory and mode, for diagnostics; called from another thread."""


class DetectionLoop:
    """Subscribes, and works until it is closed.

    Args:
        node: Subscriptions, timers and the log are its.
        config: The rig.
        pipeline: Called from the worker's thread only.
        controls: Gives the snapshot in force; asked once a frame.
        outputs: Where results go.
        tf_buffer: A ``tf2_ros.Buffer`` that listens.
        topics: Where the inputs come from.
        on_mode: Told after each result which sensors took part, in words; from the worker's thread.
    """

    def __init__(self, node: LifecycleNode, config: NodeConfig, pipeline: Pipeline,
                 controls: Callable[[], Controls], outputs: Outputs, tf_buffer: Any,
                 topics: InputTopics, on_mode: Callable[[str], None]) -> None:
        self._log = node.get_logger()
        self._node = node
        self._pipeline = pipeline
        self._controls = controls
        self._outputs = outputs
        self._on_mode = on_mode
        self._names = ("LiDAR", *config.cameras)
        self._stop = threading.Event()
        self._started_ns = time.monotonic_ns()
        self._run = RunMonitor()
        self._latency = LatencyWindow()
        self._aqr: Mapping[str, float] = {}
        cameras = CameraModels(config.cameras)
        transforms = RigTransforms(tf_buffer, config.fixed_frame, config.tf_timeout_s, self._stop)
        self._assembler = FrameAssembler(config, cameras, transforms)
        self._output_frame = OutputFrame(config.output_frame, transforms, config.tf_timeout_s)
        self._worker: NewestWorker[SampleSet] = NewestWorker(
            self._process, self._failed, "aqr_detection")
        self._calibration = CalibrationPictures(outputs, config.mounting, self._log)
        try:
            self._inputs = Inputs(node, config, cameras, topics, self._take, self._drop)
        except BaseException:
            self._end_threads()
            raise

    def clear(self) -> None:
        """Forget what waits for its set: the clock went back."""
        self._inputs.clear()

    def health(self) -> LoopHealth:
        """How it does; from any thread."""
        now_ns = time.monotonic_ns()
        return LoopHealth(
            (now_ns - self._started_ns) * 1e-9,
            tuple(flow.report(now_ns) for flow in self._inputs.flows),
            dict(self._inputs.incompatible), self._inputs.counts, self._inputs.restarts,
            self._worker.passed_over, self._run.report(now_ns), self._latency.summary(), self._aqr,
            self._calibration.report())

    def close(self) -> None:
        """Unsubscribe, let the frame at work finish, and stop."""
        self._stop.set()
        self._inputs.close()
        self._end_threads()
        run = self._run.report(time.monotonic_ns())
        self._log.info(f"{run.results.received} frames processed, {self._worker.passed_over} "
                       f"passed over for a newer one, {run.dropped} dropped")

    def _end_threads(self) -> None:
        if not self._worker.stop(STOP_S):
            self._log.error(f"the frame at work did not finish within {STOP_S:g} s")
        self._calibration.close()
        self._assembler.close()

    def _take(self, samples: SampleSet) -> None:
        self._run.set_came(time.monotonic_ns())
        self._worker.submit(samples)

    def _process(self, samples: SampleSet) -> None:
        begun_ns = time.monotonic_ns()
        self._run.begin(begun_ns)
        try:
            self._detect(samples, begun_ns)
        finally:
            self._run.end()

    def _detect(self, samples: SampleSet, begun_ns: int) -> None:
        anchor = samples.samples[samples.anchor]
        assert anchor is not None
        assembled = self._assembler.assemble(samples)
        decoded_ns = time.monotonic_ns()
        if self._stop.is_set():
            return
        for note in assembled.notes:
            self._log.warning(note, throttle_duration_sec=QUIET_S)
        controls = self._controls()
        result = self._pipeline(assembled.frame, controls)
        sensors = without_unused(assembled.sensors, result.used)
        self._run.assembled(sensors)
        if problems := "; ".join(use.problem for use in sensors if use.problem):
            self._log.warning(f"left out of the frame: {problems}", throttle_duration_sec=QUIET_S)
        if result.note:  # no boxes since nothing could be seen is not the same as an empty road
            self._drop(result.note)
            return
        ready_ns = time.monotonic_ns()
        self._outputs.publish(self._output_frame.express(result.detections), controls)
        published_ns = time.monotonic_ns()
        self._note_times(samples, {
            "wait": (begun_ns - anchor.arrival_ns) * 1e-6, "decode": (decoded_ns - begun_ns) * 1e-6,
            **asdict(result.times), "publish": (published_ns - ready_ns) * 1e-6})
        if result.aqr is not None:
            self._aqr = values_of_report(result.aqr, self._names)
        if self._run.published(samples.stamp_ns, published_ns) == 1:
            self._log.info(f"first frame: {len(result.detections)} detections")
        self._on_mode(describe(sensors))
        self._calibration.offer(assembled.frame)

    def _note_times(self, samples: SampleSet, times_ms: dict[str, float]) -> None:
        whole_ms = (self._node.get_clock().now().nanoseconds - samples.stamp_ns) * 1e-6
        if 0.0 <= whole_ms < LONGEST_MS:  # else the stamps are of another clock
            times_ms["stamp_to_publish"] = whole_ms
        self._latency.add(times_ms)

    def _failed(self, error: Exception) -> None:
        """Drop the frame; a ValueError is an input that does not fit, anything else is a fault."""
        if self._stop.is_set() and isinstance(error, ValueError):
            return  # a wait for tf that the end cut short
        if isinstance(error, ValueError):
            self._drop(str(error))
        else:
            self._drop("".join(traceback.format_exception(error)).rstrip())

    def _drop(self, reason: str) -> None:
        self._log.error(f"frame dropped ({self._run.dropped(reason)} so far): {reason}",
                        throttle_duration_sec=QUIET_S)
