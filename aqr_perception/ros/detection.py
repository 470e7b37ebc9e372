"""What runs while the node is active: inputs → newest set → frame → pipeline → outputs."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.lifecycle import LifecycleNode

from aqr_perception.ros.calibration import CameraModels, RigTransforms
from aqr_perception.ros.frames import FrameAssembler
from aqr_perception.ros.inputs import Inputs
from aqr_perception.ros.output_frame import OutputFrame
from aqr_perception.ros.outputs import Outputs
from aqr_perception.ros.parameters import NodeConfig
from aqr_perception.ros.worker import NewestWorker
from aqr_perception.runtime.synchronizer import SampleSet
from aqr_perception.types import Controls, Detections, SensorFrame

QUIET_S = 5.0
"""Shortest time between two log lines of one kind, and between two looks at silent inputs [s]."""
STOP_S = 30.0
"""Longest wait for the frame at work: a large network on a slow CPU [s]."""


class Result(Protocol):
    """What is needed of a pipeline's result; `runtime.pipeline.FrameResult` is one."""

    detections: Detections
    note: str


class Pipeline(Protocol):
    """What is needed of a pipeline; `runtime.pipeline.DetectionPipeline` is one."""

    def __call__(self, frame: SensorFrame, controls: Controls, /) -> Any:
        """Detect objects in one frame; gives a `Result`."""

    def check(self, controls: Controls, /) -> None:
        """Raise ValueError where the network cannot be run so; called from another thread."""


class DetectionLoop:
    """Subscribes, and works until it is closed.

    Args:
        node: Subscriptions, timers and the log are its.
        config: The rig.
        pipeline: Called from the worker's thread only.
        controls: Gives the snapshot in force; asked once a frame.
        outputs: Where results go.
        tf_buffer: A ``tf2_ros.Buffer`` that listens.
        default_topics: See `Inputs`.

    Attributes:
        processed: Frames whose detections were published.
        dropped: Sets that could not be made into detections.
    """

    def __init__(self, node: LifecycleNode, config: NodeConfig, pipeline: Pipeline,
                 controls: Callable[[], Controls], outputs: Outputs, tf_buffer: Any,
                 default_topics: Mapping[str, str]) -> None:
        self._log = node.get_logger()
        self._node = node
        self._pipeline = pipeline
        self._controls = controls
        self._outputs = outputs
        self._stop = threading.Event()
        self._last_set_s = time.monotonic()
        self.processed = 0
        self.dropped = 0
        cameras = CameraModels(config.cameras)
        transforms = RigTransforms(tf_buffer, config.fixed_frame, config.tf_timeout_s, self._stop)
        self._assembler = FrameAssembler(config, cameras, transforms)
        self._output_frame = OutputFrame(config.output_frame, transforms, config.tf_timeout_s)
        self._worker: NewestWorker[SampleSet] = NewestWorker(
            self._process, self._failed, "aqr_detection")
        self._inputs = Inputs(node, config, cameras, default_topics, self._take, self._drop)
        self._watch = node.create_timer(
            QUIET_S, self._explain_silence, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def clear(self) -> None:
        """Forget what waits for its set: the clock went back."""
        self._inputs.clear()

    @property
    def passed_over(self) -> int:
        """Sets that a newer one replaced before their turn."""
        return self._worker.passed_over

    def close(self) -> None:
        """Unsubscribe, let the frame at work finish, and stop."""
        self._stop.set()
        self._node.destroy_timer(self._watch)
        self._inputs.close()
        if not self._worker.stop(STOP_S):
            self._log.error(f"the frame at work did not finish within {STOP_S:g} s")
        self._assembler.close()
        self._log.info(f"{self.processed} frames processed, {self.passed_over} passed over for a "
                       f"newer one, {self.dropped} dropped")

    def _take(self, samples: SampleSet) -> None:
        self._last_set_s = time.monotonic()
        self._worker.submit(samples)

    def _process(self, samples: SampleSet) -> None:
        assembled = self._assembler.assemble(samples)
        if self._stop.is_set():
            return
        for note in assembled.notes:
            self._log.warning(note, throttle_duration_sec=QUIET_S)
        if problems := "; ".join(use.problem for use in assembled.sensors if use.problem):
            self._log.warning(f"left out of the frame: {problems}", throttle_duration_sec=QUIET_S)
        controls = self._controls()
        result = self._pipeline(assembled.frame, controls)
        if result.note:  # no boxes since nothing could be seen is not the same as an empty road
            self._drop(result.note)
            return
        self._outputs.publish(self._output_frame.express(result.detections), controls)
        self.processed += 1
        if self.processed == 1:
            self._log.info(f"first frame: {len(result.detections)} detections")

    def _failed(self, error: Exception) -> None:
        """Drop the frame; a ValueError is an input that does not fit, anything else is a fault."""
        if self._stop.is_set() and isinstance(error, ValueError):
            return  # a wait for tf that the end cut short
        if isinstance(error, ValueError):
            self._drop(str(error))
        else:
            self._drop("".join(traceback.format_exception(error)).rstrip())

    def _drop(self, reason: str) -> None:
        self.dropped += 1
        self._log.error(f"frame dropped ({self.dropped} so far): {reason}",
                        throttle_duration_sec=QUIET_S)

    def _explain_silence(self) -> None:
        silent_s = time.monotonic() - self._last_set_s
        silent = self._inputs.silent_topics()
        if silent_s < QUIET_S:
            return
        if len(silent) == len(self._inputs.topics):
            reason = f"nothing comes on any input ({', '.join(silent)})"
        elif silent:
            reason = f"nothing comes on {', '.join(silent)}"
        else:
            reason = "messages come on all, but their stamps do not lie close enough together"
        self._log.warning(f"no set of inputs for {silent_s:.0f} s: {reason}")
