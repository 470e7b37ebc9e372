"""The node's parameters: declared with a meaning and a range, checked together, handed out whole.

Structural ones are read once, into `NodeConfig`, and are read-only. The others may change while
driving: a change is checked as a whole against all the rest, and takes effect as one new `Controls`
with the next frame; a change that is refused leaves everything as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from aqr_perception.recordings.rig import NUSCENES_CAMERAS
from aqr_perception.types import MODEL_LIDAR_HEIGHT, Controls, Gains, Mounting

IMAGE_TRANSPORTS = ("raw", "compressed")


@dataclass(frozen=True)
class NodeConfig:
    """What the node is built from; fixed while it lives.

    Attributes:
        autostart: Configure and activate without being asked to.
        weights: File of weights; None for those that ship with the package.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        cameras: Names of the cameras; camera i is read from ``~/input/image{i}``.
        image_transport: ``raw`` or ``compressed``.
        mounting: How the LiDAR frame lies to the network's.
        intensity_max: Value of the cloud's intensity that means 1.
        intensity_field: Name of the cloud's intensity field.
        fixed_frame: Frame that does not move with the car; empty for none.
        tf_timeout_s: Longest wait for a transform of a frame [s].
        sync_queue_size: Messages of each input that wait for their set.
        sync_slop_s: Largest spread of the stamps of one set [s].
    """

    autostart: bool
    weights: str | None
    device: str
    cameras: tuple[str, ...]
    image_transport: str
    mounting: Mounting
    intensity_max: float
    intensity_field: str
    fixed_frame: str
    tf_timeout_s: float
    sync_queue_size: int
    sync_slop_s: float

    def __post_init__(self) -> None:
        if self.image_transport not in IMAGE_TRANSPORTS:
            raise ValueError(f"image_transport is '{self.image_transport}'; expected raw or "
                             "compressed")
        if not self.cameras or not all(self.cameras) or (
                len(set(self.cameras)) != len(self.cameras)):
            raise ValueError(f"cameras is {list(self.cameras)}; expected at least one name, "
                             "each once")
        if not self.intensity_field:
            raise ValueError("lidar.intensity_field is empty; expected the name of a field")


@dataclass(frozen=True)
class _Spec:
    """One parameter: name, default, meaning, and smallest and largest value of a number."""

    name: str
    default: Any
    description: str
    limits: tuple[float, float] | None = None

    def descriptor(self, read_only: bool) -> ParameterDescriptor:
        descriptor = ParameterDescriptor(
            name=self.name, description=self.description, read_only=read_only)
        if self.limits and isinstance(self.default, int):
            low, high = self.limits
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high),
                                                     step=1)]
        elif self.limits:
            low, high = self.limits
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        return descriptor


STRUCTURAL = (
    _Spec("autostart", True, "Configure and activate by itself at the start"),
    _Spec("weights", "", "File of weights (.safetensors); empty: those that ship with the package"),
    _Spec("device", "auto", "Where the network runs: auto (a GPU if there is one), cpu, cuda or "
                            "cuda:N"),
    _Spec("cameras", list(NUSCENES_CAMERAS), "Names of the cameras; the i-th is read from "
                                             "~/input/image{i} and ~/input/camera_info{i}"),
    _Spec("image_transport", "raw", "raw (sensor_msgs/Image) or compressed "
                                    "(sensor_msgs/CompressedImage on <image topic>/compressed)"),
    _Spec("lidar.forward_axis", "y", "Axis of the LiDAR frame that points forward: x (REP-103) or "
                                     "y (nuScenes)"),
    _Spec("lidar.height", MODEL_LIDAR_HEIGHT, "Height of the LiDAR frame's origin above the ground "
                                              "[m]; 0 for a cloud in a ground frame",
          (-10.0, 10.0)),
    _Spec("lidar.intensity_max", 255.0, "Value of the cloud's intensity that means full",
          (1e-6, 1e9)),
    _Spec("lidar.intensity_field", "intensity", "Name of the cloud's intensity field"),
    _Spec("fixed_frame", "odom", "tf frame that does not move with the car; joins the stamps of "
                                 "LiDAR and cameras. Empty, or without such a frame in tf: the "
                                 "rig's static transforms alone"),
    _Spec("tf.timeout", 0.2, "Longest wait for the transforms of a frame [s]", (0.0, 5.0)),
    _Spec("sync.queue_size", 10, "Messages of each input that wait for their set", (1, 1000)),
    _Spec("sync.slop", 0.08, "Largest spread of the stamps of one set [s]", (0.0, 10.0)),
)
RUN_TIME = (
    _Spec("score_threshold", 0.1, "Detections with a lower score are left out", (0.0, 1.0)),
    _Spec("max_detections", 300, "Largest number of detections a frame, the best kept", (1, 10000)),
    _Spec("gain.lidar", 1.0, "Say of the LiDAR: 1 as trained, 0 exactly as if it were absent",
          (0.0, 4.0)),
    _Spec("gain.camera", 1.0, "Say of all cameras together: 1 as trained, 0 as if absent",
          (0.0, 4.0)),
    _Spec("modulation.lidar", 1.0, "Say of AQR over the LiDAR: 0 none, 1 as trained", (0.0, 1.0)),
    _Spec("modulation.camera", 1.0, "Say of AQR over the cameras: 0 none, 1 as trained",
          (0.0, 1.0)),
    _Spec("aqr.enabled", True, "False runs the network without AQR"),
)


class NodeParameters:
    """Declares the parameters on a node and follows their changes.

    Attributes:
        config: The structural ones.
    """

    def __init__(self, node: Node) -> None:
        """Declare all parameters.

        Raises:
            ValueError: A value that was given at the start does not fit; names the parameter.
        """
        self._node = node
        for spec in STRUCTURAL:
            _declare(node, spec, read_only=True)
        self.config = _read_config(node)
        self._run_time = (*RUN_TIME, *(
            _Spec(f"gain.{name}", 1.0, f"Say of {name}, times gain.camera", (0.0, 4.0))
            for name in self.config.cameras))
        for spec in self._run_time:
            _declare(node, spec, read_only=False)
        self._controls = self._controls_with([])
        node.add_on_set_parameters_callback(self._check)
        if hasattr(node, "add_post_set_parameters_callback"):
            node.add_post_set_parameters_callback(self._apply)

    @property
    def controls(self) -> Controls:
        """The values in force, as one snapshot that never changes."""
        return self._controls

    def _controls_with(self, changes: Sequence[Parameter]) -> Controls:
        values = {spec.name: self._node.get_parameter(spec.name).value for spec in self._run_time}
        values.update((change.name, change.value) for change in changes if change.name in values)
        return Controls(
            gains=Gains(values["gain.lidar"], values["gain.camera"],
                        {name: values[f"gain.{name}"] for name in self.config.cameras}),
            modulation_lidar=values["modulation.lidar"],
            modulation_camera=values["modulation.camera"],
            aqr_enabled=values["aqr.enabled"],
            score_threshold=values["score_threshold"],
            max_detections=values["max_detections"])

    def _check(self, changes: list[Parameter]) -> SetParametersResult:
        try:
            accepted = self._controls_with(changes)
        except (TypeError, ValueError) as error:
            return SetParametersResult(successful=False, reason=str(error))
        if not hasattr(self._node, "add_post_set_parameters_callback"):  # before ROS 2 Iron
            self._controls = accepted
        return SetParametersResult(successful=True)

    def _apply(self, changes: list[Parameter]) -> None:
        self._controls = self._controls_with(changes)


def _declare(node: Node, spec: _Spec, read_only: bool) -> None:
    try:
        node.declare_parameter(spec.name, spec.default, spec.descriptor(read_only))
    except ParameterException as error:
        limits = f" in {spec.limits[0]:g} to {spec.limits[1]:g}" if spec.limits else ""
        kind = {bool: "true or false", int: "an integer", float: "a number with a point, as 1.0,",
                str: "a text", list: "a list of texts"}[type(spec.default)]
        raise ValueError(f"parameter {spec.name}: expected {kind}{limits} ({error})") from None


def _read_config(node: Node) -> NodeConfig:
    values = {spec.name: node.get_parameter(spec.name).value for spec in STRUCTURAL}
    return NodeConfig(
        autostart=values["autostart"],
        weights=values["weights"] or None,
        device=values["device"],
        cameras=tuple(values["cameras"]),
        image_transport=values["image_transport"],
        mounting=Mounting(values["lidar.forward_axis"], values["lidar.height"]),
        intensity_max=values["lidar.intensity_max"],
        intensity_field=values["lidar.intensity_field"],
        fixed_frame=values["fixed_frame"],
        tf_timeout_s=values["tf.timeout"],
        sync_queue_size=values["sync.queue_size"],
        sync_slop_s=values["sync.slop"])
