"""Buildings, walls, fences and bridges. Windows are texture, see `shading`."""

from __future__ import annotations

import itertools

import numpy as np

from aqr_perception.simulation import palette
from aqr_perception.simulation.materials import Material
from aqr_perception.simulation.mesh import MeshBuilder, at
from aqr_perception.simulation.roadmap import RoadMap

STYLES = 60000


def building(build: MeshBuilder, rng: np.random.Generator, plan: RoadMap, s: float, d: float,
             length: float, depth: float, height: float) -> None:
    """A house or tower whose middle stands at s, d; ``length`` along the road, ``depth`` across."""
    place = plan.place(s, d)
    yaw = float(plan.frame.heading(s))
    ahead, left = np.array([np.cos(yaw), np.sin(yaw), 0]), np.array([-np.sin(yaw), np.cos(yaw), 0])
    toward = -np.sign(d) * left  # the road
    color, style = palette.wall(rng), int(rng.integers(1, STYLES))
    kind = rng.random()
    floor = place + at(0, 0, height / 2 - 1)
    if kind < .25 and height > 8:  # a podium under a tower
        low = rng.uniform(4, 7)
        build.box(place + at(0, 0, low / 2 - 1), [length, depth, low + 2], Material.FACADE, color,
                  yaw, style=int(rng.integers(1, STYLES)))
        build.box(floor, [.75 * length, .7 * depth, height + 2], Material.FACADE,
                  palette.wall(rng), yaw, style=style)
    elif kind < .5 and height > 5:  # upper floors on pillars
        recess = rng.uniform(2, 4)
        build.box(place + at(0, 0, height / 2 + 2), [length, depth, height - 4], Material.FACADE,
                  color, yaw, style=style)
        build.box(place - toward * recess / 2 + at(0, 0, 1.5), [length * .96, depth - recess, 7],
                  Material.FACADE, palette.wall(rng), yaw, style=int(rng.integers(1, STYLES)))
        slant = rng.normal(0, 1.2) if rng.random() < .4 else 0.0
        for x in np.linspace(-.47, .47, max(2, int(length / rng.uniform(4, 8)))):
            foot = place + toward * (depth / 2 - .5) + ahead * x * length
            build.tube(foot - at(0, 0, 1), foot + ahead * slant + at(0, 0, 4.5), .35, None,
                       Material.CONCRETE, color, 5, False)
    elif kind < .65 and height < 12:  # a gable roof
        build.box(floor, [length, depth, height + 2], Material.FACADE, color, yaw, style=style)
        eaves, ridge = place + at(0, 0, height), place + at(0, 0, height + .35 * depth)
        tiles = palette.varied(rng, palette.rgb(120, 65, 50), .3)
        for side in (-1, 1):
            edge = side * left * (depth / 2 + .4)
            build.quad([eaves - ahead * length / 2 + edge, eaves + ahead * length / 2 + edge,
                        ridge + ahead * length / 2, ridge - ahead * length / 2], Material.CONCRETE,
                       tiles)
            end = side * ahead * length / 2
            build.add(np.array([[eaves + end + left * depth / 2, eaves + end - left * depth / 2,
                                 ridge + end]]), Material.CONCRETE, color)
    else:
        build.box(floor, [length, depth, height + 2], Material.FACADE, color, yaw, style=style)
        if rng.random() < .5:  # a canopy
            build.box(place + toward * (depth / 2 + .8) + at(0, 0, rng.uniform(2.8, 3.6)),
                      [length * .8, 1.8, .2], Material.METAL, palette.wall(rng), yaw)
        if rng.random() < .4:  # balconies or sunshades
            for z in np.arange(3.5, min(height, 20), 3.2):
                build.box(place + toward * (depth / 2 + .4) + at(0, 0, z), [length * .9, .9, .15],
                          Material.CONCRETE, color, yaw)
    for _ in range(int(rng.integers(0, 4))):  # what stands out of a wall
        spot = place + toward * (depth / 2 + .15) + ahead * rng.uniform(-.45, .45) * length
        build.box(spot + at(0, 0, rng.uniform(.6, 3.0)), rng.uniform(.2, 1.6, 3), Material.METAL
                  if rng.random() < .5 else Material.POSTER, palette.any_color(rng), yaw,
                  style=int(rng.integers(1, STYLES)))


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
