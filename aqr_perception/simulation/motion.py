"""How things move: at a speed that changes evenly, along a lane or across it. Closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry import rigid
from aqr_perception.simulation.roadmap import RoadMap


@dataclass(frozen=True)
class Profile:
    """Speed over time: constant before t = 0, then changing evenly until it is the final one.

    Attributes:
        speed: At t ≤ 0 [m/s].
        acceleration: Its size [m/s²]; the sign follows from the two speeds.
        final: Speed that it ends with [m/s].
    """

    speed: float
    acceleration: float = 0.0
    final: float | None = None

    def at(self, t: float) -> tuple[float, float]:
        """Distance [m] since t = 0 and speed [m/s] at time t [s]."""
        final = self.speed if self.final is None else self.final
        change = final - self.speed
        if t <= 0 or change == 0 or self.acceleration <= 0:
            return self.speed * t, self.speed
        rate = np.copysign(self.acceleration, change)
        ramp = min(t, change / rate)
        reached = self.speed + rate * ramp
        distance = self.speed * ramp + rate * ramp ** 2 / 2 + reached * (t - ramp)
        return float(distance), float(reached)


@dataclass(frozen=True)
class Motion:
    """A place in road coordinates and a way through them.

    Attributes:
        s: At t = 0 [m].
        d: At t = 0 [m].
        course: Direction of travel in road coordinates: 0 along +s, π/2 towards +d [rad].
        profile: Speed.
        turn: Heading of the object against its course [rad].
        lift: Height above the carriageway, e.g. of a pavement [m].
    """

    s: float
    d: float
    course: float = 0.0
    profile: Profile = Profile(0.0)
    turn: float = 0.0
    lift: float = 0.0

    @property
    def moves(self) -> bool:
        """Whether it ever leaves its place."""
        return bool(self.profile.speed or self.profile.final)

    def at(self, plan: RoadMap, t: float) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
        """Where it is: foot x, y, z (3,) [m], yaw [rad] and velocity x, y (2,) [m/s], world."""
        distance, speed = self.profile.at(t)
        along, across = math.cos(self.course), math.sin(self.course)
        curvature = plan.frame.curvature
        stretch = 1 - self.d * curvature
        s, d = self.s + along * distance / stretch, self.d + across * distance
        heading = s * curvature
        x, y = math.cos(heading), math.sin(heading)
        forward, left = speed * along * (1 - d * curvature) / stretch, speed * across
        velocity = np.array([forward * x - left * y, forward * y + left * x])
        return plan.place(s, d, self.lift), heading + self.course + self.turn, velocity


def box_pose(motion: Motion, plan: RoadMap, height: float, t: float
             ) -> tuple[rigid.Matrix, NDArray[np.float64]]:
    """(4, 4) world from the centre of an upright box of a height [m], and its velocity (2,)."""
    foot, yaw, velocity = motion.at(plan, t)
    return rigid.from_xyz_yaw(foot[0], foot[1], foot[2] + height / 2, yaw), velocity


def car_pose(motion: Motion, plan: RoadMap, t: float) -> rigid.Matrix:
    """(4, 4) world from ego: x forward along the slope of the ground, z normal to it."""
    foot, yaw, _ = motion.at(plan, t)
    slope = plan.terrain.slope(foot[:2])
    up = np.array([-slope[0], -slope[1], 1.0])
    up /= np.linalg.norm(up)
    forward = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    forward -= up * (up @ forward)
    forward /= np.linalg.norm(forward)
    return rigid.from_rotation_translation(
        np.stack([forward, np.cross(up, forward), up], axis=1), foot)
