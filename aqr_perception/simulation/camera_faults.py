"""Faults of cameras: what they do to a frame, and what the labels say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry import rigid
from aqr_perception.simulation import pixel_damage
from aqr_perception.simulation.fault_case import (
    Case,
    Result,
    harm_of_age,
    labels_of,
    level_turn,
    motion_over,
    numbers,
    repainted,
    rotation,
    with_images,
)
from aqr_perception.simulation.fault_labels import clean_labels
from aqr_perception.types import CameraImage


def absent(case: Case, cameras: Sequence[int]) -> Result:
    """Known to be gone."""
    frame = with_images(case.frame, dict.fromkeys(cameras))
    return frame, labels_of(case.frame, numbers(cameras), 0.0, False)


def uniform(case: Case, cameras: Sequence[int], level: int) -> Result:
    """Black or white pictures."""
    frame = repainted(case, cameras, lambda pixels: pixel_damage.uniform(pixels, level))
    return frame, labels_of(case.frame, numbers(cameras), 0.0, True)


def frozen(case: Case, cameras: Sequence[int], age_s: float) -> Result:
    """Pictures of a while ago under today's stamps."""
    old = case.earlier(age_s)
    changed: dict[int, CameraImage | None] = {}
    for k in cameras:
        image, before = case.frame.images[k], old.images[k]
        if image is not None and before is not None and old is not case.frame and (
                before.pixels.shape == image.pixels.shape):
            changed[k] = replace(image, pixels=before.pixels)
    intact, leave_out = harm_of_age(case, old)
    return (with_images(case.frame, changed),
            labels_of(case.frame, numbers(list(changed)), intact, leave_out))


def dirty(case: Case) -> Result:
    """Mud on three lenses; the labels say which pixels."""
    cameras = case.some_cameras(3)
    changed: dict[int, CameraImage | None] = {}
    damage: list[NDArray[np.bool_] | None] = [None] * len(case.frame.images)
    share = case.level((.15, .35, .6))
    for k in cameras:
        image = case.frame.images[k]
        assert image is not None
        pixels, damage[k] = pixel_damage.dirt(image.pixels, share, case.rng)
        changed[k] = replace(image, pixels=pixels)
    return (with_images(case.frame, changed),
            labels_of(case.frame, numbers(cameras), 1 - share, False, everywhere=False,
                    image_damage=tuple(damage)))


def blurred(case: Case) -> Result:
    """Three pictures out of focus."""
    cameras, spread = case.some_cameras(3), case.level((6.0, 14.0, 30.0))
    frame = repainted(case, cameras, lambda pixels: pixel_damage.blurred(pixels, spread))
    return frame, labels_of(case.frame, numbers(cameras), case.level((.7, .4, .15)),
                          case.severity == 3)


def noisy(case: Case) -> Result:
    """Noise on three pictures."""
    cameras, spread = case.some_cameras(3), case.level((20.0, 45.0, 90.0))
    frame = repainted(case, cameras,
                       lambda pixels: pixel_damage.noisy(pixels, spread, case.rng))
    return frame, labels_of(case.frame, numbers(cameras), case.level((.7, .4, .15)),
                          case.severity == 3)


def decalibrated(case: Case) -> Result:
    """Knocked: the pose that is claimed is no longer the true one. From 6° on better left out."""
    cameras = case.some_cameras(3)
    angle = np.radians(case.level((2.5, 6.0, 12.0)))
    changed: dict[int, CameraImage | None] = {}
    for k in cameras:
        axis = case.rng.normal(size=3) * [.5, 1.0, .5]  # mostly to the side
        turn = rotation(axis / np.linalg.norm(axis) * angle)
        changed[k] = _reclaimed(case.frame.images[k], turn, before=True)
    return (with_images(case.frame, changed),
            labels_of(case.frame, numbers(cameras), case.level((.7, .4, .1)), case.severity > 1))


def swapped(case: Case) -> Result:
    """Cables mixed up: pictures of two or more cameras come under each other's names."""
    cameras = case.some_cameras(case.level((2, 4, len(case.frame.images))))
    changed: dict[int, CameraImage | None] = {}
    for k, other in zip(cameras, np.roll(cameras, 1)):
        image, source = case.frame.images[k], case.frame.images[int(other)]
        if image is not None and source is not None and (
                source.pixels.shape == image.pixels.shape and k != other):
            changed[k] = replace(image, pixels=source.pixels)
    return (with_images(case.frame, changed),
            labels_of(case.frame, numbers(list(changed)), 0.0, True))


def rotated(case: Case) -> Result:
    """Twin of ``lidar_rotated``: the same disagreement, and the cloud is right."""
    turn = level_turn(case)
    changed = {k: _reclaimed(image, turn, before=False)
               for k, image in enumerate(case.frame.images) if image is not None}
    return (with_images(case.frame, changed),
            labels_of(case.frame, numbers(case.all_cameras()), case.level((.5, .2, .0)),
                      case.severity >= 2))


def late(case: Case) -> Result:
    """Clocks off: the car's motion is taken out wrongly; twin of the LiDAR's."""
    motion = motion_over(case)
    if motion is None:
        return case.frame, clean_labels(case.frame)
    changed = {k: _reclaimed(image, motion, before=False)
               for k, image in enumerate(case.frame.images) if image is not None}
    return (with_images(case.frame, changed),
            labels_of(case.frame, numbers(case.all_cameras()), case.level((.8, .5, .2)), False))


def missing(case: Case) -> Result:
    """MultiCorrupt's: each picture black by chance."""
    chance = case.level((.2, .4, .6))
    cameras = [k for k in case.all_cameras() if case.rng.random() < chance]
    return uniform(case, cameras, 0)


def brighter(case: Case) -> Result:
    """MultiCorrupt's: all pictures too bright."""
    amount = case.level((.1, .3, .5))
    frame = repainted(case, case.all_cameras(),
                      lambda pixels: pixel_damage.brighter(pixels, amount))
    return frame, labels_of(case.frame, numbers(case.all_cameras()), 1 - amount, False)


def dark(case: Case) -> Result:
    """MultiCorrupt's: all pictures too dark, with noise."""
    light, photons, read = case.level(((.6, 250.0, .008), (.4, 120.0, .018), (.3, 50.0, .026)))
    frame = repainted(case, case.all_cameras(), lambda pixels: pixel_damage.dark(
        pixels, light, photons, read, case.rng))
    return frame, labels_of(case.frame, numbers(case.all_cameras()), light, False)


def _reclaimed(image: CameraImage | None, change: rigid.Matrix, before: bool
               ) -> CameraImage | None:
    """A picture with a false pose: changed on the camera's side (``before``) or the LiDAR's."""
    if image is None:
        return None
    pose = image.calibration.camera_from_lidar
    claimed = change @ pose if before else pose @ change
    return replace(image, calibration=replace(image.calibration, camera_from_lidar=claimed))
