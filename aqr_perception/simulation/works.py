"""What stands at roadworks: barriers, cones and construction vehicles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aqr_perception.simulation import palette
from aqr_perception.simulation.materials import Material
from aqr_perception.simulation.mesh import Color, Mesh, MeshBuilder, at

Size = NDArray[np.float64]


def barrier(rng: np.random.Generator, size: Size, kind: int, color: Color) -> Mesh:
    """A road barrier across its heading: 0 water-filled plastic, 1 concrete, 2 a striped board."""
    depth, width, height = size
    build = MeshBuilder()
    if kind == 2:
        for y in (-.4 * width, .4 * width):
            build.box([0, y, .03], [depth, .08, .06], Material.METAL, palette.rgb(60))
            build.box([0, y, height / 2], [.06, .06, height], Material.METAL, palette.rgb(120))
        for z in (.55, .88):
            for k in range(8):
                stripe = palette.rgb(215, 70, 20) if k % 2 else palette.rgb(230)
                build.box([0, (-.4375 + .125 * k) * width, z * height],
                          [.05, .125 * width, .2 * height],
                          Material.RETRO if rng.random() < .5 else Material.PLASTIC, stripe)
        return build.build().fitted(size)
    # A Jersey profile: wide foot, steep waist, narrow head.
    outline = np.array([(-.5, 0), (-.5, .12), (-.26, .38), (-.18, 1.0), (.18, 1.0), (.26, .38),
                        (.5, .12), (.5, 0)]) * [depth, height]
    material = Material.PLASTIC if kind == 0 else Material.CONCRETE
    build.loft(outline, np.full(len(outline), .49 * width), material, color)
    if kind == 0:
        for y in (-.3, 0, .3):
            build.box([0, y * width, .6 * height], [.42 * depth, .06 * width, .5 * height],
                      material, np.asarray(color) * .7)
    return build.build().fitted(size)


def cone(rng: np.random.Generator, size: Size) -> Mesh:
    """A traffic cone, or a slim delineator post, with reflecting sleeves."""
    height = size[2]
    build = MeshBuilder()
    orange = palette.varied(rng, palette.rgb(225, 80, 25), .15)
    half = min(size[0], size[1]) / 2
    build.box([0, 0, .03], [size[0], size[1], .06],
              Material.RUBBER if rng.random() < .5 else Material.PLASTIC,
              palette.TYRE if rng.random() < .5 else orange)
    slim = rng.random() < .2
    low, high = (.25 * half, .25 * half) if slim else (.72 * half, .12 * half)

    def radius(share: float) -> float:
        return low + (high - low) * share
    bands = [(0.0, .35, orange, Material.PLASTIC), (.35, .55, palette.rgb(225), Material.RETRO),
             (.55, .7, orange, Material.PLASTIC), (.7, .82, palette.rgb(225), Material.RETRO),
             (.82, 1.0, orange, Material.PLASTIC)]
    for start, end, color, material in bands:
        build.tube([0, 0, .06 + start * (height - .06)], [0, 0, .06 + end * (height - .06)],
                   radius(start), radius(end), material, color, 8, caps=end == 1.0)
    return build.build().fitted(size)


def construction_vehicle(rng: np.random.Generator, size: Size) -> Mesh:
    """An excavator, wheel loader, roller or mobile crane."""
    kind = rng.choice(["excavator", "loader", "roller", "crane"], p=[.5, .25, .12, .13])
    build = MeshBuilder()
    yellow = palette.varied(rng, palette.rgb(225, 165, 20), .15)
    if rng.random() < .25:
        yellow = palette.any_color(rng)
    shape = {"excavator": _excavator, "loader": _loader, "roller": _roller, "crane": _crane}[kind]
    shape(build, rng, yellow)
    return build.build().fitted(size)


def _excavator(build: MeshBuilder, rng: np.random.Generator, color: Color) -> None:
    dark = palette.rgb(35)
    for side in (-1, 1):  # tracks
        outline = np.array([(-1.9, .35), (-1.6, .85), (1.6, .85), (1.9, .35), (1.6, .05),
                            (-1.6, .05)])
        ring = MeshBuilder()
        ring.loft(outline, np.full(6, .28), Material.RUBBER, dark)
        shifted = ring.build()
        build.add(shifted.triangles + np.array([0, side * 1.1, 0], np.float32), Material.RUBBER,
                  dark)
    build.box([-.5, 0, 1.35], [2.6, 2.5, .9], Material.PAINT, color)
    build.box([-1.6, 0, 1.5], [.7, 2.4, 1.1], Material.PAINT, np.asarray(color) * .6)
    _glass_house(build, [.35, .7, 2.35], [1.4, 1.0, 1.5], color)
    elbow = np.array([rng.uniform(2.3, 3.0), -.3, rng.uniform(2.6, 4.2)])
    tip = elbow + at(rng.uniform(.2, 1.5), 0, -rng.uniform(1.4, 2.6))
    build.tube([.6, -.3, 1.5], elbow, .24, .2, Material.PAINT, color, 4)
    build.tube(elbow, tip, .2, .13, Material.PAINT, color, 4)
    build.tube([.9, -.3, 1.3], .5 * (elbow + at(.6, -.3, 1.5)), .07, None, Material.METAL,
               palette.CHROME, 5)
    build.box(tip + at(-.1, 0, -.25), [.8, .9, .6], Material.METAL, palette.rgb(60), pitch=.5)


def _loader(build: MeshBuilder, rng: np.random.Generator, color: Color) -> None:
    for x in (-1.5, 1.3):
        for side in (-1, 1):
            build.tube([x, side * .75, .75], [x, side * 1.25, .75], .75, None, Material.RUBBER,
                       palette.TYRE, 10)
            build.tube([x, side * 1.25, .75], [x, side * 1.27, .75], .38, None, Material.PAINT,
                       color, 8)
    build.box([-1.6, 0, 1.4], [2.2, 1.4, 1.1], Material.PAINT, color)
    _glass_house(build, [-.2, 0, 2.3], [1.4, 1.3, 1.7], color)
    lift = rng.uniform(.5, 2.2)
    for y in (-.5, .5):
        build.tube([.4, y, 1.5], [2.6, y, lift], .14, None, Material.PAINT, color, 4)
    build.box([2.9, 0, lift], [.9, 2.6, .9], Material.METAL, palette.rgb(70), pitch=.3)


def _roller(build: MeshBuilder, rng: np.random.Generator, color: Color) -> None:
    build.tube([1.4, -1.0, .7], [1.4, 1.0, .7], .7, None, Material.METAL, palette.rgb(110), 14)
    for side in (-1, 1):
        build.tube([-1.2, side * .5, .7], [-1.2, side * 1.0, .7], .7, None, Material.RUBBER,
                   palette.TYRE, 10)
        build.box([1.0, side * 1.05, .75], [1.6, .1, .3], Material.PAINT, color)
    build.box([-1.2, 0, 1.35], [2.0, 1.5, .8], Material.PAINT, color)
    _glass_house(build, [-.1, 0, 2.1], [1.2, 1.3, 1.6], color)


def _crane(build: MeshBuilder, rng: np.random.Generator, color: Color) -> None:
    for x in (-2.6, -1.2, 1.2, 2.6):
        for side in (-1, 1):
            build.tube([x, side * .9, .6], [x, side * 1.3, .6], .6, None, Material.RUBBER,
                       palette.TYRE, 10)
    build.box([0, 0, 1.1], [7.2, 2.4, .6], Material.PAINT, color)
    build.box([3.0, 0, 1.9], [1.4, 2.3, 1.3], Material.PAINT, color)
    build.box([3.72, 0, 2.1], [.05, 2.0, .6], Material.GLASS, palette.DARK_GLASS)
    build.box([-1.5, 0, 1.9], [2.0, 1.8, 1.0], Material.PAINT, np.asarray(color) * .7)
    build.tube([-1.8, 0, 2.5], [4.0, 0, rng.uniform(2.9, 4.0)], .35, .25, Material.PAINT, color, 4)


def _glass_house(build: MeshBuilder, center: list[float], size: list[float], color: Color) -> None:
    """A driver's cab: glass between four posts under a roof."""
    build.box(center, [size[0] * .94, size[1] * .94, size[2] * .9], Material.GLASS,
              palette.DARK_GLASS)
    build.box([center[0], center[1], center[2] + size[2] / 2], [size[0], size[1], .1],
              Material.PAINT, color)
    build.box([center[0], center[1], center[2] - .36 * size[2]], [size[0], size[1], .28 * size[2]],
              Material.PAINT, color)
    for x in (-.48, .48):
        for y in (-.48, .48):
            build.box([center[0] + x * size[0], center[1] + y * size[1], center[2]],
                      [.08, .08, size[2]], Material.PAINT, palette.rgb(40))
