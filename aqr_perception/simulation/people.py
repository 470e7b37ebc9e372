"""Pedestrians, riders, bicycles and motorcycles; each fills the box of its size."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aqr_perception.simulation import palette
from aqr_perception.simulation.materials import Material
from aqr_perception.simulation.mesh import Color, Mesh, MeshBuilder, at, grid_triangles

Size = NDArray[np.float64]


def pedestrian(rng: np.random.Generator, size: Size, stride: float) -> Mesh:
    """A person with legs, arms and head; some with a bag, an umbrella or a high-visibility vest.

    Args:
        rng: Source of clothes and build.
        size: Of the box (l, w, h) [m]: the body stands in its middle, the limbs reach its faces.
        stride: How far the legs are apart, -1 to 1; 0 stands.
    """
    height = size[2]
    build = MeshBuilder()
    trousers, shirt, skin = palette.cloth(rng), palette.cloth(rng), palette.skin(rng)
    vest = rng.random() < .06
    if vest:
        shirt = palette.rgb(200, 230, 40)
    step = stride * .26 * height * .5
    hip, shoulder, neck = .5 * height, .81 * height, .85 * height
    skirt = rng.random() < .2
    leg_cloth = skin if rng.random() < .25 else trousers
    for side in (-1, 1):
        knee = [side * step * .7 + .04, side * .085, .27 * height]
        foot = [side * step, side * .085, .02]
        _limb(build, knee, [0, side * .08, hip], .055, .085, Material.CLOTH, trousers)
        _limb(build, foot, knee, .045, .06, Material.CLOTH, leg_cloth)
        build.box([side * step + .06, side * .085, .035], [.24, .09, .07], Material.RUBBER,
                  palette.rgb(30))
        hand = [-side * step * .8, side * (.21 + .06 * abs(stride)), .47 * height]
        elbow = [-side * step * .2 - .04, side * .23, .64 * height]
        _limb(build, elbow, [0, side * .17, .8 * height], .04, .05, Material.CLOTH, shirt)
        _limb(build, hand, elbow, .035, .04, Material.SKIN, skin)
    if skirt:
        build.tube([0, 0, .28 * height], [0, 0, hip], .2, .12, Material.CLOTH, trousers)
    for (z0, r0), (z1, r1) in zip(((hip - .04, .13), (.66 * height, .12), (shoulder, .155)),
                                  ((.66 * height, .12), (shoulder, .155), (neck, .06))):
        build.tube([0, 0, z0], [0, 0, z1], r0, r1, Material.CLOTH, shirt, 8, False)
    if vest:
        build.tube([0, 0, .62 * height], [0, 0, .66 * height], .135, .135, Material.RETRO,
                   palette.rgb(210), 8, False)
    _head_and_bag(build, rng, height, skin)
    return _limited(build.build(), size)


def _head_and_bag(build: MeshBuilder, rng: np.random.Generator, height: float, skin: Color
                  ) -> None:
    """Head with hair, and what some carry on the back or in the hand."""
    head = .07 * height
    build.ball([.01, 0, height - head * .95], [head * .75, head * .65, head * .95], Material.SKIN,
               skin, 7, 4)
    build.ball([-.012, 0, height - head * .75], [head * .8, head * .72, head * .75], Material.CLOTH,
               palette.rgb(rng.uniform(15, 70)), 7, 4)
    extra = rng.random()
    if extra < .2:
        build.box([-.19, 0, .68 * height], [.14, .28, .4], Material.CLOTH, palette.cloth(rng))
    elif extra < .28:
        build.box([.05, .3, .36 * height], [.3, .1, .3], Material.CLOTH, palette.cloth(rng))


def bicycle(rng: np.random.Generator, size: Size, rider: bool) -> Mesh:
    """A bicycle, alone or ridden; ``size`` holds the rider too."""
    length, height = size[0], size[2]
    build = MeshBuilder()
    radius = min(.34, .21 * length)
    frame = palette.any_color(rng)
    rear, front = -length / 2 + radius, length / 2 - radius
    for x in (rear, front):
        _rim(build, x, radius)
    seat, bar, crank = (np.array([rear + .25 * length, 0, .9 if rider else .8 * height]),
                        np.array([front - .08, 0, 1.0 if rider else .95 * height]),
                        np.array([0, 0, radius]))
    for a, b in (([rear, 0, radius], crank), (crank, seat), (seat, bar - at(0, 0, .12)),
                 (crank, bar - at(0, 0, .15)), ([front, 0, radius], bar),
                 ([rear, 0, radius], seat)):
        build.tube(a, b, .02, None, Material.METAL, frame, sides=4, caps=False)
    build.tube(bar - at(0, .28, 0), bar + at(0, .28, 0), .02, None, Material.METAL,
               palette.BLACK, 4)
    build.box(seat, [.26, .14, .07], Material.PLASTIC, palette.BLACK)
    if rng.random() < .3:
        build.box([front + .02, 0, .85], [.3, .34, .22], Material.METAL, palette.rgb(60))
    if rider:
        _rider(build, rng, seat, bar, crank + at(.06, 0, -.12), height)
    return build.build().fitted(size)


def motorcycle(rng: np.random.Generator, size: Size, rider: bool) -> Mesh:
    """A motorcycle or scooter, alone or ridden."""
    length, height = size[0], size[2]
    build = MeshBuilder()
    radius = min(.31, .17 * length)
    paint = palette.car_paint(rng) if rng.random() < .5 else palette.any_color(rng)
    rear, front = -length / 2 + radius, length / 2 - radius
    top = .55 * (1.25 if rider else height)
    for x in (rear, front):
        build.tube([x, -.07, radius], [x, .07, radius], radius, None, Material.RUBBER,
                   palette.TYRE, 10)
        build.tube([x, -.08, radius], [x, .08, radius], .5 * radius, None, Material.METAL,
                   palette.rgb(120), 6)
    bar = np.array([front - .18 * length, 0, top + .32])
    seat = np.array([-.12 * length, 0, top + .1])
    build.tube([front, 0, radius], bar, .06, .05, Material.METAL, palette.rgb(90), 5)
    build.box([0, 0, .28 + radius * .6], [.4 * length, .3, .42], Material.METAL, palette.rgb(60))
    build.ball([.07 * length, 0, top + .05], [.17 * length, .17, .16], Material.PAINT, paint)
    build.box([-.2 * length, 0, top], [.42 * length, .26, .14], Material.PLASTIC, palette.BLACK)
    build.box([-.36 * length, 0, top - .02], [.2 * length, .22, .2], Material.PAINT, paint)
    build.box([front - .1, 0, top + .12], [.16, .32, .3], Material.PAINT, paint)
    build.tube(bar - at(0, .36, 0), bar + at(0, .36, 0), .022, None, Material.METAL,
               palette.BLACK, 4)
    build.box([-length / 2 + .05, 0, top], [.05, .16, .09], Material.LAMP, palette.TAIL_LIGHT)
    build.box([-length / 2 + .05, 0, top - .16], [.02, .2, .14], Material.RETRO, palette.rgb(220))
    build.ball([front - .02, 0, top + .15], [.06, .1, .1], Material.LAMP, palette.HEAD_LIGHT)
    if rng.random() < .35:
        build.box([-.42 * length, 0, top + .25], [.36, .38, .34], Material.PLASTIC,
                  palette.any_color(rng))
    if rider:
        _rider(build, rng, seat, bar, np.array([.05, 0, .3]), height, helmet=True)
    return build.build().fitted(size)


def _rider(build: MeshBuilder, rng: np.random.Generator, seat: NDArray[np.float64],
           bar: NDArray[np.float64], pedals: NDArray[np.float64], height: float,
           helmet: bool = False) -> None:
    shirt, trousers, skin = palette.cloth(rng), palette.cloth(rng), palette.skin(rng)
    shoulder = np.array([seat[0] + .28, 0, height - .34])
    build.tube(seat, shoulder, .14, .17, Material.CLOTH, shirt, 8)
    build.tube(shoulder, shoulder + at(.04, 0, .12), .12, .06, Material.CLOTH, shirt)
    for side in (-1, 1):
        knee = np.array([seat[0] + .4, side * .13, (seat[2] + pedals[2]) / 2 + .14])
        foot = pedals + at(side * .12, side * .12, side * .08)
        _limb(build, seat + at(0, side * .1, 0), knee, .085, .065, Material.CLOTH, trousers)
        _limb(build, knee, foot, .06, .045, Material.CLOTH, trousers)
        build.box(foot, [.25, .09, .08], Material.RUBBER, palette.rgb(30))
        _limb(build, shoulder + at(0, side * .18, 0), bar + at(0, side * .24, 0), .05, .035,
              Material.CLOTH, shirt)
    color: Color = palette.any_color(rng) if helmet or rng.random() < .5 else skin
    build.ball([shoulder[0] + .08, 0, height - .13], [.13, .115, .13],
               Material.PLASTIC if helmet else Material.SKIN, color, 8, 5)


def _limb(build: MeshBuilder, start: ArrayLike, end: ArrayLike, radius: float, end_radius: float,
          material: Material, color: Color) -> None:
    build.tube(start, end, radius, end_radius, material, color, 5, False)


def _rim(build: MeshBuilder, x: float, radius: float) -> None:
    """A bicycle's wheel: a thin tyre and a few spokes, open in between."""
    angle = np.arange(11) * (2 * np.pi / 10)
    points = np.stack([x + radius * np.cos(angle), np.zeros(11), radius + radius * np.sin(angle)],
                      1)
    inner = points + .08 * (at(x, 0, radius) - points) / radius
    for y in (-.02, .02):
        rings = np.stack([points, inner]) + at(0, y, 0)
        build.add(grid_triangles(rings), Material.RUBBER, palette.TYRE)
    hub = at(x, 0, radius)
    spokes = np.stack([np.stack([hub, point, point + at(0, .01, .01)]) for point in points[:10:2]])
    build.add(spokes, Material.METAL, palette.rgb(150))


def _limited(mesh: Mesh, size: Size) -> Mesh:
    """Fit the height, and squeeze the plan only where it stands out of the box."""
    low, high = mesh.bounds()
    own = (high - low).astype(np.float64)
    return mesh.fitted([min(own[0], size[0]), min(own[1], size[1]), size[2]])
