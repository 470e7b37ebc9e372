"""What carries the sensors: where each looks from, how, and when. A rig is data (JSON)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry import rigid
from aqr_perception.geometry.camera import PinholeCamera
from aqr_perception.types import Mounting

NUSCENES = Path(__file__).with_name("nuscenes_rig.json")


@dataclass(frozen=True)
class RigCamera:
    """One camera.

    Attributes:
        name: E.g. ``CAM_FRONT``.
        camera: Its lens.
        ego_from_camera: Where it sits.
        delay_s: When it exposes, counted from the LiDAR's stamp; below 0 is before it [s].
    """

    name: str
    camera: PinholeCamera
    ego_from_camera: rigid.Matrix
    delay_s: float


@dataclass(frozen=True)
class RigLidar:
    """A spinning LiDAR whose lasers fire in columns.

    Attributes:
        name: E.g. ``LIDAR_TOP``.
        ego_from_lidar: Where it sits.
        mounting: How its frame lies to the model frame.
        elevations: (R,) of the lasers, lowest first [rad].
        azimuths: (C,) of the columns about +z from +x, in the order they fire [rad].
        delays_s: (C,) when each column fires, counted from the stamp [s].
        nearest: Shortest range [m].
        farthest: Longest range [m].
        range_noise: Standard deviation [m].
        intensity_floor: Weakest intensity (0..255) seen at range r is this times r² [1/m²].
    """

    name: str
    ego_from_lidar: rigid.Matrix
    mounting: Mounting
    elevations: NDArray[np.float64]
    azimuths: NDArray[np.float64]
    delays_s: NDArray[np.float64]
    nearest: float
    farthest: float
    range_noise: float
    intensity_floor: float

    def directions(self) -> NDArray[np.float32]:
        """(C, R, 3) unit vectors of all beams in the LiDAR frame."""
        azimuth, elevation = np.meshgrid(self.azimuths, self.elevations, indexing="ij")
        return np.stack([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation),
                         np.sin(elevation)], -1).astype(np.float32)


@dataclass(frozen=True)
class SensorRig:
    """A car's sensors.

    Attributes:
        name: Of the rig.
        lidar: Its LiDAR.
        cameras: Its cameras, in the order of a frame's images.
    """

    name: str
    lidar: RigLidar
    cameras: tuple[RigCamera, ...]

    @property
    def camera_names(self) -> tuple[str, ...]:
        """Names in order."""
        return tuple(camera.name for camera in self.cameras)

    def resized(self, width: int, height: int) -> SensorRig:
        """The same rig with smaller pictures: scaled to cover the size, the top cut off."""
        return replace(self, cameras=tuple(
            replace(camera, camera=covering(camera.camera, width, height))
            for camera in self.cameras))

    def jittered(self, rng: np.random.Generator, angle: float = .012, shift: float = .03
                 ) -> SensorRig:
        """Another car of the same fleet: sensors turned and moved a little, and known to be.

        Args:
            rng: Source of the draws.
            angle: Standard deviation of each turn [rad].
            shift: Standard deviation of each move [m].
        """
        def moved(pose: rigid.Matrix) -> rigid.Matrix:
            out = pose @ small_turn(rng.normal(0, angle, 3))
            out[:3, 3] += rng.normal(0, shift, 3)
            return out
        lidar = replace(self.lidar, ego_from_lidar=moved(self.lidar.ego_from_lidar))
        return replace(self, lidar=lidar, cameras=tuple(
            replace(camera, ego_from_camera=moved(camera.ego_from_camera))
            for camera in self.cameras))


def covering(camera: PinholeCamera, width: int, height: int) -> PinholeCamera:
    """Camera of a picture scaled until it covers a size, cut to its bottom and middle."""
    scale = max(width / camera.width, height / camera.height)
    scaled = camera.resized(max(width, round(camera.width * scale)),
                            max(height, round(camera.height * scale)))
    return scaled.cropped((scaled.width - width) // 2, scaled.height - height, width, height)


def small_turn(angles: NDArray[np.float64]) -> rigid.Matrix:
    """(4, 4) rotation by a small rotation vector (3,) [rad]."""
    half = np.asarray(angles, np.float64) / 2
    return rigid.from_translation_quaternion(
        [0, 0, 0], np.append(half, np.sqrt(max(1 - float(half @ half), 0.0))))


def load_rig(path: Path = NUSCENES) -> SensorRig:
    """Read a rig.

    Raises:
        ValueError: The file is not JSON, or a field is missing or does not fit.
        OSError: It cannot be read.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return SensorRig(str(data["name"]), _lidar(data["lidar"]),
                   tuple(_camera(entry) for entry in data["cameras"]))
    except KeyError as error:
        raise ValueError(f"{path}: the rig has no field {error}; expected the fields of "
                         f"{NUSCENES.name}") from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _camera(data: Mapping[str, Any]) -> RigCamera:
    name = str(data["name"])
    return RigCamera(
        name=name,
        camera=PinholeCamera(int(data["width"]), int(data["height"]),
                             np.array(data["intrinsics"], np.float64)),
        ego_from_camera=_pose(data["ego_from_camera"], f"ego_from_camera of {name}"),
        delay_s=float(data["delay_s"]))


def _lidar(data: Mapping[str, Any]) -> RigLidar:
    columns = int(data["firings"])
    if not 1 <= columns <= 10_000:
        raise ValueError(f"lidar.firings is {columns}; expected 1 to 10000")
    period = float(data["firing_period_us"]) * 1e-6
    step = np.arange(columns)
    low, high = (float(value) for value in data["range_m"])
    return RigLidar(
        name=str(data["name"]),
        ego_from_lidar=_pose(data["ego_from_lidar"], "ego_from_lidar"),
        mounting=Mounting(str(data["forward_axis"]), float(data["height_m"])),
        elevations=np.radians(np.array(data["elevations_deg"], np.float64)),
        azimuths=np.radians(data["first_azimuth_deg"] + step * data["azimuth_step_deg"]),
        delays_s=np.asarray((step - columns + 1) * period, np.float64),
        nearest=low, farthest=high, range_noise=float(data["range_noise_m"]),
        intensity_floor=float(data["intensity_floor_per_m2"]))


def _pose(matrix: Any, name: str) -> rigid.Matrix:
    """A pose from rounded numbers, its rotation made orthonormal."""
    pose = rigid.check_rigid(matrix, name).copy()
    left, _, right = np.linalg.svd(pose[:3, :3])
    pose[:3, :3] = left @ right
    return pose
