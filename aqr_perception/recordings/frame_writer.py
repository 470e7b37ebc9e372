"""Writes frame directories: simulated drives, or frames that were collected from a vehicle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from aqr_perception.geometry import rigid
from aqr_perception.recordings.boxes_file import ANNOTATIONS, write_annotations
from aqr_perception.recordings.frame_record import CALIBRATION
from aqr_perception.types import Annotations, CameraImage, LidarCloud, SensorFrame

JPEG_QUALITY = 95
INTENSITY_MAX = 255
"""Full reflection in the file; most drivers, and the node by default, have this scale."""
FIELDS = ("x", "y", "z", f"intensity(0-{INTENSITY_MAX})", "dt")


def write_frame(folder: str | Path, frame: SensorFrame, annotations: Annotations | None = None,
                ego_from_lidar: rigid.Matrix | None = None,
                ego_from_camera: Mapping[str, rigid.Matrix] | None = None) -> None:
    """Write one frame with all its sensors.

    calib.json comes last: a folder that was cut short is none that `find_frames` finds. Stamps are
    kept to a microsecond, pictures as JPEG; a frame's ``frame_id`` has no place in the format.

    Args:
        folder: Made if it is not there.
        frame: All sensors present.
        annotations: Its truth.
        ego_from_lidar: (4, 4) the LiDAR on the car; the identity where it is not given.
        ego_from_camera: The same by camera name; where not given, as if the car had stood still
            between the stamps.

    Raises:
        ValueError: A sensor is absent (a frame directory has no way to say so), or the cloud is
            empty.
        OSError: A file cannot be written.
    """
    if frame.lidar is None or any(image is None for image in frame.images):
        raise ValueError(f"{folder}: the frame lacks a sensor; expected all of them")
    if not len(frame.lidar.points):
        raise ValueError(f"{folder}: the frame's cloud holds no point; expected at least one")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    ego_from_lidar = np.eye(4) if ego_from_lidar is None else ego_from_lidar
    cameras = {}
    for image in frame.images:
        assert image is not None
        on_car = (ego_from_camera or {}).get(image.name)
        if on_car is None:
            on_car = ego_from_lidar @ rigid.inverse(image.calibration.camera_from_lidar)
        cameras[image.name] = _camera_entry(image, on_car)
        _write_picture(folder / f"{image.name}.jpg", image)
    _write_points(folder / "lidar.bin", frame.lidar)
    if annotations is not None:
        write_annotations(folder / ANNOTATIONS, annotations, frame.frame_id)
    document = {"lidar": _lidar_entry(frame, ego_from_lidar), "cameras": cameras}
    (folder / CALIBRATION).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _lidar_entry(frame: SensorFrame, ego_from_lidar: rigid.Matrix) -> dict[str, Any]:
    assert frame.lidar is not None
    entry: dict[str, Any] = {
        "file": "lidar.bin", "fields": list(FIELDS), "dtype": "float32",
        "timestamp": frame.lidar.stamp_ns * 1e-9, "lidar2ego": ego_from_lidar.tolist()}
    if frame.fixed_from_lidar is not None:
        entry["lidar2world"] = frame.fixed_from_lidar.tolist()
    return entry


def _camera_entry(image: CameraImage, ego_from_camera: rigid.Matrix) -> dict[str, Any]:
    lens = image.calibration.camera
    return {"file": f"{image.name}.jpg", "width": lens.width, "height": lens.height,
            "timestamp": image.stamp_ns * 1e-9, "K": lens.intrinsics.tolist(),
            "distortion_model": lens.distortion_model, "distortion": lens.distortion.tolist(),
            "lidar2cam": image.calibration.camera_from_lidar.tolist(),
            "cam2ego": ego_from_camera.tolist()}


def _write_points(path: Path, cloud: LidarCloud) -> None:
    rows = cloud.points.astype("<f4")
    rows[:, 3] *= INTENSITY_MAX
    rows.tofile(path)


def _write_picture(path: Path, image: CameraImage) -> None:
    if not cv2.imwrite(str(path), image.pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
        raise OSError(5, "the picture could not be written", str(path))
