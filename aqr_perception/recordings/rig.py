"""What a rig is: its cameras' names and how its LiDAR is mounted. One YAML says so to everybody.

The file is a ROS 2 parameter file, so the node loads the same one that the offline commands read.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from aqr_perception.types import Mounting, SweepSettings

NUSCENES_CAMERAS = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_FRONT_LEFT", "CAM_BACK", "CAM_BACK_LEFT",
                    "CAM_BACK_RIGHT")
PARAMETERS = ("cameras", "lidar.forward_axis", "lidar.height", "lidar.intensity_max",
              "lidar.sweeps", "lidar.sweep_interval")
"""The node's parameters that a rig is made of."""
LARGEST_FILE = 1 << 20
"""Bytes; parameters are a few thousand."""
SLIP_OF_THE_PEN = 0.88
"""Likeness (`difflib`) from which an unknown name is taken for a misspelt one of ours."""


@dataclass(frozen=True)
class Rig:
    """A vehicle's sensors.

    Attributes:
        camera_names: In the order of the network's views.
        mounting: How the LiDAR frame lies to the model frame.
        intensity_max: Intensity that the driver gives for full reflection; None takes what a
            recording says itself, else 255.
        sweeps: How sweeps are joined.
    """

    camera_names: tuple[str, ...] = NUSCENES_CAMERAS
    mounting: Mounting = field(default_factory=Mounting)
    intensity_max: float | None = None
    sweeps: SweepSettings = field(default_factory=SweepSettings)

    def __post_init__(self) -> None:
        names = self.camera_names
        if not names or not all(names) or len(set(names)) != len(names):
            raise ValueError(f"cameras is {list(names)}; expected at least one name, each once")
        if self.intensity_max is not None and not 0 < self.intensity_max <= 1e9:
            raise ValueError(f"lidar.intensity_max is {self.intensity_max}; expected above 0, as "
                             "255.0")

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Rig:
        """Build a rig from flat parameter names; what is not given has its default.

        The other parameters of the node are passed over, but not a misspelt one of the rig's.

        Raises:
            ValueError: A value is of the wrong kind or out of range, or a name is misspelt.
        """
        for name in parameters:
            meant = difflib.get_close_matches(name, PARAMETERS, 1, SLIP_OF_THE_PEN)
            if meant and name not in PARAMETERS:
                raise ValueError(f"there is no parameter {name}; did you mean {meant[0]}?")
        cameras = parameters.get("cameras", list(NUSCENES_CAMERAS))
        if not isinstance(cameras, list) or not all(isinstance(name, str) for name in cameras):
            raise ValueError(f"cameras is {cameras!r}; expected a list of names")
        default = Mounting()
        mounting = Mounting(str(parameters.get("lidar.forward_axis", default.forward_axis)),
                            _number(parameters, "lidar.height", default.height))
        intensity_max = None
        if parameters.get("lidar.intensity_max") is not None:
            intensity_max = _number(parameters, "lidar.intensity_max", 0.0)
        usual = SweepSettings()
        count = _number(parameters, "lidar.sweeps", usual.count)
        if not count.is_integer():
            raise ValueError(f"lidar.sweeps is {count}; expected a whole number")
        sweeps = SweepSettings(
            int(count), _number(parameters, "lidar.sweep_interval", usual.interval_s))
        return cls(tuple(cameras), mounting, intensity_max, sweeps)


def load_rig(path: str | Path) -> Rig:
    """Read a rig from a ROS 2 parameter file; parameters that are not the rig's are passed over.

    Raises:
        OSError: There is no such file.
        ValueError: It is no parameter file, or a value does not fit.
    """
    path = Path(path)
    document = _read(path)
    try:
        return Rig.from_parameters(_parameters(document))
    except RecursionError:
        raise ValueError(f"{path}: holds itself; expected a ROS 2 parameter file") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def check_nodes(path: str | Path, node: str) -> None:
    """Whether a ROS 2 parameter file says anything to a node of this name.

    Raises:
        OSError: There is no such file.
        ValueError: It is no parameter file, or all that stands in it is of other nodes.
    """
    document = _read(Path(path))
    try:
        _parameters(document)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    names = [str(name) for name in document]
    if not any("*" in name or name.rpartition("/")[2] == node for name in names):
        raise ValueError(f"{path}: its parameters are of {', '.join(names)}; expected /** or "
                         f"{node}, as the node is called")


def _read(path: Path) -> Any:
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"{path}: is {path.stat().st_size} bytes; expected a parameter file of at "
                         f"most {LARGEST_FILE}")
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: is not YAML: {' '.join(str(error).split())}") from None


def _parameters(document: Any) -> Mapping[str, Any]:
    """What stands below ``ros__parameters`` of every node named in the file."""
    merged: dict[str, Any] = {}
    nodes = document.values() if isinstance(document, Mapping) else ()
    for node in nodes:
        if isinstance(node, Mapping) and isinstance(node.get("ros__parameters"), Mapping):
            merged |= _flattened(node["ros__parameters"])
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
