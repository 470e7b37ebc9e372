"""Drives on disk, for training: one safetensors file a drive, quick to read, nothing executed.

Pictures are JPEG bytes, points are whole numbers of 1/256 m (the simulator's own grid, so nothing
is lost) and of 1/255 intensity. A file appears under its name when it is complete.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from aqr_perception.geometry.boxes import Boxes3D
from aqr_perception.geometry.camera import PinholeCamera
from aqr_perception.image_file import decode_image, image_size
from aqr_perception.types import (
    CLASS_NAMES,
    Annotations,
    Calibration,
    CameraImage,
    LidarCloud,
    SensorFrame,
)

FORMAT = "aqr_perception drive 2"
POINT_GRID = 256.0
"""Steps a metre that coordinates are stored in; they reach ±127.99 m."""
JPEG_QUALITY = 95
LARGEST_IMAGE = 8192
LARGEST_CLOUD = 4_000_000
_HEADER = "drive"
_INTENSITIES = (np.arange(256) / 255).astype(np.float32)
_NAME = re.compile(r"drive-(\d+)\.safetensors")

Frame = tuple[SensorFrame, Annotations]


def drive_path(folder: str | Path, seed: int) -> Path:
    """Where the drive of a seed is kept."""
    return Path(folder) / f"drive-{seed:07d}.safetensors"


def write_drive(path: str | Path, frames: Iterable[Frame], info: Mapping[str, Any] | None = None
                ) -> int:
    """Write a drive; returns the number of frames.

    Args:
        path: The file; its folder is made if it is not there.
        frames: One after the other, all of one rig.
        info: What else the file should say about itself (JSON), such as seed and settings.

    Raises:
        ValueError: There is no frame, a frame is of another rig, or points lie beyond ±127 m.
        OSError: It cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, NDArray[Any]] = {}
    names: tuple[str, ...] | None = None
    frame_id, count = "", 0
    for frame, truth in frames:
        if names is not None and frame.camera_names != names:
            raise ValueError(f"{path}: frame {count} is of the rig "
                             f"{', '.join(frame.camera_names)}; expected {', '.join(names)} as "
                             "before")
        names, frame_id = frame.camera_names, frame.frame_id
        tensors |= {f"{count:04d}.{key}": value
                    for key, value in _pack(frame, truth).items()}
        count += 1
    if names is None:
        raise ValueError(f"{path}: a drive without a frame cannot be written")
    header = {"format": FORMAT, "frames": count, "cameras": names, "frame_id": frame_id,
              "classes": CLASS_NAMES, "info": dict(info or {})}
    partial = path.with_suffix(".partial")
    # One entry only: safetensors writes several in an order that differs from run to run.
    try:
        save_file(tensors, partial, metadata={_HEADER: json.dumps(header, sort_keys=True)})
    except SafetensorError as error:
        raise OSError(f"{path}: cannot be written ({error})") from None
    partial.replace(path)
    return count


@dataclass(frozen=True)
class DriveFile:
    """A drive on disk.

    Attributes:
        path: Its file.
        frames: How many it holds.
        camera_names: Its rig's.
        frame_id: Its LiDAR frame.
        info: What was said about it when it was written.
    """

    path: Path
    frames: int
    camera_names: tuple[str, ...]
    frame_id: str
    info: Mapping[str, Any]

    @staticmethod
    def open(path: str | Path) -> DriveFile:
        """Look at a file.

        Raises:
            ValueError: It is not a drive of this format.
            OSError: It cannot be read.
        """
        path = Path(path)
        path.stat()
        try:
            with safe_open(path, framework="numpy") as file:
                text = (file.metadata() or {}).get(_HEADER, "{}")
        except SafetensorError as error:
            raise ValueError(f"{path}: is no safetensors file ({error}); write it again with "
                             "'simulate'") from None
        try:
            header = json.loads(text)
            if header["format"] != FORMAT or header["classes"] != list(CLASS_NAMES):
                raise ValueError
            return DriveFile(path, int(header["frames"]), tuple(map(str, header["cameras"])),
                             str(header["frame_id"]), dict(header["info"]))
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{path}: is no drive of format {FORMAT!r}; write it again with "
                             "'simulate'") from None

    def __len__(self) -> int:
        return self.frames

    def read(self, index: int) -> Frame:
        """Frame ``index`` and its truth.

        Raises:
            ValueError: The file is damaged.
            IndexError: There is no such frame.
        """
        if not 0 <= index < self.frames:
            raise IndexError(f"{self.path}: holds {self.frames} frames; asked for number {index}")
        try:
            with safe_open(self.path, framework="numpy") as file:
                return self._unpack(file, f"{index:04d}.")
        except (SafetensorError, TypeError, IndexError, ValueError) as error:
            raise ValueError(f"{self.path}: frame {index} is damaged ({error}); write it again "
                             "with 'simulate'") from None

    def _unpack(self, file: Any, prefix: str) -> Frame:
        stamps = file.get_tensor(prefix + "stamps")
        poses, lenses = file.get_tensor(prefix + "poses"), file.get_tensor(prefix + "lenses")
        keys = set(file.keys())
        images: list[CameraImage | None] = []
        for k, name in enumerate(self.camera_names):
            key = f"{prefix}image.{k}"
            images.append(_unpack_image(name, file.get_tensor(key), int(stamps[2 + k]), lenses[k],
                                        poses[1 + k]) if key in keys else None)
        lidar = (_unpack_cloud(file, prefix, prefix + "dt" in keys, int(stamps[1]))
                 if prefix + "xyz" in keys else None)
        fixed = poses[0] if np.isfinite(poses[0]).all() else None
        frame = SensorFrame(int(stamps[0]), self.frame_id, lidar, tuple(images), self.camera_names,
                            fixed)
        boxes = file.get_tensor(prefix + "boxes")
        labels, points, tracks = file.get_tensor(prefix + "numbers").T
        return frame, Annotations(
            Boxes3D(boxes[:, :3], boxes[:, 3:6], boxes[:, 6], boxes[:, 7:9]), labels.copy(),
            points.copy(), boxes[:, 9].copy(), tracks.copy())


def read_drive(path: str | Path) -> Iterator[Frame]:
    """All frames of a drive, in order.

    Raises:
        ValueError: The file is damaged or of another format.
        OSError: It cannot be read.
    """
    drive = DriveFile.open(path)
    return (drive.read(k) for k in range(len(drive)))


class DriveFolder:
    """All drives of a folder as one sequence of frames, drive by drive, by seed.

    Raises:
        ValueError: A file is of another format, or there is none.
        OSError: The folder cannot be read.
    """

    def __init__(self, folder: str | Path) -> None:
        paths = sorted(path for path in Path(folder).iterdir() if _NAME.fullmatch(path.name))
        if not paths:
            raise ValueError(f"{folder}: holds no drive-*.safetensors; make some with 'simulate'")
        self.drives = tuple(DriveFile.open(path) for path in paths)
        self._ends = np.cumsum([len(drive) for drive in self.drives])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def locate(self, index: int) -> tuple[int, int]:
        """Number of the drive that frame ``index`` belongs to, and its number there."""
        if not 0 <= index < len(self):
            raise IndexError(f"{len(self)} frames; asked for number {index}")
        drive = int(np.searchsorted(self._ends, index, side="right"))
        return drive, index - int(self._ends[drive]) + len(self.drives[drive])

    def read(self, index: int) -> Frame:
        """Frame and truth number ``index``."""
        drive, k = self.locate(index)
        return self.drives[drive].read(k)

    def history(self, index: int, length: int) -> list[SensorFrame]:
        """Up to ``length`` frames of the same drive before frame ``index``, oldest first."""
        drive, k = self.locate(index)
        return [self.drives[drive].read(j)[0] for j in range(max(0, k - length), k)]


def _pack(frame: SensorFrame, annotations: Annotations) -> dict[str, NDArray[Any]]:
    """A frame as arrays: stamps and poses of frame, LiDAR and cameras in one array each."""
    views = len(frame.images)
    stamps, poses = np.zeros(2 + views, np.int64), np.full((1 + views, 4, 4), np.nan)
    lenses = np.zeros((views, 3, 3))
    out: dict[str, NDArray[Any]] = {}
    stamps[0] = frame.stamp_ns
    if frame.fixed_from_lidar is not None:
        poses[0] = frame.fixed_from_lidar
    if frame.lidar is not None:
        stamps[1] = frame.lidar.stamp_ns
        out |= _pack_cloud(frame.lidar.points)
    for k, image in enumerate(frame.images):
        if image is None:
            continue
        camera = image.calibration.camera
        if camera.is_distorted:
            raise ValueError(f"{image.name}: a distorted picture cannot be cached")
        stamps[2 + k], lenses[k] = image.stamp_ns, camera.intrinsics
        poses[1 + k] = image.calibration.camera_from_lidar
        done, data = cv2.imencode(".jpg", image.pixels, [
            cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444])
        assert done
        out[f"image.{k}"] = np.asarray(data)
    boxes = annotations.boxes
    out["boxes"] = np.concatenate([boxes.center, boxes.size, boxes.yaw[:, None], boxes.velocity,
                                   annotations.visibility[:, None]], 1).astype(np.float32)
    out["numbers"] = np.stack([annotations.labels, annotations.num_lidar_pts,
                               annotations.track_ids], 1)
    return out | {"stamps": stamps, "poses": poses, "lenses": lenses}


def _pack_cloud(points: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    grid = np.round(points[:, :3] * POINT_GRID)
    if not (np.abs(grid) < 32768).all():
        raise ValueError("a point lies beyond ±127 m or is not finite; it cannot be cached")
    out: dict[str, NDArray[Any]] = {
        "xyz": grid.astype(np.int16),
        "intensity": np.clip(np.round(points[:, 3] * 255), 0, 255).astype(np.uint8)}
    if points[:, 4].any():
        out["dt"] = points[:, 4].copy()
    return out


def _unpack_cloud(file: Any, prefix: str, has_ages: bool, stamp_ns: int) -> LidarCloud:
    xyz = file.get_tensor(prefix + "xyz")
    if len(xyz) > LARGEST_CLOUD:
        raise TypeError(f"{len(xyz)} points")
    points = np.empty((len(xyz), 5), np.float32)
    np.multiply(xyz, np.float32(1 / POINT_GRID), out=points[:, :3])
    points[:, 3] = _INTENSITIES[file.get_tensor(prefix + "intensity")]
    points[:, 4] = file.get_tensor(prefix + "dt") if has_ages else 0
    return LidarCloud(stamp_ns, points)


def _unpack_image(name: str, data: NDArray[np.uint8], stamp_ns: int, lens: NDArray[np.float64],
                  pose: NDArray[np.float64]) -> CameraImage:
    encoded = data.tobytes()
    if max(image_size(encoded)[1:]) > LARGEST_IMAGE:
        raise TypeError(f"the picture of {name}")
    pixels = decode_image(encoded)
    camera = PinholeCamera(pixels.shape[1], pixels.shape[0], lens)
    return CameraImage(name, stamp_ns, np.asarray(pixels, np.uint8),
                       Calibration(camera, pose, name))
