"""Faults that all sensors share: weather, motion, and clocks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aqr_perception.simulation import pixel_damage, point_damage
from aqr_perception.simulation.camera_faults import frozen
from aqr_perception.simulation.fault_case import (
    LIDAR,
    Case,
    Result,
    harm_of_age,
    labels_of,
    repainted,
    with_images,
    with_points,
)
from aqr_perception.simulation.lidar_faults import air
from aqr_perception.types import CameraImage


def motion_blur(case: Case) -> Result:
    """MultiCorrupt's: pictures smeared, the cloud shifted and jittered."""
    spread = case.level((.06, .1, .13))
    frame = repainted(case, case.all_cameras(), lambda pixels: pixel_damage.motion_blur(
        pixels, 100 * spread, case.rng))
    shift = np.eye(4)
    shift[:3, 3] = case.rng.normal(0, spread, 3)
    points = point_damage.jittered(point_damage.rotated(case.cloud(), shift),
                                   spread * np.array([.15, .2, .12]), case.rng)
    labels = labels_of(case.frame, range(1 + len(case.frame.images)), case.level((.8, .6, .5)),
                       False)
    return with_points(frame, points), labels


def fog(case: Case) -> Result:
    """Fog before all sensors, of one density."""
    frame, _ = air(case)
    density = case.level((.02, .03, .06))
    changed: dict[int, CameraImage | None] = {}
    for k, image in enumerate(case.frame.images):
        if image is not None:
            horizon = float(image.calibration.camera.intrinsics[1, 2])
            changed[k] = replace(image, pixels=pixel_damage.fog(image.pixels, density, horizon,
                                                                 case.rng))
    return (with_images(frame, changed),
            labels_of(case.frame, range(1 + len(case.frame.images)), case.level((.8, .6, .35)),
                    False))


def snow(case: Case) -> Result:
    """Falling snow before all sensors."""
    flakes, veil = case.level(((.5, .10), (1.0, .15), (1.8, .20)))
    frame = repainted(case, case.all_cameras(), lambda pixels: pixel_damage.snow(
        pixels, flakes, veil, case.rng))
    points = point_damage.snow(case.cloud(), case.level((.08, .16, .3)), case.rng)
    return (with_points(frame, points),
            labels_of(case.frame, range(1 + len(case.frame.images)), case.level((.8, .6, .4)),
                    False))


def late_by_chance(case: Case) -> Result:
    """Each sensor by itself shows, with a chance, what it saw half a second ago."""
    chance = case.level((.2, .4, .6))
    late = [k for k in case.all_cameras() if case.rng.random() < chance]
    frame, labels = frozen(case, late, .5)
    old = case.earlier(.5)
    if case.rng.random() >= chance or old is case.frame or old.lidar is None or (
            frame.lidar is None):
        return frame, labels
    sensors = [LIDAR, *np.flatnonzero(labels.everywhere & case.frame.present)]
    return (with_points(frame, old.lidar.points),
            labels_of(case.frame, sensors, *harm_of_age(case, old)))
