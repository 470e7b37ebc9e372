"""The detector as a managed (lifecycle) node, and the process around it."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import rclpy
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions
from tf2_ros import TransformListener

from aqr_perception.ros.detection import DetectionLoop, Pipeline
from aqr_perception.ros.diagnostics import Diagnostics, NodeHealth
from aqr_perception.ros.graph_facts import input_topics
from aqr_perception.ros.interrupt import stop_on_signals
from aqr_perception.ros.outputs import Outputs
from aqr_perception.ros.parameters import NodeConfig, NodeParameters
from aqr_perception.ros.rehearsal import rehearsal_frame
from aqr_perception.ros.transform_buffer import RestartingBuffer
from aqr_perception.runtime import garbage

SPIN_S = 0.1
FAILED = 2
PipelineLoader = Callable[[NodeConfig], Pipeline]
DefaultTopics = Callable[[tuple[str, ...]], Mapping[str, str]]
"""From the cameras' names to topics by input, as ``image0``."""


def no_defaults(cameras: tuple[str, ...]) -> Mapping[str, str]:
    """Leave the inputs at ``~/input/...``."""
    return {}


def load_pipeline(config: NodeConfig) -> Pipeline:
    """Load the network and warm it up.

    Raises:
        ValueError: The weights or the device do not fit.
        OSError: The weights cannot be read.
    """
    from aqr_perception.runtime.pipeline import DetectionPipeline  # torch takes seconds to import

    pipeline = DetectionPipeline.load(config.weights, config.device, config.mounting)
    pipeline.warm_up(rehearsal_frame(config.cameras, config.mounting))
    return pipeline


class DetectorNode(LifecycleNode):
    """Six cameras and a LiDAR in, Detection3DArray out.

    ``configure`` loads and warms the network and listens to tf, ``activate`` subscribes and works,
    ``deactivate`` stops, ``cleanup`` frees. Each step undoes only what its counterpart did.

    Attributes:
        parameters: The node's parameters.
        failure: Why it could not be configured, in one line; empty otherwise.
    """

    def __init__(self, load: PipelineLoader = load_pipeline,
                 default_topics: DefaultTopics = no_defaults, **node_arguments: Any) -> None:
        """Declare the parameters.

        Args:
            load: Makes the pipeline.
            default_topics: Gives the topics of inputs that are not remapped.
            node_arguments: As `rclpy.node.Node` takes them, without the name.

        Raises:
            ValueError: A parameter's value does not fit.
        """
        super().__init__("detector", **node_arguments)
        self._load = load
        self._pipeline: Pipeline | None = None
        self._outputs: Outputs | None = None
        self._tf_listener: TransformListener | None = None
        self._loop: DetectionLoop | None = None
        self.failure = ""
        self._tf_buffer = RestartingBuffer()
        self._jumps = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1),
                          on_clock_change=True),
            post_callback=lambda _: self._forget())
        # Last: rclpy destroys the node when a value does not fit, and must find all of the above.
        self.parameters = NodeParameters(self)
        config = self.parameters.config
        self._topics = input_topics(self, config, default_topics(config.cameras))
        self._diagnostics = Diagnostics(self, config, self._topics, self._health)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the network; FAILURE, and one line in the log, where that is not possible."""
        self.failure = ""
        try:
            self._pipeline = self._load(self.parameters.config)
            self.parameters.hold_to(self._pipeline.check)
        except OSError as error:
            self.failure = (f"{error.filename}: {error.strerror}" if error.filename
                            else " ".join(str(error).split()))
        except ValueError as error:
            self.failure = " ".join(str(error).split())
        except Exception as error:  # rclpy would swallow it
            self.failure = f"{type(error).__name__}: {' '.join(str(error).split())}"
            self.get_logger().error(traceback.format_exc().rstrip())
        if self.failure:
            self._pipeline = None
            self.get_logger().error(f"cannot be configured: {self.failure}")
            return TransitionCallbackReturn.FAILURE
        self._tf_listener = TransformListener(self._tf_buffer, self)
        self._outputs = Outputs(self)
        garbage.set_aside()
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Enable the publishers, subscribe, and start to work."""
        assert self._pipeline is not None
        assert self._outputs is not None
        result = super().on_activate(state)
        try:
            self._loop = DetectionLoop(
                self, self.parameters.config, self._pipeline, lambda: self.parameters.controls,
                self._outputs, self._tf_buffer, self._topics, self._diagnostics.show_mode)
        except Exception as error:  # rclpy would swallow it
            self.failure = (f"the inputs cannot be subscribed to: {type(error).__name__}: "
                            f"{' '.join(str(error).split())}")
            self.get_logger().error(traceback.format_exc().rstrip())
            return TransitionCallbackReturn.ERROR
        self._outputs.announce(self.parameters.controls.score_threshold)
        self.get_logger().info("active")
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, and finish the frame at work."""
        self._stop_loop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the network and its device's memory."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free, from any state."""
        self._release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free; the node can be configured again."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        """Stop and free, then take the node off the graph."""
        self._release()
        self._jumps.unregister()
        super().destroy_node()

    def _health(self) -> NodeHealth:
        if self._loop is not None:
            stage = "active"
        else:
            stage = "unconfigured" if self._pipeline is None else "inactive"
        return NodeHealth(stage, self.failure,
                          {} if self._pipeline is None else self._pipeline.facts(),
                          None if self._loop is None else self._loop.health())

    def _forget(self) -> None:
        """The clock went back: what is known of the time before does not fit any more."""
        self._tf_buffer.clear()
        if self._loop is not None:
            self._loop.clear()

    def _stop_loop(self) -> None:
        if self._loop is not None:
            self._loop.close()
            self._loop = None

    def _release(self) -> None:
        self._stop_loop()
        if self._outputs is not None:
            self._outputs.destroy()
            self._outputs = None
        if self._tf_listener is not None:
            self._tf_listener.unregister()
            self._tf_listener = None
        self._tf_buffer.clear()
        if self._pipeline is not None:
            self.parameters.hold_to_none()
            garbage.take_back()
            self._pipeline = None


def run(arguments: Sequence[str] | None = None, load: PipelineLoader = load_pipeline,
        default_topics: DefaultTopics = no_defaults) -> int:
    """Run the node until SIGINT or SIGTERM.

    Args:
        arguments: With ``--ros-args``; None takes the process's.
        load: Makes the pipeline.
        default_topics: Gives the topics of inputs that are not remapped.

    Returns:
        0.

    Raises:
        ValueError: An argument, a parameter, the weights or the device do not fit.
    """
    with stop_on_signals() as stop:
        try:
            rclpy.init(args=None if arguments is None else list(arguments),
                       signal_handler_options=SignalHandlerOptions.NO)
        except RuntimeError as error:  # a remapping or a file of parameters that does not parse
            raise ValueError(f"ROS arguments do not fit: {error}") from None
        try:
            node = DetectorNode(load, default_topics)
            try:
                _start(node)
                _spin(node, stop)
            finally:
                node.destroy_node()
        finally:
            rclpy.try_shutdown()
    return 0


def _start(node: DetectorNode) -> None:
    if not node.parameters.config.autostart:
        node.get_logger().info("waiting to be configured (autostart is false)")
        return
    if node.trigger_configure() != TransitionCallbackReturn.SUCCESS:
        raise ValueError(node.failure)
    if node.trigger_activate() != TransitionCallbackReturn.SUCCESS:
        raise ValueError(node.failure)


def _spin(node: DetectorNode, stop: threading.Event) -> None:
    # One thread: transitions destroy subscriptions, and an executor of several fails when one goes
    # that it is about to wait for.
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while not stop.is_set():
            executor.spin_once(timeout_sec=SPIN_S)
    except ExternalShutdownException:
        pass
    finally:
        executor.shutdown()


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``ros2 run aqr_perception detector``; 2 after one line where input is bad."""
    try:
        return run(arguments)
    except (ValueError, OSError) as error:
        print(f"detector: {' '.join(str(error).split())}", file=sys.stderr)
        return FAILED
