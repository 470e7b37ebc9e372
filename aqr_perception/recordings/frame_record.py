"""calib.json of a frame directory, checked: what there is to read, and how it lies to each other.

Matrices are 4×4, row-major; ``A2B`` takes points of frame A into frame B:

    lidar    {file, fields, dtype, timestamp [s], lidar2ego, and where it is known the pose of the
             car: ego2global_at_lidar_time, or of the LiDAR: lidar2world}
    cameras  {name: {file, width, height, timestamp [s], K, distortion, distortion_model,
             lidar2cam, cam2ego}}

``fields`` names the columns; ``intensity(0-255)`` gives the scale. ``lidar2cam`` includes the car's
motion between the two stamps. ``distortion_model`` may be left out: ``plumb_bob``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aqr_perception.geometry import rigid
from aqr_perception.geometry.camera import PinholeCamera
from aqr_perception.image_file import MOST_PIXELS
from aqr_perception.recordings.json_file import read_json

CALIBRATION = "calib.json"


@dataclass(frozen=True)
class LidarRecord:
    """The LiDAR's entry of calib.json.

    Attributes:
        path: Of the points.
        fields: Column names without their ranges: x, y, z, intensity, ring, ...
        intensity_max: Value of full reflection, from a name like ``intensity(0-255)``; None where
            the name does not say.
        stamp_ns: [ns].
        ego_from_lidar: (4, 4).
        world_from_ego: (4, 4) pose of the car at ``stamp_ns``; None where it is not recorded.
    """

    path: Path
    fields: tuple[str, ...]
    intensity_max: float | None
    stamp_ns: int
    ego_from_lidar: rigid.Matrix
    world_from_ego: rigid.Matrix | None


@dataclass(frozen=True)
class CameraRecord:
    """A camera's entry of calib.json.

    Attributes:
        name: E.g. ``CAM_FRONT``.
        path: Of the picture.
        stamp_ns: [ns].
        camera: Lens and size.
        camera_from_lidar: (4, 4), the motion between the stamps included.
        ego_from_camera: (4, 4).
    """

    name: str
    path: Path
    stamp_ns: int
    camera: PinholeCamera
    camera_from_lidar: rigid.Matrix
    ego_from_camera: rigid.Matrix

    def world_from_ego(self, lidar: LidarRecord) -> rigid.Matrix | None:
        """Pose of the car at the camera's stamp: what makes the chain over the world end in
        ``camera_from_lidar``.
        """
        if lidar.world_from_ego is None:
            return None
        return (lidar.world_from_ego @ lidar.ego_from_lidar
                @ rigid.inverse(self.camera_from_lidar) @ rigid.inverse(self.ego_from_camera))


@dataclass(frozen=True)
class FrameRecord:
    """calib.json of one frame."""

    folder: Path
    token: str
    """Name of the frame in its data set; the folder's where it has none."""
    lidar: LidarRecord
    cameras: tuple[CameraRecord, ...]

    @property
    def first_stamp_ns(self) -> int:
        """Stamp of the sensor that looked first [ns]."""
        return min([self.lidar.stamp_ns, *(camera.stamp_ns for camera in self.cameras)])

    @property
    def world_from_lidar(self) -> rigid.Matrix | None:
        """(4, 4) pose of the LiDAR at its stamp; None where it is not recorded."""
        if self.lidar.world_from_ego is None:
            return None
        return self.lidar.world_from_ego @ self.lidar.ego_from_lidar

    def select(self, names: tuple[str, ...]) -> FrameRecord:
        """The same frame of these cameras alone, in this order.

        Raises:
            ValueError: One is not there; the message names those that are.
        """
        by_name = {camera.name: camera for camera in self.cameras}
        missing = [name for name in names if name not in by_name]
        if missing:
            raise ValueError(f"{self.folder / CALIBRATION}: has no calibration of "
                             f"{', '.join(missing)}; it has {', '.join(by_name)}: name the rig's "
                             "cameras in a file and pass it with --config")
        return FrameRecord(self.folder, self.token, self.lidar,
                           tuple(by_name[name] for name in names))


def read_record(folder: str | Path) -> FrameRecord:
    """Read and check calib.json.

    Raises:
        OSError: It is not there.
        ValueError: It is damaged, or an entry is missing or does not fit.
    """
    folder = Path(folder)
    path = folder / CALIBRATION
    document = read_json(path)
    try:
        lidar = _lidar_record(folder, _mapping(document, "lidar"))
        entries = _mapping(document, "cameras")
        cameras = tuple(_camera_record(folder, name, _mapping(entries, name)) for name in entries)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return FrameRecord(folder, str(document.get("sample_token", folder.name)), lidar, cameras)


def _lidar_record(folder: Path, entry: Mapping[str, Any]) -> LidarRecord:
    fields, intensity_max = _fields(entry.get("fields"))
    if entry.get("dtype", "float32") != "float32":
        raise ValueError(f"lidar.dtype is {entry['dtype']!r}; expected 'float32'")
    ego_from_lidar = _pose(entry, "lidar", "lidar2ego")
    world_from_ego = None
    if "ego2global_at_lidar_time" in entry:
        world_from_ego = _pose(entry, "lidar", "ego2global_at_lidar_time")
    elif "lidar2world" in entry:
        world_from_ego = _pose(entry, "lidar", "lidar2world") @ rigid.inverse(ego_from_lidar)
    return LidarRecord(folder / _file_name(entry, "lidar"), fields, intensity_max,
                       _stamp_ns(entry, "lidar"), ego_from_lidar, world_from_ego)


def _fields(given: Any) -> tuple[tuple[str, ...], float | None]:
    """Column names without their ranges, and the upper end of intensity's."""
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise ValueError(f"lidar.fields is {given!r}; expected a list of names")
    names, intensity_max = [], None
    for text in given:
        found = re.fullmatch(r"(\w+)(?:\(([^()]*)\))?", text)
        if found is None:
            raise ValueError(f"lidar.fields names '{text}'; expected e.g. 'x' or "
                             "'intensity(0-255)'")
        names.append(found[1])
        if found[1] == "intensity" and found[2] is not None:
            limits = re.fullmatch(r"0-(\d+(?:\.\d+)?)", found[2])
            intensity_max = float(limits[1]) if limits else 0.0
            if not 0 < intensity_max <= 1e9:
                raise ValueError(f"lidar.fields names '{text}'; expected a range from 0, such as "
                                 "'intensity(0-255)'")
    absent = [axis for axis in "xyz" if axis not in names]
    if absent:
        raise ValueError(f"lidar.fields is {given}; expected {', '.join(absent)} among them")
    if len(set(names)) != len(names):
        raise ValueError(f"lidar.fields is {given}; expected each name once")
    return tuple(names), intensity_max


def _camera_record(folder: Path, name: str, entry: Mapping[str, Any]) -> CameraRecord:
    where = f"cameras.{name}"
    size: list[Any] = [entry.get(key) for key in ("width", "height")]
    if (not all(isinstance(side, int) and 0 < side <= MOST_PIXELS for side in size)
            or size[0] * size[1] > MOST_PIXELS):
        raise ValueError(f"{where}: width and height are {size[0]!r} and {size[1]!r}; expected "
                         f"pixels, at most {MOST_PIXELS} in all")
    try:
        lens = PinholeCamera(size[0], size[1], np.array(entry.get("K"), dtype=np.float64),
                             str(entry.get("distortion_model", "plumb_bob")),
                             np.array(entry.get("distortion", []), dtype=np.float64))
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{where}: {error}") from None
    return CameraRecord(name, folder / _file_name(entry, where), _stamp_ns(entry, where), lens,
                        _pose(entry, where, "lidar2cam"), _pose(entry, where, "cam2ego"))


def _pose(entry: Mapping[str, Any], where: str, key: str) -> rigid.Matrix:
    """A matrix made exactly rigid: files hold rotations in float32, tf holds quaternions.

    So a frame is the same to the last digits whether its poses come from here or from tf.
    """
    matrix = rigid.check_rigid(entry.get(key), f"{where}.{key}")
    return rigid.from_translation_quaternion(*rigid.to_translation_quaternion(matrix))


def _mapping(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key)
    if not isinstance(value, dict) or not value:
        raise ValueError(f"has no '{key}'; expected an object with its calibration")
    return value


def _file_name(entry: Mapping[str, Any], where: str) -> str:
    """A plain file name: a frame directory names nothing outside itself."""
    name = entry.get("file")
    if not isinstance(name, str) or not name or "\0" in name or Path(name).name != name:
        raise ValueError(f"{where}.file is {name!r}; expected the name of a file in this folder")
    return name


def _stamp_ns(entry: Mapping[str, Any], where: str) -> int:
    """Seconds as a float carry a quarter of a microsecond at today's dates: round to whole ones."""
    stamp = entry.get("timestamp")
    if isinstance(stamp, bool) or not isinstance(stamp, (int, float)) or not 0 <= stamp < 2**31:
        raise ValueError(f"{where}.timestamp is {stamp!r}; expected seconds since 1970")
    return round(stamp * 1e6) * 1000
