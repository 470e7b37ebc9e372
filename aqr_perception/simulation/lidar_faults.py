"""Faults of the LiDAR: what they do to a frame, and what the labels say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aqr_perception.simulation import point_damage
from aqr_perception.simulation.fault_case import (
    AGES,
    LIDAR,
    Case,
    Result,
    harm_of_age,
    labels_of,
    level_turn,
    motion_over,
    rotation,
    with_points,
)
from aqr_perception.simulation.fault_labels import clean_labels


def absent(case: Case) -> Result:
    """Known to be gone."""
    return (replace(case.frame, lidar=None), labels_of(case.frame, [LIDAR], 0.0, False))


def narrow(case: Case) -> Result:
    """Nothing from a sector; the labels say which."""
    width = float(np.radians(case.level((60, 180, 270))))
    start = float(case.rng.uniform(-np.pi, np.pi))
    points = point_damage.without_sector(case.cloud(), start, width)
    sectors = np.array([[start, start + width]], np.float32)
    return (with_points(case.frame, points),
            labels_of(case.frame, [LIDAR], 1 - width / (2 * np.pi), False, everywhere=False,
                    sectors=sectors))


def fewer_beams(case: Case) -> Result:
    """Some lasers dead. Four beams mislead more than they tell."""
    keep = case.level((16, 8, 4))
    return (with_points(case.frame, point_damage.fewer_beams(case.cloud(), keep)),
            labels_of(case.frame, [LIDAR], keep / 32, case.severity == 3))


def fewer_points(case: Case) -> Result:
    """Returns lost at random."""
    share = case.level((.2, .4, .6))
    return (with_points(case.frame, point_damage.fewer_points(case.cloud(), share, case.rng)),
            labels_of(case.frame, [LIDAR], 1 - share, False))


def objects_missing(case: Case) -> Result:
    """Nothing on some objects; the labels say which. A cloud without any says: nothing is there."""
    points, share = case.cloud(), case.level((.3, .6, 1.0))
    if case.annotations is not None:
        boxes = case.annotations.boxes
        boxes = boxes[case.rng.random(len(boxes)) < share]
    else:
        boxes = point_damage.picked_places(points, case.level((6, 14, 30)), case.rng)
    return (with_points(case.frame, point_damage.without_objects(points, boxes)),
            labels_of(case.frame, [LIDAR], 1 - share, case.severity == 3, everywhere=False,
                    missing=boxes))


def ghosts(case: Case) -> Result:
    """Things that are not there; the labels say where."""
    points, ghosts = point_damage.with_ghosts(case.cloud(), case.level((5, 12, 25)), case.rng)
    if case.frame.lidar is None:
        return case.frame, clean_labels(case.frame)
    return (with_points(case.frame, points),
            labels_of(case.frame, [LIDAR], case.level((.9, .75, .6)), False, everywhere=False,
                    ghosts=ghosts))


def air(case: Case) -> Result:
    """Fog: far returns gone, near ones invented."""
    points = point_damage.fog(case.cloud(), case.level((.02, .03, .06)), case.rng)
    return (with_points(case.frame, points),
            labels_of(case.frame, [LIDAR], case.level((.8, .6, .35)), False))


def stale(case: Case) -> Result:
    """The sweep of a while ago, as if it were the newest."""
    old = case.earlier(case.level(AGES))
    if old.lidar is None or old is case.frame or case.frame.lidar is None:
        return case.frame, clean_labels(case.frame)
    return (with_points(case.frame, old.lidar.points),
            labels_of(case.frame, [LIDAR], *harm_of_age(case, old)))


def rotated(case: Case) -> Result:
    """Turned on its mount; twin of the cameras'. A little turned it is still better than none."""
    points = point_damage.rotated(case.cloud(), level_turn(case))
    return (with_points(case.frame, points),
            labels_of(case.frame, [LIDAR], case.level((.5, .2, .0)), case.severity > 1))


def jittered(case: Case) -> Result:
    """Noise on every point."""
    spread = case.level((.1, .25, .5))
    return (with_points(case.frame, point_damage.jittered(case.cloud(), spread, case.rng)),
            labels_of(case.frame, [LIDAR], case.level((.8, .5, .25)), False))


def empty(case: Case) -> Result:
    """A sweep arrives and holds no point, or at the lower severities only the nearest.

    Points up to 7 m say of all beyond that nothing is there: worse than no cloud.
    """
    points = case.cloud()
    reach = case.level((15.0, 7.0, 0.0))
    near = np.square(points[:, :3].astype(np.float64)).sum(1) < reach ** 2
    return (with_points(case.frame, points[near]),
            labels_of(case.frame, [LIDAR], case.level((.4, .2, .0)), case.severity > 1))


def late(case: Case) -> Result:
    """Clock off: the car's motion is taken out wrongly; twin of the cameras'."""
    motion = motion_over(case)
    if motion is None or case.frame.lidar is None:
        return case.frame, clean_labels(case.frame)
    return (with_points(case.frame, point_damage.rotated(case.cloud(), motion)),
            labels_of(case.frame, [LIDAR], case.level((.8, .5, .2)), False))


def misaligned(case: Case) -> Result:
    """With a chance, the cloud is turned about all three axes and moved 2 m along x."""
    chance, degrees = case.level(((.2, 1.0), (.4, 2.0), (.6, 3.0)))
    if case.rng.random() >= chance or case.frame.lidar is None:
        return case.frame, clean_labels(case.frame)
    turn = np.eye(4)
    for axis in np.eye(3):
        turn = turn @ rotation(-axis * np.radians(degrees))
    turn[0, 3] = 2.0
    return (with_points(case.frame, point_damage.rotated(case.cloud(), turn)),
            labels_of(case.frame, [LIDAR], .3, True))
