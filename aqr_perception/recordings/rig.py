"""What a rig is: its cameras' names and how its LiDAR is mounted. One YAML says so to everybody.

The file is a ROS 2 parameter file, so the node loads the same one that the offline commands read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from aqr_perception.types import Mounting

NUSCENES_CAMERAS = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_FRONT_LEFT", "CAM_BACK", "CAM_BACK_LEFT",
                    "CAM_BACK_RIGHT")
LARGEST_FILE = 1 << 20
"""Bytes; parameters are a few thousand."""


@dataclass(frozen=True)
class Rig:
    """A vehicle's sensors.

    Attributes:
        camera_names: In the order of the network's views.
        mounting: How the LiDAR frame lies to the model frame.
        intensity_max: Intensity that the driver gives for full reflection; None takes what a
            recording says itself, else 255.
    """

    camera_names: tuple[str, ...] = NUSCENES_CAMERAS
    mounting: Mounting = field(default_factory=Mounting)
    intensity_max: float | None = None

    def __post_init__(self) -> None:
        if len(set(self.camera_names)) != len(self.camera_names) or not all(self.camera_names):
            raise ValueError(f"cameras is {list(self.camera_names)}; expected different names")
        if self.intensity_max is not None and not 0 < self.intensity_max <= 1e6:
            raise ValueError(f"lidar.intensity_max is {self.intensity_max}; expected above 0")


def load_rig(path: str | Path) -> Rig:
    """Read a rig from a ROS 2 parameter file; parameters that are not the rig's are passed over.

    Raises:
        OSError: There is no such file.
        ValueError: It is no parameter file, or a value does not fit.
    """
    path = Path(path)
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"{path}: is {path.stat().st_size} bytes; expected a parameter file")
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is not YAML: {' '.join(str(error).split())}") from None
    try:
        return rig_from_parameters(_flattened(_parameters(document)))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def rig_from_parameters(parameters: Mapping[str, Any]) -> Rig:
    """Build a rig from flat parameter names; what is not given has its default.

    Raises:
        ValueError: A value is of the wrong kind or out of range.
    """
    default = Rig()
    cameras = parameters.get("cameras", list(default.camera_names))
    if not isinstance(cameras, list) or not all(isinstance(name, str) for name in cameras):
        raise ValueError(f"cameras is {cameras!r}; expected a list of names")
    height = _number(parameters, "lidar.height", default.mounting.height)
    intensity = parameters.get("lidar.intensity_max")
    mounting = Mounting(str(parameters.get("lidar.forward_axis", default.mounting.forward_axis)),
                        height)
    return Rig(tuple(cameras), mounting,
               None if intensity is None else _number(parameters, "lidar.intensity_max", 0.0))


def _parameters(document: Any) -> Mapping[str, Any]:
    """What stands below ``ros__parameters`` of every node named in the file."""
    merged: dict[str, Any] = {}
    nodes = document.values() if isinstance(document, Mapping) else ()
    for node in nodes:
        if isinstance(node, Mapping) and isinstance(node.get("ros__parameters"), Mapping):
            merged |= node["ros__parameters"]
    if not merged:
        raise ValueError("has no 'ros__parameters' below a node's name; expected a ROS 2 "
                         "parameter file such as config/nuscenes.yaml")
    return merged


def _flattened(parameters: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested names become dotted ones, as rcl does."""
    flat: dict[str, Any] = {}
    for key, value in parameters.items():
        if isinstance(value, Mapping):
            flat |= _flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _number(parameters: Mapping[str, Any], name: str, default: float) -> float:
    value = parameters.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} is {value!r}; expected a number")
    return float(value)
