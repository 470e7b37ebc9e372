"""What can go wrong with a cloud. Each function returns new points; the input is untouched.

Points are (N, 5): x, y, z [m] in the LiDAR frame, intensity 0..1, dt [s]. Points nearer than
`OWN_BODY` are the car itself or beams without a return, and are left as they are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry import rigid
from aqr_perception.geometry.boxes import Boxes3D, points_in_boxes

Points = NDArray[np.float32]
OWN_BODY = 2.5
"""[m]"""
BEAMS = 32
LOWEST, HIGHEST = np.radians(-30.67), np.radians(10.67)
"""Elevations of the outermost lasers of nuScenes' LiDAR [rad]; another one's are cut likewise."""


def without_sector(points: Points, start: float, width: float) -> Points:
    """Nothing from an azimuth sector, counter-clockwise from ``start`` [rad]."""
    azimuth = np.arctan2(points[:, 1], points[:, 0])
    gone = ((azimuth - start) % (2 * np.pi) < width) & ~_own(points)
    return points[~gone]


def fewer_beams(points: Points, keep: int) -> Points:
    """Only ``keep`` of 32 beams, evenly spread, the second from below first.

    A cloud does not say which laser a point is of; they are told apart by elevation.
    """
    return points[_own(points) | ((beams_of(points) - 1) % (BEAMS // keep) == 0)]


def beams_of(points: Points) -> NDArray[np.int64]:
    """(N,) beam of each point, 0 the lowest, by elevation."""
    elevation = np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1]))
    step = (HIGHEST - LOWEST) / (BEAMS - 1)
    return np.clip(np.round((elevation - LOWEST) / step), 0, BEAMS - 1).astype(np.int64)


def fewer_points(points: Points, share: float, rng: np.random.Generator) -> Points:
    """A random ``share`` of all points is gone; the order of the others stays."""
    return points[rng.random(len(points)) >= share]


def without_objects(points: Points, boxes: Boxes3D) -> Points:
    """Nothing on some objects, as from surfaces that swallow the beam, in any of the sweeps."""
    gone = np.zeros(len(points), bool)
    for age in np.unique(points[:, 4]):
        sweep = points[:, 4] == age
        then = boxes.center.copy()
        then[:, :2] -= np.nan_to_num(boxes.velocity) * age
        gone[sweep] = points_in_boxes(points[sweep], replace(boxes, center=then), .15).any(axis=0)
    return points[~gone]


def picked_places(points: Points, count: int, rng: np.random.Generator) -> Boxes3D:
    """Upright boxes around a few things in the cloud, where nobody has annotated any."""
    middle = np.median(points[:, 2]) if len(points) else 0.0
    high = points[(points[:, 2] > middle + .4) & ~_own(points)]
    if not len(high):
        return Boxes3D.empty()
    center = high[rng.choice(len(high), min(count, len(high)), replace=False), :3]
    size = np.tile(np.array([3.0, 3.0, 3.0], np.float32), (len(center), 1))
    return Boxes3D(center, size, np.zeros(len(center), np.float32),
                   np.full((len(center), 2), np.nan, np.float32))


def with_ghosts(points: Points, count: int, rng: np.random.Generator) -> tuple[Points, Boxes3D]:
    """Things that are not there: the visible sides of boxes the size of cars and people.

    They stand still, and every sweep of the cloud has seen them.
    """
    azimuth, distance = rng.uniform(-np.pi, np.pi, count), rng.uniform(5, 35, count)
    large = rng.random(count) < .6
    size = np.where(large[:, None], [4.4, 1.9, 1.6], [.7, .7, 1.7]) * rng.uniform(.85, 1.15,
                                                                              (count, 3))
    xy = distance[:, None] * np.stack([np.cos(azimuth), np.sin(azimuth)], 1)
    low = ground_height(points, xy)
    center = np.column_stack([xy, low + size[:, 2] / 2]).astype(np.float32)
    yaw = rng.uniform(-np.pi, np.pi, count).astype(np.float32)
    boxes = Boxes3D(center, size.astype(np.float32), yaw, np.zeros((count, 2), np.float32))
    added = []
    for age in np.unique(points[:, 4]) if len(points) else np.zeros(1, np.float32):
        for k in range(count):
            added.append(_box_returns(boxes[k:k + 1], rng))
            added[-1][:, 4] = age
    return np.concatenate([points, *added]).astype(np.float32), boxes


def fog(points: Points, extinction: float, rng: np.random.Generator) -> Points:
    """Weaker and fewer returns from far off, and some from the air nearby.

    Args:
        points: The cloud.
        extinction: Of the air [1/m]: a return from range r keeps exp(-2·extinction·r).
        rng: Which beams meet a droplet, and where.
    """
    own = _own(points)
    distance = np.linalg.norm(points[:, :3].astype(np.float64), axis=1)
    left = points[:, 3] * np.exp(-2 * extinction * distance)
    # A detector sees down to one level, and far off to about 4e-3·r² of 255 (see the rig).
    floor = np.maximum(.6, 4e-3 * distance ** 2)
    seen = left * 255 * np.exp(rng.normal(0, .3, len(points))) > floor
    out = points.copy()
    out[:, 3] = np.maximum(left, 0)
    early = rng.exponential(.5 / extinction, len(points)).clip(2.6)
    scattered = (rng.random(len(points)) < np.minimum(6 * extinction, .5)) & (early < distance)
    factor = np.where(scattered, early / np.maximum(distance, 1e-3), 1.0)
    out[:, :3] *= factor[:, None].astype(np.float32)
    out[scattered, 3] = rng.uniform(.005, .05, int(scattered.sum()))
    out[own] = points[own]
    return out[seen | scattered | own]


def snow(points: Points, rate: float, rng: np.random.Generator) -> Points:
    """Flakes near the sensor take the place of returns; the rest gets weaker."""
    own = _own(points)
    distance = np.linalg.norm(points[:, :3], axis=1)
    early = rng.gamma(1.5, 4.0, len(points)).clip(2.6)
    flake = (rng.random(len(points)) < rate) & (early < distance) & ~own
    out = points.copy()
    factor = np.where(flake, early / np.maximum(distance, 1e-3), 1.0)
    out[:, :3] *= factor[:, None].astype(np.float32)
    out[flake, 3] = rng.uniform(.01, .25, int(flake.sum()))
    lost = (rng.random(len(points)) < rate * np.minimum(distance / 40, 1)) & ~flake & ~own
    return out[~lost]


def rotated(points: Points, rotation: rigid.Matrix) -> Points:
    """The cloud as seen from a sensor that was turned or moved, and does not know."""
    out, own = points.copy(), _own(points)
    out[:, :3] = rigid.transform_points(rotation, points[:, :3])
    out[own] = points[own]
    return out


def jittered(points: Points, deviation: float | NDArray[np.floating],
             rng: np.random.Generator) -> Points:
    """Every point off by Gaussian noise [m], of one deviation or one each along x, y and z."""
    out, own = points.copy(), _own(points)
    out[:, :3] += rng.normal(0, deviation, (len(points), 3)).astype(np.float32)
    out[own] = points[own]
    return out


def ground_height(points: Points, xy: NDArray[np.floating]) -> NDArray[np.float64]:
    """(K,) height of the ground near places (K, 2): a low quantile of the points around."""
    real = points[~_own(points)]
    overall = float(np.quantile(real[:, 2], .1)) if len(real) else -1.8
    out = np.full(len(xy), overall)
    for k, place in enumerate(np.asarray(xy)):
        near = real[np.square(real[:, :2] - place).sum(1) < 16.0, 2]
        if len(near) >= 5:
            out[k] = float(np.quantile(near, .1))
    return out


def _box_returns(box: Boxes3D, rng: np.random.Generator) -> Points:
    """(K, 5) points where beams of a 32-beam scanner would meet the near sides of a box."""
    distance = max(2.0, float(np.hypot(*box.center[0, :2])))
    cosine, sine = np.cos(box.yaw[0]), np.sin(box.yaw[0])
    half = box.size[0].astype(np.float64) / 2
    eye = -box.center[0, :2].astype(np.float64)
    local_eye = np.array([cosine * eye[0] + sine * eye[1], -sine * eye[0] + cosine * eye[1]])
    parts = []
    for axis in (0, 1):
        if abs(local_eye[axis]) <= half[axis]:
            continue
        other = 1 - axis
        along = np.arange(-half[other], half[other], max(.0058 * distance, .03))
        up = np.arange(-half[2] + .1, half[2], .0233 * distance)
        grid = np.stack(np.meshgrid(along, up, indexing="ij"), -1).reshape(-1, 2)
        side = np.zeros((len(grid), 3))
        side[:, axis] = np.sign(local_eye[axis]) * half[axis]
        side[:, other], side[:, 2] = grid[:, 0], grid[:, 1]
        parts.append(side)
    local = np.concatenate(parts) if parts else np.zeros((0, 3))
    local += rng.normal(0, .02, local.shape)
    out = np.zeros((len(local), 5), np.float32)
    out[:, 0] = cosine * local[:, 0] - sine * local[:, 1] + box.center[0, 0]
    out[:, 1] = sine * local[:, 0] + cosine * local[:, 1] + box.center[0, 1]
    out[:, 2] = local[:, 2] + box.center[0, 2]
    out[:, 3] = rng.uniform(.01, .15, len(local))
    return out[rng.random(len(out)) < .85]


def _own(points: Points) -> NDArray[np.bool_]:
    return np.square(points[:, :3]).sum(1) < OWN_BODY ** 2
