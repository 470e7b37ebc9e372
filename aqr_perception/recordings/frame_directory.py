"""Frame directories: one moment of all sensors as files.

``calib.json`` says what there is and how it lies to each other (see `frame_record`), ``lidar.bin``
holds rows of float32, then there is a JPEG a camera, and optionally the truth as ``gt_boxes.json``
(see `boxes_file`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry.points import MOST_POINTS, sound_points
from aqr_perception.image_file import decode_image
from aqr_perception.recordings.frame_record import (
    CALIBRATION,
    CameraRecord,
    LidarRecord,
    read_record,
)
from aqr_perception.recordings.rig import Rig
from aqr_perception.types import Calibration, CameraImage, LidarCloud, SensorFrame

__all__ = ["CALIBRATION", "find_frames", "read_frame", "read_image_file", "read_picture",
           "read_points", "read_raw_points", "read_record"]

LIDAR_FRAME = "LIDAR_TOP"
"""The frame of a frame directory's cloud; the files do not name it."""
DEFAULT_INTENSITY_MAX = 255.0
LARGEST_IMAGE_FILE = 256 << 20


def find_frames(source: str | Path) -> list[Path]:
    """A frame directory, or all frame directories right below a folder, oldest first.

    Raises:
        OSError: The folder does not exist.
        ValueError: There is no frame directory in it, or it is no folder.
    """
    source = Path(source)
    if (source / CALIBRATION).exists():
        return [source]
    if not source.exists():
        raise FileNotFoundError(2, "no such folder", str(source))
    if not source.is_dir():
        raise ValueError(f"{source}: is a file; expected a folder: a frame directory, a folder of "
                         "them, or a bag (the folder with its metadata.yaml)")
    folders = [path.parent for path in source.glob(f"*/{CALIBRATION}")]
    if not folders:
        deeper = sorted({path.parents[1] for path in source.glob(f"*/*/{CALIBRATION}")})
        if deeper:
            raise ValueError(f"{source}: holds several drives; expected one of them, such as "
                             f"{deeper[0]}")
        if any(source.glob("drive-*.safetensors")):
            raise ValueError(f"{source}: holds drives for training; expected frame directories: "
                             "render them with 'simulate --format frames'")
        raise ValueError(f"{source}: holds no {CALIBRATION}, nor a folder that does, nor a bag's "
                         "metadata.yaml; expected a frame directory, a folder of them, or a bag")
    return sorted(folders, key=lambda folder: (read_record(folder).lidar.stamp_ns, folder))


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
    record = read_record(folder).select(rig.camera_names)
    images = tuple(_camera_image(camera) for camera in record.cameras)
    cloud = LidarCloud(record.lidar.stamp_ns, read_points(record.lidar, rig.intensity_max))
    return SensorFrame(cloud.stamp_ns, LIDAR_FRAME, cloud, images, rig.camera_names,
                       record.world_from_lidar)


def read_points(lidar: LidarRecord, intensity_max: float | None = None) -> NDArray[np.float32]:
    """Read the points as `LidarCloud` holds them: (N, 5) x, y, z, intensity 0..1, dt.

    Those whose numbers cannot be are left out, see `sound_points`.

    Args:
        lidar: Its record.
        intensity_max: Value of full reflection that the rig's configuration names; None takes the
            record's, or 255 where it says nothing.

    Raises:
        OSError: The file is not there.
        ValueError: Its size is not a whole number of rows, record and configuration differ, or dt
            is not in seconds.
    """
    stated = lidar.intensity_max
    if stated and intensity_max and stated != intensity_max:
        raise ValueError(f"{lidar.path}: its intensity is 0-{stated:g}, lidar.intensity_max of the "
                         f"configuration is {intensity_max:g}; expected the same of both")
    rows = read_raw_points(lidar)
    column = {name: index for index, name in enumerate(lidar.fields)}
    points = np.zeros((len(rows), 5), np.float32)
    points[:, :3] = rows[:, [column["x"], column["y"], column["z"]]]
    if "intensity" in column:
        scale = np.float32(intensity_max or stated or DEFAULT_INTENSITY_MAX)
        points[:, 3] = np.clip(rows[:, column["intensity"]] / scale, 0, 1)
    if "dt" in column:
        points[:, 4] = rows[:, column["dt"]]
    try:
        return sound_points(points)
    except ValueError as error:
        raise ValueError(f"{lidar.path}: {error}") from None


def read_raw_points(lidar: LidarRecord) -> NDArray[np.float32]:
    """Read the rows (N, columns) as the file holds them.

    Raises:
        OSError: The file is not there.
        ValueError: Its size is not a whole number of rows.
    """
    row = 4 * len(lidar.fields)
    size = _size(lidar.path, "the LiDAR's points")
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
    size = _size(camera.path, f"the picture of {camera.name}")
    if size > LARGEST_IMAGE_FILE:
        raise ValueError(f"{camera.path}: is {size} bytes; expected a picture of at most "
                         f"{LARGEST_IMAGE_FILE}")
    return camera.path.read_bytes()


def read_picture(camera: CameraRecord, data: bytes | None = None) -> NDArray[np.uint8]:
    """Read a picture into (H, W, 3) BGR and hold it to its calibration's size.

    Args:
        camera: Its record.
        data: What `read_image_file` gave, where the caller has it already.

    Raises:
        OSError: The file is not there.
        ValueError: It is no picture, damaged, or has another size.
    """
    data = read_image_file(camera) if data is None else data
    try:
        pixels = decode_image(data)
    except ValueError as error:
        raise ValueError(f"{camera.path}: {error}") from None
    height, width = pixels.shape[:2]
    lens = camera.camera
    if (width, height) != (lens.width, lens.height):
        raise ValueError(f"{camera.path}: is {width}×{height}, the calibration of {camera.name} "
                         f"says {lens.width}×{lens.height}; expected the calibration of this size")
    return pixels


def _size(path: Path, what: str) -> int:
    """Bytes of a file that calib.json names."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        raise FileNotFoundError(2, f"no such file; {CALIBRATION} beside it names it as {what}",
                                str(path)) from None


def _camera_image(camera: CameraRecord) -> CameraImage:
    calibration = Calibration(camera.camera, camera.camera_from_lidar, camera.name)
    return CameraImage(camera.name, camera.stamp_ns, read_picture(camera), calibration)
