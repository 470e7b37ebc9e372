"""The node's parameters: declared with a meaning and a range, checked together, handed out whole.

Structural ones are read once, into `NodeConfig`, and are read-only. The others may change while
driving (see `run_time`): a change is checked as a whole against all the rest and against the
network, and takes effect as one new `Controls` with the next frame; a change that is refused leaves
everything as it was.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from aqr_perception.recordings.rig import NUSCENES_CAMERAS
from aqr_perception.ros.parameter_spec import Spec, declare
from aqr_perception.ros.run_time import (
    RUN_TIME,
    camera_gain,
    completed,
    completed_start,
    controls_of,
)
from aqr_perception.ros.synchronization import SyncConfig, declared
from aqr_perception.types import MODEL_LIDAR_HEIGHT, Controls, Mounting, SweepSettings

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
        lidar_frame_id: tf frame of the LiDAR while no cloud has come; empty: not known until then.
        sync: How messages are made into sets.
        output_frame: tf frame that results are given in; empty: the LiDAR's.
        sweeps: How sweeps of the LiDAR are joined.
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
    lidar_frame_id: str
    sync: SyncConfig
    output_frame: str = ""
    sweeps: SweepSettings = field(default_factory=SweepSettings)

    def __post_init__(self) -> None:
        if self.image_transport not in IMAGE_TRANSPORTS:
            raise ValueError(f"image_transport is '{self.image_transport}'; expected raw or "
                             "compressed")
        if not self.cameras or not all(self.cameras) or (
                len(set(self.cameras)) != len(self.cameras)):
            raise ValueError(f"cameras is {list(self.cameras)}; expected at least one name, "
                             "each once")
        if reserved := {"lidar", "camera"} & set(self.cameras):
            raise ValueError(f"cameras names '{min(reserved)}', but gain.{min(reserved)} means "
                             "something else; expected another name")
        if not self.intensity_field:
            raise ValueError("lidar.intensity_field is empty; expected the name of a field")


STRUCTURAL = (
    Spec("autostart", True, "Configure and activate by itself at the start"),
    Spec("weights", "", "File of weights (.safetensors); empty: those that ship with the package"),
    Spec("device", "auto", "Where the network runs: auto (a GPU if there is one), cpu, cuda or "
                           "cuda:N"),
    Spec("cameras", list(NUSCENES_CAMERAS), "Names of the cameras; the i-th is read from "
                                            "~/input/image{i} and ~/input/camera_info{i}"),
    Spec("image_transport", "raw", "raw (sensor_msgs/Image) or compressed "
                                   "(sensor_msgs/CompressedImage on <image topic>/compressed)"),
    Spec("lidar.forward_axis", "y", "Axis of the LiDAR frame that points forward: x (REP-103) or "
                                    "y (nuScenes)"),
    Spec("lidar.height", MODEL_LIDAR_HEIGHT, "Height of the LiDAR frame's origin above the ground "
                                             "[m]; 0 for a cloud in a ground frame",
         (-10.0, 10.0)),
    Spec("lidar.intensity_max", 255.0, "Value of the cloud's intensity that means full",
         (1e-6, 1e9)),
    Spec("lidar.intensity_field", "intensity", "Name of the cloud's intensity field"),
    Spec("lidar.sweeps", SweepSettings().count,
         "Sweeps that are joined to one cloud, the newest and those before it, by the car's motion "
         "in fixed_frame; 1: each alone. As in the training", (1, 10)),
    Spec("lidar.sweep_interval", SweepSettings().interval_s,
         "Wanted time between those sweeps [s]; of a faster LiDAR the nearest are taken",
         (0.02, 1.0)),
    Spec("lidar.frame_id", "", "tf frame of the LiDAR, for detections before the first cloud came; "
                               "empty: until then there are none"),
    Spec("fixed_frame", "odom", "tf frame that does not move with the car; joins the stamps of "
                                "LiDAR and cameras. Empty, or without such a frame in tf: the "
                                "rig's static transforms alone"),
    Spec("output_frame", "", "tf frame of detections, velocities and markers, z up; empty: the "
                             "LiDAR's. A frame whose stamp tf does not know in time is dropped"),
    Spec("tf.timeout", 0.2, "Longest wait for the transforms of a frame [s]", (0.0, 5.0)),
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
            declare(node, spec, read_only=True)
        self.config = _read_config(node)
        run_time = (*RUN_TIME, *map(camera_gain, self.config.cameras))
        self._names = [spec.name for spec in run_time]
        for spec in run_time:
            declare(node, spec, read_only=False)
        self._check_network: Callable[[Controls], None] = _any_will_do
        node.set_parameters(_as_parameters(completed_start(self._values())))
        self._controls = controls_of(self._values(), self.config.cameras)
        _warn_of_unknown(node)
        self._completes_before = hasattr(node, "add_pre_set_parameters_callback")
        node.add_on_set_parameters_callback(self._check)
        if self._completes_before:  # from ROS 2 Iron on
            node.add_pre_set_parameters_callback(self._complete)
            node.add_post_set_parameters_callback(self._apply)

    @property
    def controls(self) -> Controls:
        """The values in force, as one snapshot that never changes."""
        return self._controls

    def hold_to(self, check: Callable[[Controls], None]) -> None:
        """Refuse from now on what a network cannot do.

        Args:
            check: Raises ValueError with the reason.

        Raises:
            ValueError: It cannot do what is set already.
        """
        check(self._controls)
        self._check_network = check

    def hold_to_none(self) -> None:
        """No network is loaded: its limits no longer apply."""
        self._check_network = _any_will_do

    def _values(self) -> dict[str, Any]:
        return {name: self._node.get_parameter(name).value for name in self._names}

    def _complete(self, changes: list[Parameter]) -> list[Parameter]:
        """Add what follows from a change, before it is checked."""
        change = {parameter.name: parameter.value for parameter in changes}
        try:
            whole = completed(self._values(), change)
        except ValueError:  # `_check` says why
            return changes
        return [*changes, *_as_parameters({name: value for name, value in whole.items()
                                           if name not in change})]

    def _check(self, changes: list[Parameter]) -> SetParametersResult:
        change = {parameter.name: parameter.value for parameter in changes}
        current = self._values()
        try:
            whole = completed(current, change)
            accepted = controls_of({**current, **whole}, self.config.cameras)
            self._check_network(accepted)
        except (TypeError, ValueError) as error:
            return SetParametersResult(successful=False, reason=str(error))
        if not self._completes_before:
            if len(whole) > len(change):  # what is added is set here, all of it together
                return self._node.set_parameters_atomically(_as_parameters(whole))
            self._controls = accepted
        return SetParametersResult(successful=True)

    def _apply(self, changes: list[Parameter]) -> None:
        self._controls = controls_of(self._values(), self.config.cameras)


def _warn_of_unknown(node: Node) -> None:
    """A misspelled name in a file or on the command line would else be taken without a word."""
    given = getattr(node, "_parameter_overrides", {})  # rclpy has no public way to ask
    unknown = sorted(name for name in given
                     if not node.has_parameter(name) and not name.startswith("qos_overrides."))
    known = list(node.get_parameters_by_prefix(""))
    for name in unknown:
        close = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {close[0]}?" if close else " (see config/perception.yaml)"
        node.get_logger().warning(f"the detector has no parameter '{name}', so that what is set "
                                  f"there has no effect{hint}")


def _any_will_do(controls: Controls) -> None:
    """Stands for a network while none is loaded."""


def _as_parameters(values: Mapping[str, Any]) -> list[Parameter]:
    return [Parameter(name, value=value) for name, value in values.items()]


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
        lidar_frame_id=values["lidar.frame_id"],
        sync=declared(node, tuple(values["cameras"])),
        output_frame=values["output_frame"],
        sweeps=SweepSettings(values["lidar.sweeps"], values["lidar.sweep_interval"]))
