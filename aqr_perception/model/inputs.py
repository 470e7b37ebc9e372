"""SensorFrame → Batch: the only preprocessing there is, shared by training and the vehicle."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from aqr_perception.geometry import rigid
from aqr_perception.geometry.camera import PinholeCamera
from aqr_perception.model.config import DetectorConfig, ImageConfig
from aqr_perception.types import Batch, CameraImage, Controls, Mounting, SensorFrame

BGR_MEAN = np.array([103.530, 116.280, 123.675], np.float32)
BGR_STD = np.array([57.375, 57.120, 58.395], np.float32)
CACHED_MAPS = 32
"""Undistortion maps kept: several rigs of six cameras; each is two maps of a network image."""


def prepare(frames: Sequence[SensorFrame], config: DetectorConfig, mounting: Mounting,
            controls: Controls) -> Batch:
    """Make frames ready for the network, on the CPU.

    Images are resized and cropped as CMT does and normalised in BGR; a distorted lens is
    straightened in the same remap. Points move into the model frame; those outside the detection
    range, and those that are not finite, are left out. A LiDAR without a single point left counts
    as absent: it has nothing to say, and the network has learnt absence, not emptiness.

    Args:
        frames: All of one rig; each may lack any of its sensors.
        config: The network's.
        mounting: How the LiDAR frame lies to the model frame.
        controls: Gains and AQR's say.

    Raises:
        ValueError: The frames differ in the number of cameras.
    """
    views = {len(frame.images) for frame in frames}
    if len(views) != 1:
        raise ValueError(f"a batch holds rigs of {sorted(views)} cameras; expected one rig")
    images, projections, camera_present = _images(frames, views.pop(), config, mounting)
    clouds = [_points(frame, config, mounting) for frame in frames]
    counts = np.array([len(cloud) for cloud in clouds])
    modulation = np.array([controls.modulation_lidar, controls.modulation_camera], np.float32)
    return Batch(
        images=images,
        image_from_lidar=torch.from_numpy(projections),
        camera_present=torch.from_numpy(camera_present),
        points=torch.from_numpy(np.concatenate(clouds)),
        point_frame=torch.from_numpy(np.repeat(np.arange(len(frames)), counts)),
        lidar_present=torch.from_numpy(counts > 0),
        gains=_stacked([controls.gains.per_sensor(frame.camera_names) for frame in frames]),
        modulation=_stacked([modulation * controls.aqr_enabled] * len(frames)),
        ages=_stacked([np.where(frame.present, frame.ages_s, 0) for frame in frames]),
        fixed_from_model=_stacked([_fixed_from_model(frame, mounting) for frame in frames]))


def _stacked(rows: Sequence[NDArray[np.floating]]) -> torch.Tensor:
    return torch.from_numpy(np.stack(rows))


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Move a batch; onto a GPU from pinned memory, without waiting for the copies."""
    if device.type != "cuda":
        return Batch(**{name: tensor.to(device) for name, tensor in vars(batch).items()})
    return Batch(**{name: tensor.pin_memory().to(device, non_blocking=True)
                    for name, tensor in vars(batch).items()})


def network_camera(camera: PinholeCamera, image: ImageConfig
                   ) -> tuple[PinholeCamera, tuple[int, int], tuple[int, int]]:
    """Work out how a camera's picture becomes the network's image.

    As CMT: scale until the picture covers the image in both directions, keep the bottom and the
    middle. For 1600×900 → 800×320: scale 0.5, then 130 rows off the top.

    Returns:
        The ideal pinhole camera of the network's image; the size (width, height) of the scaled
        picture; and the crop (left, top) in it.
    """
    scale = max(image.height / camera.height, image.width / camera.width)
    scaled = (int(camera.width * scale), int(camera.height * scale))
    left, top = max(0, scaled[0] - image.width) // 2, scaled[1] - image.height
    intrinsics = camera.intrinsics.copy()
    intrinsics[:2] *= scale
    intrinsics[:2, 2] -= left, top
    return PinholeCamera(image.width, image.height, intrinsics), scaled, (left, top)


def _images(frames: Sequence[SensorFrame], views: int, config: DetectorConfig, mounting: Mounting
            ) -> tuple[torch.Tensor, NDArray[np.float32], NDArray[np.bool_]]:
    """Images (B, V, 3, H, W), projections (B, V, 4, 4), present (B, V)."""
    image = config.image
    height, width = (image.height, image.width) if image else (0, 0)
    pixels = np.empty((len(frames), views, height, width, 3), np.uint8)
    projections = np.tile(np.eye(4, dtype=np.float32), (len(frames), views, 1, 1))
    present = np.zeros((len(frames), views), dtype=bool)
    lidar_from_model = np.linalg.inv(mounting.model_from_lidar)
    for b, frame in enumerate(frames):
        for v, picture in enumerate(frame.images):
            if picture is None or image is None:
                continue
            camera = _draw(picture, image, pixels[b, v])
            lens = np.eye(4)
            lens[:3, :3] = camera.intrinsics
            projections[b, v] = lens @ picture.calibration.camera_from_lidar @ lidar_from_model
            present[b, v] = True
    return _normalised(pixels, present), projections, present


def _draw(picture: CameraImage, image: ImageConfig, out: NDArray[np.uint8]) -> PinholeCamera:
    """Resize, crop and straighten a picture into ``out`` (H, W, 3); returns the image's camera."""
    source = picture.calibration.camera
    camera, scaled, (left, top) = network_camera(source, image)
    pixels: NDArray[Any] = picture.pixels
    halvings = 0
    while image.area and pixels.shape[1] >= 2 * scaled[0]:
        pixels, halvings = _halved(pixels), halvings + 1
    if source.is_distorted:
        lens = (source.width, source.height, source.intrinsics.tobytes(), source.distortion_model,
                source.distortion.tobytes())
        first, second = _straightening_maps(lens, image, halvings)
        cv2.remap(pixels, first, second, cv2.INTER_LINEAR, dst=out)
        return camera
    if pixels.shape[1::-1] != scaled:
        pixels = cv2.resize(pixels, scaled, interpolation=cv2.INTER_LINEAR)
    first_row, rows = max(0, -top), min(image.height, scaled[1] - top)
    columns = min(image.width, scaled[0] - left)
    if first_row or rows < image.height or columns < image.width:
        out[:] = 0  # rounding left the picture a pixel short
    out[first_row:rows, :columns] = pixels[max(0, top):top + rows, left:left + columns]
    return camera


def _halved(pixels: NDArray[Any]) -> NDArray[Any]:
    """Average blocks of 2×2 pixels; an odd last row or column is left out."""
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    return cv2.resize(pixels[:2 * height, :2 * width], (width, height),
                      interpolation=cv2.INTER_AREA)


@lru_cache(maxsize=CACHED_MAPS)
def _straightening_maps(lens: tuple[int, int, bytes, str, bytes], image: ImageConfig,
                        halvings: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Where each pixel of the network's image lies in the (halved) distorted picture.

    The image's pixels are where `cv2.resize` would put them, centre on centre, so that a weak
    distortion changes little against none.
    """
    width, height, intrinsics, model, distortion = lens
    source = PinholeCamera(width, height, np.frombuffer(intrinsics).reshape(3, 3), model,
                           np.frombuffer(distortion))
    camera, _, _ = network_camera(source, image)
    scale = camera.intrinsics[0, 0] / source.intrinsics[0, 0]
    centered = camera.intrinsics.copy()
    centered[:2, 2] += 0.5 * scale - 0.5
    u, v = source.undistort_map(PinholeCamera(image.width, image.height, centered))
    factor = 2 ** halvings
    u, v = (((x + 0.5) / factor - 0.5).astype(np.float32) for x in (u, v))
    return cv2.convertMaps(u, v, cv2.CV_16SC2)


def _normalised(pixels: NDArray[np.uint8], present: NDArray[np.bool_]) -> torch.Tensor:
    """(B, V, H, W, 3) uint8 → (B, V, 3, H, W) float32; 0 where the camera is absent."""
    batch, views, height, width, _ = pixels.shape
    images = torch.zeros(batch, views, 3, height, width)
    mean = torch.from_numpy(BGR_MEAN)[:, None, None]
    factor = torch.from_numpy(1 / BGR_STD)[:, None, None]
    for b, v in np.argwhere(present):
        image = images[b, v]
        image.copy_(torch.from_numpy(pixels[b, v]).permute(2, 0, 1))
        image.sub_(mean).mul_(factor)
    return images


def _points(frame: SensorFrame, config: DetectorConfig, mounting: Mounting) -> NDArray[np.float32]:
    """(N, 5) points of a frame in the model frame and in the detection range."""
    if frame.lidar is None or config.lidar is None:
        return np.zeros((0, 5), np.float32)
    points = frame.lidar.points
    matrix = mounting.model_from_lidar.astype(np.float32)
    xyz = points[:, :3]
    if not np.array_equal(matrix, np.eye(4)):
        with np.errstate(invalid="ignore"):  # points that are not finite drop out below
            xyz = rigid.rows_times(xyz, matrix[:3, :3].T) + matrix[:3, 3]
    low, high = np.array(config.detection_range, np.float32).reshape(2, 3)
    within = np.isfinite(points[:, 3:]).all(axis=1)
    for column, least, most in zip(xyz.T, low, high):
        within &= (column >= least) & (column < most)  # False for NaN
    kept = np.flatnonzero(within)
    out = points.take(kept, axis=0)
    out[:, :3] = xyz.take(kept, axis=0)
    out[:, 3] *= config.lidar.intensity_scale
    return out


def _fixed_from_model(frame: SensorFrame, mounting: Mounting) -> NDArray[np.float64]:
    """(4, 4) pose of the model frame in the fixed frame; NaN where unknown."""
    if frame.fixed_from_lidar is None:
        return np.full((4, 4), np.nan)
    return frame.fixed_from_lidar @ np.linalg.inv(mounting.model_from_lidar)
