"""Writes frame directories: simulated drives, or frames that were collected from a vehicle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from aqr_perception.geometry import rigid
from aqr_perception.recordings.boxes_file import ANNOTATIONS, write_annotations
from aqr_perception.recordings.frame_directory import CALIBRATION
from aqr_perception.types import Annotations, CameraImage, SensorFrame

JPEG_QUALITY = 95
INTENSITY_MAX = 255
"""Full reflection in the file; most drivers, and the node by default, have this scale."""


def write_frame(folder: str | Path, frame: SensorFrame, annotations: Annotations | None = None,
                ego_from_lidar: rigid.Matrix | None = None,
                ego_from_camera: dict[str, rigid.Matrix] | None = None) -> None:
    """Write one frame with all its sensors.

    Args:
        folder: Made if it is not there.
        frame: All sensors present.
        annotations: Its truth.
        ego_from_lidar: (4, 4) the LiDAR on the car; the identity where it is not given.
        ego_from_camera: The same by camera name; where not given, as if the car had stood still
            between the stamps.

    Raises:
        ValueError: A sensor is absent: a frame directory has no way to say so.
    """
    if frame.lidar is None or any(image is None for image in frame.images):
        raise ValueError(f"{folder}: the frame lacks a sensor; expected all of them")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    ego_from_lidar = np.eye(4) if ego_from_lidar is None else ego_from_lidar
    lidar: dict[str, Any] = {
        "file": "lidar.bin", "fields": ["x", "y", "z", "intensity(0-255)", "dt"], "dtype": "float32",
        "timestamp": frame.lidar.stamp_ns * 1e-9, "lidar2ego": ego_from_lidar.tolist()}
    if frame.fixed_from_lidar is not None:
        lidar["lidar2world"] = frame.fixed_from_lidar.tolist()
    cameras = {}
    for image in frame.images:
        assert image is not None
        on_car = (ego_from_camera or {}).get(image.name)
        if on_car is None:
            on_car = ego_from_lidar @ rigid.inverse(image.calibration.camera_from_lidar)
        cameras[image.name] = _camera_entry(image, on_car)
        _write_picture(folder / f"{image.name}.jpg", image)
    rows = frame.lidar.points.astype("<f4")
    rows[:, 3] *= INTENSITY_MAX
    rows.tofile(folder / "lidar.bin")
    if annotations is not None:
        write_annotations(folder / ANNOTATIONS, annotations, frame.frame_id)
    document = {"lidar": lidar, "cameras": cameras}
    (folder / CALIBRATION).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _camera_entry(image: CameraImage, ego_from_camera: rigid.Matrix) -> dict[str, Any]:
    calibration = image.calibration
    return {"file": f"{image.name}.jpg", "width": calibration.camera.width,
            "height": calibration.camera.height, "timestamp": image.stamp_ns * 1e-9,
            "K": calibration.camera.intrinsics.tolist(),
            "distortion": calibration.camera.distortion.tolist(),
            "lidar2cam": calibration.camera_from_lidar.tolist(),
            "cam2ego": ego_from_camera.tolist()}


def _write_picture(path: Path, image: CameraImage) -> None:
    if not cv2.imwrite(str(path), image.pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
        raise OSError(5, "the picture could not be written", str(path))
