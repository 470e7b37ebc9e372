"""Frame directories: one moment of all sensors as calib.json, lidar.bin, a JPEG a camera, truth.

The format (matrices are 4×4, row-major; ``A2B`` takes points of frame A into frame B):

    calib.json     lidar {file, fields, dtype, timestamp [s], lidar2ego, and the pose of the car:
                   ego2global_at_lidar_time or lidar2world}, cameras {name: {file, width, height,
                   timestamp [s], K, distortion, lidar2cam, cam2ego}}
    lidar.bin      rows of float32 as ``fields`` names them; ``intensity(0-255)`` gives the scale
    gt_boxes.json  optional: boxes [{class_name, center, size_lwh, yaw, velocity, num_lidar_pts}]

``lidar2cam`` includes the car's motion between the two stamps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry import rigid
from aqr_perception.geometry.camera import PinholeCamera
from aqr_perception.recordings.rig import Rig
from aqr_perception.types import Calibration, CameraImage, LidarCloud, SensorFrame

CALIBRATION = "calib.json"
LIDAR_FRAME = "LIDAR_TOP"
"""The frame of a frame directory's cloud; the files do not name it."""
LARGEST_JSON = 64 << 20
MOST_POINTS = 10_000_000
MOST_PIXELS = 100_000_000
LARGEST_IMAGE_FILE = 256 << 20


@dataclass(frozen=True)
class LidarRecord:
    """The LiDAR's entry of calib.json.

    Attributes:
        path: Of the points.
        fields: Column names without their ranges: x, y, z, intensity, ring, ...
        intensity_max: Value of full reflection, from a name like ``intensity(0-255)``.
        stamp_ns: [ns].
        ego_from_lidar: (4, 4).
        world_from_ego: (4, 4) pose of the car at ``stamp_ns``; None where it is not recorded.
    """

    path: Path
    fields: tuple[str, ...]
    intensity_max: float
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
    """calib.json, checked: what there is to read, and how it lies to each other."""

    folder: Path
    lidar: LidarRecord
    cameras: tuple[CameraRecord, ...]

    @property
    def world_from_lidar(self) -> rigid.Matrix | None:
        """(4, 4) pose of the LiDAR at its stamp; None where it is not recorded."""
        if self.lidar.world_from_ego is None:
            return None
        return self.lidar.world_from_ego @ self.lidar.ego_from_lidar


def find_frames(source: str | Path) -> list[Path]:
    """A frame directory, or all frame directories right below a folder, oldest first.

    Raises:
        OSError: The folder does not exist.
        ValueError: There is no frame directory in it.
    """
    source = Path(source)
    if (source / CALIBRATION).exists():
        return [source]
    if not source.is_dir():
        raise FileNotFoundError(2, "no such folder", str(source))
    folders = [path.parent for path in source.glob(f"*/{CALIBRATION}")]
    if not folders:
        raise ValueError(f"{source}: holds no {CALIBRATION}, nor a folder that does; expected a "
                         "frame directory or a folder of them")
    return sorted(folders, key=lambda folder: read_record(folder).lidar.stamp_ns)


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
        cameras = tuple(_camera_record(folder, name, _mapping(_mapping(document, "cameras"), name))
                        for name in _mapping(document, "cameras"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return FrameRecord(folder, lidar, cameras)


def read_frame(folder: str | Path, rig: Rig | None = None) -> SensorFrame:
    """Read one frame as the rig's sensors saw it.

    Args:
        folder: A frame directory.
        rig: Which cameras, in which order; default nuScenes'.

    Raises:
        OSError: A file is not there.
        ValueError: A file is damaged, a camera of the rig has no calibration, or a picture has
            another size than its calibration.
    """
    rig = rig or Rig()
    record = read_record(folder)
    by_name = {camera.name: camera for camera in record.cameras}
    missing = [name for name in rig.camera_names if name not in by_name]
    if missing:
        raise ValueError(f"{Path(folder) / CALIBRATION}: has no calibration of "
                         f"{', '.join(missing)}; it has {', '.join(by_name)}: name the rig's "
                         "cameras with --config")
    images = tuple(_read_image(by_name[name]) for name in rig.camera_names)
    cloud = LidarCloud(record.lidar.stamp_ns, read_points(record.lidar, rig.intensity_max))
    return SensorFrame(record.lidar.stamp_ns, LIDAR_FRAME, cloud, images, rig.camera_names,
                       record.world_from_lidar)


def read_points(lidar: LidarRecord, intensity_max: float | None = None) -> NDArray[np.float32]:
    """Read the points as `LidarCloud` holds them: (N, 5) x, y, z, intensity 0..1, dt.

    Args:
        lidar: Its record.
        intensity_max: Value of full reflection; None takes the record's.
    """
    rows = read_raw_points(lidar)
    column = {name: index for index, name in enumerate(lidar.fields)}
    points = np.zeros((len(rows), 5), np.float32)
    points[:, :3] = rows[:, [column["x"], column["y"], column["z"]]]
    if "intensity" in column:
        scale = np.float32(intensity_max or lidar.intensity_max)
        points[:, 3] = np.clip(rows[:, column["intensity"]] / scale, 0, 1)
    if "dt" in column:
        points[:, 4] = rows[:, column["dt"]]
    return points


def read_raw_points(lidar: LidarRecord) -> NDArray[np.float32]:
    """Read the rows (N, columns) as the file holds them.

    Raises:
        OSError: The file is not there.
        ValueError: Its size is not a whole number of rows.
    """
    row = 4 * len(lidar.fields)
    size = lidar.path.stat().st_size
    if size % row or not size:
        raise ValueError(f"{lidar.path}: has {size} bytes; expected a multiple of {row}, "
                         f"{len(lidar.fields)} float32 a point ({', '.join(lidar.fields)}): the "
                         "file is cut off, or its fields are not these")
    if size // row > MOST_POINTS:
        raise ValueError(f"{lidar.path}: has {size // row} points; expected at most {MOST_POINTS}")
    return np.fromfile(lidar.path, dtype="<f4").reshape(-1, len(lidar.fields))


def read_image_file(camera: CameraRecord) -> bytes:
    """Read the picture's file as it is.

    Raises:
        OSError: It is not there.
        ValueError: It is larger than a picture can be.
    """
    size = camera.path.stat().st_size
    if size > LARGEST_IMAGE_FILE:
        raise ValueError(f"{camera.path}: is {size} bytes; expected a picture of at most "
                         f"{LARGEST_IMAGE_FILE}")
    return camera.path.read_bytes()


def decode_image(camera: CameraRecord, data: bytes) -> NDArray[np.uint8]:
    """Decode a picture into (H, W, 3) BGR and hold it to its calibration's size.

    Raises:
        ValueError: It is no picture, or has another size.
    """
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if pixels is None:
        raise ValueError(f"{camera.path}: is not a picture that OpenCV can read; expected JPEG or "
                         "PNG")
    height, width = pixels.shape[:2]
    lens = camera.camera
    if (width, height) != (lens.width, lens.height):
        raise ValueError(f"{camera.path}: is {width}×{height}, the calibration of {camera.name} "
                         f"says {lens.width}×{lens.height}; expected a calibration of this size")
    return np.asarray(pixels, dtype=np.uint8)


def read_json(path: Path) -> Mapping[str, Any]:
    """Read a JSON object of bounded size.

    Raises:
        OSError: There is no such file.
        ValueError: It is too large, no JSON, or no object.
    """
    if path.stat().st_size > LARGEST_JSON:
        raise ValueError(f"{path}: is {path.stat().st_size} bytes; expected at most {LARGEST_JSON}")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise ValueError(f"{path}: holds a {type(document).__name__}; expected an object")
    return document


def _read_image(camera: CameraRecord) -> CameraImage:
    pixels = decode_image(camera, read_image_file(camera))
    calibration = Calibration(camera.camera, camera.camera_from_lidar, camera.name)
    return CameraImage(camera.name, camera.stamp_ns, pixels, calibration)


def _lidar_record(folder: Path, entry: Mapping[str, Any]) -> LidarRecord:
    names, intensity_max = [], 255.0
    fields = entry.get("fields")
    if not isinstance(fields, list) or not all(isinstance(name, str) for name in fields):
        raise ValueError(f"lidar.fields is {fields!r}; expected a list of names")
    for name in fields:
        found = re.fullmatch(r"(\w+)(?:\(([-\d.]+)-([\d.]+)\))?", name)
        if found is None:
            raise ValueError(f"lidar.fields names '{name}'; expected e.g. x or intensity(0-255)")
        names.append(found[1])
        if found[1] == "intensity" and found[3]:
            intensity_max = float(found[3])
    absent = [axis for axis in "xyz" if axis not in names]
    if absent:
        raise ValueError(f"lidar.fields is {fields}; expected {', '.join(absent)} among them")
    if entry.get("dtype", "float32") != "float32":
        raise ValueError(f"lidar.dtype is {entry['dtype']!r}; expected float32")
    ego_from_lidar = rigid.check_rigid(entry.get("lidar2ego"), "lidar.lidar2ego")
    world_from_ego = None
    if "ego2global_at_lidar_time" in entry:
        world_from_ego = rigid.check_rigid(entry["ego2global_at_lidar_time"],
                                           "lidar.ego2global_at_lidar_time")
    elif "lidar2world" in entry:
        world_from_lidar = rigid.check_rigid(entry["lidar2world"], "lidar.lidar2world")
        world_from_ego = world_from_lidar @ rigid.inverse(ego_from_lidar)
    return LidarRecord(folder / _file_name(entry, "lidar"), tuple(names), intensity_max,
                       _stamp_ns(entry, "lidar"), ego_from_lidar, world_from_ego)


def _camera_record(folder: Path, name: str, entry: Mapping[str, Any]) -> CameraRecord:
    where = f"cameras.{name}"
    size: list[Any] = [entry.get(key) for key in ("width", "height")]
    if not all(isinstance(side, int) and 0 < side <= MOST_PIXELS for side in size) \
            or size[0] * size[1] > MOST_PIXELS:
        raise ValueError(f"{where}: width and height are {size}; expected pixels, at most "
                         f"{MOST_PIXELS} in all")
    try:
        lens = PinholeCamera(size[0], size[1], np.array(entry.get("K"), dtype=np.float64),
                             distortion=np.array(entry.get("distortion", []), dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from None
    return CameraRecord(
        name, folder / _file_name(entry, where), _stamp_ns(entry, where), lens,
        rigid.check_rigid(entry.get("lidar2cam"), f"{where}.lidar2cam"),
        rigid.check_rigid(entry.get("cam2ego"), f"{where}.cam2ego"))


def _mapping(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key)
    if not isinstance(value, dict) or not value:
        raise ValueError(f"has no '{key}'; expected an object with its calibration")
    return value


def _file_name(entry: Mapping[str, Any], where: str) -> str:
    """A plain file name: a frame directory names nothing outside itself."""
    name = entry.get("file")
    if not isinstance(name, str) or not name or Path(name).name != name:
        raise ValueError(f"{where}.file is {name!r}; expected the name of a file in this folder")
    return name


def _stamp_ns(entry: Mapping[str, Any], where: str) -> int:
    """Seconds as a float carry a quarter of a microsecond at today's dates: round to whole ones."""
    stamp = entry.get("timestamp")
    if isinstance(stamp, bool) or not isinstance(stamp, (int, float)) or not 0 <= stamp < 1e10:
        raise ValueError(f"{where}.timestamp is {stamp!r}; expected seconds since 1970")
    return round(stamp * 1e6) * 1000
