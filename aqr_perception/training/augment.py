"""Augmentation that keeps calibration true: what moves the world moves the cameras with it.

Pictures are changed on the frame (before the network's own resize), the world on the batch (after
it), since a yaw, scale, shift or mirror of the world is one 4×4 matrix A there: points and boxes
move by A, projections by its inverse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aqr_perception.training.targets import Targets
from aqr_perception.types import Batch, Calibration, CameraImage, LidarCloud, SensorFrame


@dataclass(frozen=True)
class Augmentation:
    """Ranges that the draws come from; those of the world are CMT's but for yaw and mirror.

    Attributes:
        yaw: Largest turn of the world either way [rad]; CMT's is π/4.
        scale: Smallest and largest scale of the world.
        translation: Standard deviation of its shift along each axis [m].
        mirror: Whether the world is mirrored left-right and front-back, each half of the time, as
            in CMT. Traffic then keeps to either side, and a small network that sees little of an
            object no longer learns which way it heads.
        crop: Smallest share of a picture's width and height that a random crop keeps.
        mirror_image: Whether pictures are mirrored half of the time, the projection with them.
        color: Largest relative change of brightness, contrast and saturation.
        image_noise: Largest standard deviation of pixel noise [grey levels].
        image_blur: Largest standard deviation of a blur [px of the source picture].
        intensity: Largest relative change of LiDAR intensity.
        point_dropout: Largest share of points that is left out at random.
        point_noise: Standard deviation of noise on the points [m].
        fewer_sweeps: Share of clouds of several sweeps that lose some of the older ones.
        no_images: Share of frames whose cameras are all left out.
        no_lidar: Share of frames whose LiDAR is left out.
        some_images: Share of frames of which one to V - 1 cameras are left out.
        whole_every: One frame in so many keeps all its sensors, so that every trunk has something
            to learn from in every batch of at least that size.
    """

    yaw: float = 0.3
    scale: tuple[float, float] = (0.9, 1.1)
    translation: float = 0.5
    mirror: bool = False
    crop: float = 0.8
    mirror_image: bool = True
    color: float = 0.4
    image_noise: float = 8.0
    image_blur: float = 1.5
    intensity: float = 0.5
    point_dropout: float = 0.3
    point_noise: float = 0.01
    fewer_sweeps: float = 0.3
    no_images: float = 0.2
    no_lidar: float = 0.2
    some_images: float = 0.15
    whole_every: int = 4


def augment_frame(frame: SensorFrame, settings: Augmentation, rng: np.random.Generator,
                  whole: bool = False) -> SensorFrame:
    """Vary what the sensors saw, and leave whole sensors out (modal masking).

    Args:
        frame: Untouched.
        settings: Ranges.
        rng: Source of every draw; the same state gives the same frame. How much is drawn from it
            does not depend on the frame: twins, and what was before, vary alike to the end.
        whole: Leave no sensor out.

    Returns:
        A frame with changed pictures (calibration changed alike) and points; left-out sensors are
        None, which is how a dead one looks at run time too.
    """
    keep = _draw_present(frame, settings, rng) | whole
    window = _draw_window(settings, rng)  # one draw for all cameras, as in CMT
    mirrored = settings.mirror_image and rng.random() < 0.5
    of_points, *of_images = map(np.random.default_rng, rng.integers(
        2 ** 63, size=1 + len(frame.images)))
    images = tuple(
        None if image is None or not kept
        else _vary_colors(_crop_and_mirror(image, window, mirrored), settings, own)
        for image, kept, own in zip(frame.images, keep[1:], of_images))
    lidar = frame.lidar if keep[0] else None
    if lidar is not None:
        lidar = _vary_points(lidar, settings, of_points)
    return replace(frame, images=images, lidar=lidar)


def draw_worlds(settings: Augmentation, rngs: Sequence[np.random.Generator]
                ) -> NDArray[np.float64]:
    """(B, 4, 4) turn, scale, shift and mirror of the world of each frame.

    Args:
        settings: Ranges.
        rngs: Source of the draws of each frame, so that a frame does not depend on its neighbours.
    """
    return np.stack([_draw_world(settings, rng) for rng in rngs])


def move_batch(batch: Batch, worlds: NDArray[np.float64]) -> Batch:
    """Move points, projections and poses.

    Consecutive frames that are moved by the same matrix keep the motion between them, as seen in
    the moved world.

    Args:
        batch: Frames on the CPU; untouched.
        worlds: (B, 4, 4).
    """
    world = torch.from_numpy(worlds)
    inverse = torch.linalg.inv(world)
    moved = world[batch.point_frame].float()
    xyz = (moved[:, :3, :3] @ batch.points[:, :3, None])[..., 0] + moved[:, :3, 3]
    return replace(
        batch,
        points=torch.cat([xyz, batch.points[:, 3:]], dim=1),
        image_from_lidar=torch.where(  # of an absent camera it says that nobody knows it
            batch.camera_present[..., None, None],
            (batch.image_from_lidar.double() @ inverse[:, None]).float(), batch.image_from_lidar),
        fixed_from_model=batch.fixed_from_model @ inverse)


def move_targets(targets: Sequence[Targets], worlds: NDArray[np.float64]) -> list[Targets]:
    """Move the boxes of each frame by its matrix of (B, 4, 4)."""
    return [Targets(_move_boxes(frame.boxes, torch.from_numpy(world)), frame.labels)
            for frame, world in zip(targets, worlds)]


def _draw_present(frame: SensorFrame, settings: Augmentation, rng: np.random.Generator
                  ) -> NDArray[np.bool_]:
    """(S,) which sensors stay; at least one that was there does."""
    views = len(frame.images)
    keep = np.ones(1 + views, dtype=bool)
    draw, count, order = rng.random(), int(rng.integers(1, max(views, 2))), rng.permutation(views)
    if draw < settings.no_images:
        keep[1:] = False
    elif draw < settings.no_images + settings.no_lidar:
        keep[0] = False
    elif draw < settings.no_images + settings.no_lidar + settings.some_images:
        keep[1 + order[:count]] = False
    return keep if (keep & frame.present).any() else np.ones_like(keep)


def _draw_window(settings: Augmentation, rng: np.random.Generator
                 ) -> tuple[float, float, float]:
    """Share of the picture kept, and where the kept window lies (0 left/top, 1 right/bottom)."""
    return (rng.uniform(settings.crop, 1.0), rng.random(), rng.random())


def _crop_and_mirror(image: CameraImage, window: tuple[float, float, float], mirrored: bool
                     ) -> CameraImage:
    """Cut a window out of the picture and mirror it, K and pose changed alike.

    A mirrored picture is what a camera with a mirrored x axis sees: the x row of
    ``camera_from_lidar`` changes sign, and the principal point moves to the other side.
    """
    share, across, down = window
    camera = image.calibration.camera
    width, height = round(camera.width * share), round(camera.height * share)
    left, top = int((camera.width - width) * across), int((camera.height - height) * down)
    pixels = image.pixels[top:top + height, left:left + width]
    camera = camera.cropped(left, top, width, height)
    camera_from_lidar = image.calibration.camera_from_lidar
    if mirrored and not camera.is_distorted:
        pixels = pixels[:, ::-1]
        intrinsics = camera.intrinsics.copy()
        intrinsics[0, 2] = width - 1 - intrinsics[0, 2]
        camera = replace(camera, intrinsics=intrinsics)
        camera_from_lidar = np.diag([-1.0, 1.0, 1.0, 1.0]) @ camera_from_lidar
    calibration = Calibration(camera, camera_from_lidar, image.calibration.frame_id)
    return replace(image, pixels=np.ascontiguousarray(pixels), calibration=calibration)


def _vary_colors(image: CameraImage, settings: Augmentation, rng: np.random.Generator
                 ) -> CameraImage:
    """Brightness, contrast, saturation, white balance, blur and noise, a draw for each camera."""
    strength = settings.color
    brightness, contrast, saturation = 1 + rng.uniform(-strength, strength, 3)
    balance = 1 + rng.uniform(-strength, strength, 3) * 0.3
    blur = rng.uniform(0, settings.image_blur) if rng.random() < 0.5 else 0.0
    noise = rng.uniform(0, settings.image_noise) if rng.random() < 0.5 else 0.0
    pixels = image.pixels.astype(np.float32)
    mean = pixels.mean()
    grey = pixels.mean(axis=2, keepdims=True)
    pixels = grey + (pixels - grey) * saturation
    pixels = (mean + (pixels - mean) * contrast) * (brightness * balance).astype(np.float32)
    if blur > 0.3:
        pixels = cv2.GaussianBlur(pixels, (0, 0), blur)
    if noise > 0:
        pixels = pixels + rng.standard_normal(pixels.shape, dtype=np.float32) * noise
    return replace(image, pixels=np.clip(pixels, 0, 255).astype(np.uint8))


def _vary_points(cloud: LidarCloud, settings: Augmentation, rng: np.random.Generator
                 ) -> LidarCloud:
    """Drop points, jitter them, and change the scale and curve of their intensity."""
    dropout = rng.uniform(0, settings.point_dropout)
    factor, power = 1 + rng.uniform(-settings.intensity, settings.intensity, 2)
    points = _newest_sweeps(cloud.points, settings, rng)
    # Last what depends on how many points there are.
    points = points[rng.random(len(points)) >= dropout].copy()
    points[:, :3] += rng.normal(0, settings.point_noise, (len(points), 3)).astype(np.float32)
    points[:, 3] = np.clip(factor * points[:, 3] ** power, 0, 1)
    return replace(cloud, points=points)


def _newest_sweeps(points: NDArray[np.float32], settings: Augmentation, rng: np.random.Generator
                   ) -> NDArray[np.float32]:
    """All sweeps of a cloud, or with some chance fewer of them: vehicles differ in that."""
    fewer, share = rng.random() < settings.fewer_sweeps, rng.random()
    oldest = points[:, 4].max(initial=0.0)
    return points[points[:, 4] < share * oldest] if fewer and oldest > 0 else points


def _draw_world(settings: Augmentation, rng: np.random.Generator) -> NDArray[np.float64]:
    """(4, 4) flip · shift · scale · turn, in the order of CMT's pipeline."""
    turn = rng.uniform(-settings.yaw, settings.yaw)
    scale = rng.uniform(*settings.scale)
    shift = rng.normal(0.0, settings.translation, 3)
    flips = np.where(rng.random(2) < 0.5, -1.0, 1.0) if settings.mirror else np.ones(2)
    cosine, sine = np.cos(turn), np.sin(turn)
    rotation = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1.0]])
    world = np.eye(4)
    world[:3, :3] = scale * rotation
    world[:3, 3] = shift
    return np.diag([flips[0], flips[1], 1.0, 1.0]) @ world


def _move_boxes(boxes: Tensor, world: Tensor) -> Tensor:
    """Move (M, 9) boxes by a (4, 4) similarity whose z axis stays up."""
    world = world.to(boxes.dtype)
    linear = world[:3, :3]
    scale = linear[2, 2]
    center = boxes[:, :3] @ linear.T + world[:3, 3]
    heading = torch.stack([boxes[:, 6].cos(), boxes[:, 6].sin()], dim=1) @ linear[:2, :2].T
    velocity = boxes[:, 7:9] @ linear[:2, :2].T
    yaw = torch.atan2(heading[:, 1], heading[:, 0])
    return torch.cat([center, boxes[:, 3:6] * scale, yaw[:, None], velocity], dim=1)
