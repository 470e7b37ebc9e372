"""Where the roads lie: a main road with lanes, crossing roads, and the frame they are drawn in.

Everything is laid out in *road coordinates*: s along the main road and d to its left [m]. The main
road is straight or a circular arc, so the way to world coordinates and back is closed form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating]
STRAIGHT = 1e-9
"""Curvature below which a road is straight [1/m]."""
KERB_HEIGHT = 0.15
"""Height of pavements and blocks above the carriageway [m]."""


@dataclass(frozen=True)
class Terrain:
    """A gently rolling ground: a sum of plane waves.

    Attributes:
        amplitudes: (W,) [m].
        waves: (W, 2) wave vectors along world x and y [rad/m].
        phases: (W,) [rad].
    """

    amplitudes: NDArray[np.float64]
    waves: NDArray[np.float64]
    phases: NDArray[np.float64]

    @staticmethod
    def drawn(rng: np.random.Generator) -> Terrain:
        """Hills of 60 to 250 m length whose slopes stay below a few percent."""
        length = rng.uniform(70, 250, 3)
        direction = rng.uniform(0, 2 * np.pi, 3)
        number = 2 * np.pi / length
        slope = np.abs(rng.normal(0, 0.012, 3))
        waves = number[:, None] * np.stack([np.cos(direction), np.sin(direction)], 1)
        return Terrain(slope / number, waves, rng.uniform(0, 2 * np.pi, 3))

    @staticmethod
    def flat() -> Terrain:
        """A plane at z = 0."""
        return Terrain(np.zeros(1), np.zeros((1, 2)), np.zeros(1))

    def height(self, xy: ArrayLike) -> Floats:
        """Height [m] at world x, y (..., 2)."""
        phase = np.asarray(xy) @ self.waves.T + self.phases
        return np.asarray((np.sin(phase) * self.amplitudes).sum(-1))

    def slope(self, xy: ArrayLike) -> Floats:
        """Gradient (..., 2) at world x, y."""
        phase = np.asarray(xy) @ self.waves.T + self.phases
        return np.asarray((np.cos(phase) * self.amplitudes) @ self.waves)


@dataclass(frozen=True)
class RoadFrame:
    """Road coordinates s, d to world x, y and back.

    Attributes:
        curvature: Of the main road, to the left positive [1/m]; 0 is straight.
    """

    curvature: float

    def world(self, sd: ArrayLike) -> Floats:
        """World x, y (..., 2) of road s, d (..., 2)."""
        sd = np.asarray(sd, np.float64)
        if abs(self.curvature) < STRAIGHT:
            return sd.copy()
        angle, radius = self.curvature * sd[..., 0], 1 / self.curvature - sd[..., 1]
        return np.stack([radius * np.sin(angle), 1 / self.curvature - radius * np.cos(angle)], -1)

    def road(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Road s, d of world x, y, in their dtype."""
        if abs(self.curvature) < STRAIGHT:
            return x, y
        sign, radius = float(np.sign(self.curvature)), 1 / self.curvature
        across = radius - y
        return (np.arctan2(x * sign, across * sign) / self.curvature,
                radius - sign * np.hypot(x, across))

    def heading(self, s: ArrayLike) -> Floats:
        """World direction [rad] of the road at s."""
        return np.asarray(s) * self.curvature

    def stretch(self, d: ArrayLike) -> Floats:
        """Metres of world a metre of s, at the lateral place d."""
        return 1 - np.asarray(d) * self.curvature


@dataclass(frozen=True)
class Lane:
    """One lane.

    Attributes:
        center: Its middle, d [m].
        width: [m].
        direction: +1 along s, -1 against it, 0 for parking.
    """

    center: float
    width: float
    direction: int


@dataclass(frozen=True)
class CrossRoad:
    """A road across the main one.

    Attributes:
        center: Its middle, s [m].
        half_width: [m].
        left: Whether it goes on to the left (d > 0).
        right: The same to the right.
    """

    center: float
    half_width: float
    left: bool
    right: bool


@dataclass(frozen=True)
class RoadMap:
    r"""The plan of a drive's streets.

    Attributes:
        frame: Road coordinates.
        terrain: Height of the carriageway.
        start: Lowest s of the world [m].
        end: Highest s.
        reach: Largest |d| of the world [m].
        lanes: All lanes, from right to left.
        right: d of the right kerb.
        left: d of the left kerb.
        median: d from and to of a raised strip in the middle; None without.
        crossings: Roads across.
        pavement: Width of the pavement beside the carriageway [m].
        left_hand: Traffic keeps left.
    """

    frame: RoadFrame
    terrain: Terrain
    start: float
    end: float
    reach: float
    lanes: tuple[Lane, ...]
    right: float
    left: float
    median: tuple[float, float] | None
    crossings: tuple[CrossRoad, ...]
    pavement: float
    left_hand: bool

    def blocks(self) -> list[tuple[float, float, float, float]]:
        """Raised blocks beside the main road: s from, to, d from, to [m]."""
        found = []
        for low, high, side in ((-self.reach, self.right, "right"),
                                (self.left, self.reach, "left")):
            edges = [self.start]
            for road in self.crossings:
                if getattr(road, side):
                    edges += [road.center - road.half_width, road.center + road.half_width]
            edges.append(self.end)
            found += [(a, b, low, high) for a, b in zip(edges[::2], edges[1::2]) if b - a > 1.0]
        return found

    def median_strips(self) -> list[tuple[float, float, float, float]]:
        """Raised pieces of the median, cut at crossings: s from, to, d from, to [m]."""
        if self.median is None:
            return []
        edges = [self.start]
        for road in self.crossings:
            edges += [road.center - road.half_width - 3, road.center + road.half_width + 3]
        edges.append(self.end)
        return [(a, b, *self.median) for a, b in zip(edges[::2], edges[1::2]) if b - a > 4.0]

    def crossing_at(self, s: float, margin: float = 0.0) -> CrossRoad | None:
        """The crossing road that covers s, grown by a margin [m]."""
        for road in self.crossings:
            if abs(s - road.center) < road.half_width + margin:
                return road
        return None

    def place(self, s: float, d: float, lift: float = 0.0) -> NDArray[np.float64]:
        """World x, y, z [m] of a place on the ground; ``lift`` is added to its height.

        As `RoadFrame.world` and `Terrain.height`, in plain floats: it is called very often.
        """
        curvature = self.frame.curvature
        x, y = s, d
        if abs(curvature) >= STRAIGHT:
            angle, radius = curvature * s, 1 / curvature - d
            x, y = radius * math.sin(angle), 1 / curvature - radius * math.cos(angle)
        terrain = self.terrain
        z = lift
        for amplitude, (wave_x, wave_y), phase in zip(
                terrain.amplitudes.tolist(), terrain.waves.tolist(), terrain.phases.tolist()):
            z += amplitude * math.sin(wave_x * x + wave_y * y + phase)
        return np.array([x, y, z])


def draw_roadmap(rng: np.random.Generator, length: float) -> RoadMap:
    """A road for a drive of ``length`` metres along s from 0, with 110 m before and behind."""
    curvature = float(np.clip(rng.normal(0, 1 / 450), -1 / 160, 1 / 160))
    if rng.random() < .35 or abs(curvature) < 1 / 5000:
        curvature = 0.0
    left_hand = bool(rng.random() < .5)
    width = float(rng.uniform(3.0, 3.7))
    ahead, back = int(rng.choice([1, 2, 3], p=[.4, .4, .2])), int(rng.choice([0, 1, 2, 3],
                                                                 p=[.08, .42, .35, .15]))
    parking = [bool(rng.random() < .35), bool(rng.random() < .35)]
    median = float(rng.uniform(.8, 3.0)) if back and ahead + back > 2 and rng.random() < .35 else 0.
    # From right to left: with traffic that keeps right, the lanes along s come first.
    directions = [-1] * back + [1] * ahead if left_hand else [1] * ahead + [-1] * back
    middle = back if left_hand else ahead
    lanes, d = [], 0.0
    strip = None
    if parking[0]:
        lanes.append(Lane(d + 1.15, 2.3, 0))
        d += 2.3
    for k, direction in enumerate(directions):
        if k == middle and median and k:
            strip = (d, d + median)
            d += median
        lanes.append(Lane(d + width / 2, width, direction))
        d += width
    if parking[1]:
        lanes.append(Lane(d + 1.15, 2.3, 0))
        d += 2.3
    crossings, s = [], float(rng.uniform(-100, 40))
    while s < length + 95:
        kind = rng.random()
        crossings.append(CrossRoad(s, float(rng.uniform(3.0, 8.0)), bool(kind < .75),
                                   bool(kind > .25)))
        s += float(rng.uniform(45, 150))
    terrain = Terrain.drawn(rng)
    shift = d / 2
    return RoadMap(
        frame=RoadFrame(curvature), terrain=terrain, start=-110.0, end=length + 110.0, reach=95.0,
        lanes=tuple(Lane(lane.center - shift, lane.width, lane.direction) for lane in lanes),
        right=-shift, left=d - shift,
        median=None if strip is None else (strip[0] - shift, strip[1] - shift),
        crossings=tuple(crossings), pavement=float(rng.uniform(2.0, 5.0)), left_hand=left_hand)
