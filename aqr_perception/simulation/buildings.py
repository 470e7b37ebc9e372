"""Buildings, walls, fences and bridges. Windows are texture, see `shading`."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aqr_perception.simulation import palette
from aqr_perception.simulation.materials import Material
from aqr_perception.simulation.mesh import MeshBuilder, at
from aqr_perception.simulation.roadmap import RoadMap

STYLES = 60000


def building(build: MeshBuilder, rng: np.random.Generator, plan: RoadMap, s: float, d: float,
             length: float, depth: float, height: float) -> None:
    """A house or tower whose middle stands at s, d; ``length`` along the road, ``depth`` across."""
    yaw = float(plan.frame.heading(s))
    ahead, left = np.array([np.cos(yaw), np.sin(yaw), 0]), np.array([-np.sin(yaw), np.cos(yaw), 0])
    house = _House(build, rng, plan.place(s, d), yaw, ahead, left, -np.sign(d) * left, length,
                   depth, height, palette.wall(rng), int(rng.integers(1, STYLES)))
    kind = rng.random()
    if kind < .25 and height > 8:
        house.tower_on_podium()
    elif kind < .5 and height > 5:
        house.on_pillars()
    elif kind < .65 and height < 12:
        house.gabled()
    else:
        house.plain()
    house.protrusions()


@dataclass(frozen=True)
class _House:
    """One building in the making: where it stands, its axes, its size and its look."""

    build: MeshBuilder
    rng: np.random.Generator
    place: NDArray[np.float64]
    yaw: float
    ahead: NDArray[np.float64]
    left: NDArray[np.float64]
    toward: NDArray[np.float64]
    length: float
    depth: float
    height: float
    color: NDArray[np.float64]
    style: int

    def block(self, share: float = 1.0, deep: float = 1.0) -> None:
        """The whole height, its foot a metre below ground."""
        self.build.box(self.place + at(0, 0, self.height / 2 - 1),
                       [share * self.length, deep * self.depth, self.height + 2],
                       Material.FACADE, self.color, self.yaw, style=self.style)

    def tower_on_podium(self) -> None:
        """A wide ground floor and a tower set back on it."""
        low = self.rng.uniform(4, 7)
        self.build.box(self.place + at(0, 0, low / 2 - 1), [self.length, self.depth, low + 2],
                       Material.FACADE, self.color, self.yaw,
                       style=int(self.rng.integers(1, STYLES)))
        replace(self, color=palette.wall(self.rng)).block(.75, .7)

    def on_pillars(self) -> None:
        """Upper floors over a recess, on upright or slanting pillars."""
        rng, length, depth = self.rng, self.length, self.depth
        recess = rng.uniform(2, 4)
        self.build.box(self.place + at(0, 0, self.height / 2 + 2),
                       [length, depth, self.height - 4], Material.FACADE, self.color, self.yaw,
                       style=self.style)
        self.build.box(self.place - self.toward * recess / 2 + at(0, 0, 1.5),
                       [length * .96, depth - recess, 7], Material.FACADE, palette.wall(rng),
                       self.yaw, style=int(rng.integers(1, STYLES)))
        slant = rng.normal(0, 1.2) if rng.random() < .4 else 0.0
        for x in np.linspace(-.47, .47, max(2, int(length / rng.uniform(4, 8)))):
            foot = self.place + self.toward * (depth / 2 - .5) + self.ahead * x * length
            self.build.tube(foot - at(0, 0, 1), foot + self.ahead * slant + at(0, 0, 4.5), .35,
                            None, Material.CONCRETE, self.color, 5, False)

    def gabled(self) -> None:
        """A pitched roof whose ridge runs along the road."""
        self.block()
        half, left = self.ahead * self.length / 2, self.left * self.depth / 2
        eaves = self.place + at(0, 0, self.height)
        ridge = self.place + at(0, 0, self.height + .35 * self.depth)
        tiles = palette.varied(self.rng, palette.rgb(120, 65, 50), .3)
        for side in (-1, 1):
            edge = side * self.left * (self.depth / 2 + .4)
            self.build.quad([eaves - half + edge, eaves + half + edge, ridge + half, ridge - half],
                            Material.CONCRETE, tiles)
            end = side * half
            self.build.add(np.array([[eaves + end + left, eaves + end - left, ridge + end]]),
                           Material.CONCRETE, self.color)

    def plain(self) -> None:
        """A block, perhaps with a canopy or with balconies."""
        self.block()
        rng, front = self.rng, self.place + self.toward * self.depth / 2
        if rng.random() < .5:
            self.build.box(front + self.toward * .8 + at(0, 0, rng.uniform(2.8, 3.6)),
                           [self.length * .8, 1.8, .2], Material.METAL, palette.wall(rng), self.yaw)
        if rng.random() < .4:
            for z in np.arange(3.5, min(self.height, 20), 3.2):
                self.build.box(front + self.toward * .4 + at(0, 0, z), [self.length * .9, .9, .15],
                               Material.CONCRETE, self.color, self.yaw)

    def protrusions(self) -> None:
        """What stands out of a wall: boxes, posters."""
        rng = self.rng
        for _ in range(int(rng.integers(0, 4))):
            spot = (self.place + self.toward * (self.depth / 2 + .15)
                    + self.ahead * rng.uniform(-.45, .45) * self.length)
            self.build.box(spot + at(0, 0, rng.uniform(.6, 3.0)), rng.uniform(.2, 1.6, 3),
                           Material.METAL if rng.random() < .5 else Material.POSTER,
                           palette.any_color(rng), self.yaw, style=int(rng.integers(1, STYLES)))


def wall(build: MeshBuilder, rng: np.random.Generator, plan: RoadMap, s0: float, s1: float,
         d: float) -> None:
    """A wall along the road."""
    height, color = rng.uniform(.8, 3.5), palette.wall(rng)
    for s in np.arange(s0, s1 - 1, 6.0):
        end = min(s + 6.0, s1)
        middle = (s + end) / 2
        build.box(plan.place(middle, d, height / 2), [end - s + .1, .25, height],
                  Material.CONCRETE, color, float(plan.frame.heading(middle)))


def fence(build: MeshBuilder, rng: np.random.Generator, plan: RoadMap, s0: float, s1: float,
          d: float) -> None:
    """Posts and rails; a railing, a wooden fence or a crash barrier."""
    height, color = rng.uniform(.8, 1.6), palette.varied(rng, palette.rgb(140), .4)
    crash = rng.random() < .3
    posts = np.arange(s0, s1, rng.uniform(1.5, 3.0))
    bars = rng.random() < .4 and not crash
    for first, second in itertools.pairwise(posts):
        a, b = plan.place(first, d), plan.place(second, d)
        build.tube(a, a + at(0, 0, height), .04, None, Material.METAL, color, 4, False)
        for z in ((.55, .75) if crash else (.45 * height, .95 * height)):
            build.tube(a + at(0, 0, z), b + at(0, 0, z), .12 if crash else .025, None,
                       Material.METAL, color, 4, False)
        if bars:
            for share in (.2, .4, .6, .8):
                foot = a + share * (b - a)
                build.tube(foot, foot + at(0, 0, height * .95), .012, None, Material.METAL,
                           color, 3, False)


def bridge(build: MeshBuilder, rng: np.random.Generator, plan: RoadMap, s: float) -> None:
    """A footbridge or flyover across the main road."""
    color, height = palette.wall(rng), rng.uniform(5.2, 8)
    width, yaw = rng.uniform(2.5, 14), float(plan.frame.heading(s))
    span = plan.left - plan.right + 2 * plan.pavement + 4
    place = plan.place(s, (plan.left + plan.right) / 2)
    build.box(place + at(0, 0, height + .6), [width, span + 30, 1.2], Material.CONCRETE, color, yaw)
    for d in (plan.right - plan.pavement - 1, plan.left + plan.pavement + 1):
        foot = plan.place(s, d)
        build.tube(foot, foot + at(0, 0, height), .6, None, Material.CONCRETE, color, 8, False)
