"""Street furniture and plants: everything that is not annotated and yet looks like something.

Each function adds one thing that stands at ``place`` (x, y, z of its foot [m]).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from aqr_perception.simulation import palette
from aqr_perception.simulation.materials import Material
from aqr_perception.simulation.mesh import MeshBuilder, at

Place = NDArray[np.float64]
Thing = Callable[[MeshBuilder, np.random.Generator, Place, float], None]


def lamp_post(build: MeshBuilder, rng: np.random.Generator, place: Place, yaw: float) -> None:
    """A street lamp whose arm reaches along ``yaw``."""
    height, reach = rng.uniform(6, 10), rng.uniform(1.0, 2.5)
    color = palette.varied(rng, palette.rgb(130), .3)
    top = place + at(0, 0, height)
    end = top + at(np.cos(yaw) * reach, np.sin(yaw) * reach, .3)
    build.tube(place, top, .11, .06, Material.METAL, color, 6)
    build.tube(place, place + at(0, 0, .9), .17, None, Material.METAL, color, 6)
    build.tube(top, end, .05, None, Material.METAL, color, 4)
    build.box(end, [.6, .25, .12], Material.METAL, color, yaw)


def sign(build: MeshBuilder, rng: np.random.Generator, place: Place, yaw: float) -> None:
    """A traffic sign whose face looks along ``yaw``: a disc, a triangle or a board."""
    height = rng.uniform(2.0, 2.8)
    build.tube(place, place + at(0, 0, height + .3), .035, None, Material.METAL,
               palette.rgb(140), 5)
    face = place + at(.05 * np.cos(yaw), .05 * np.sin(yaw), height)
    kind = rng.random()
    color = palette.pick(rng, ((palette.rgb(190, 25, 25), 2.), (palette.rgb(25, 70, 160), 2.),
                               (palette.rgb(230), 2.), (palette.rgb(20, 100, 60), 1.),
                               (palette.rgb(230, 190, 30), 1.)))
    across = np.array([-np.sin(yaw), np.cos(yaw), 0])
    if kind < .5:
        normal = np.array([np.cos(yaw), np.sin(yaw), 0]) * .015
        build.tube(face - normal, face + normal, .32, None, Material.RETRO, color, 10)
        build.tube(face + normal, face + 1.3 * normal, .2, None, Material.RETRO, palette.rgb(230),
                   8)
    else:
        wide, tall = (rng.uniform(.5, .9), rng.uniform(.5, 1.1)) if kind < .9 else (2.6, 1.5)
        lift = np.array([0, 0, tall / 2])
        build.quad([face - across * wide / 2 - lift, face + across * wide / 2 - lift,
                    face + across * wide / 2 + lift, face - across * wide / 2 + lift],
                   Material.RETRO, color)


def traffic_light(build: MeshBuilder, rng: np.random.Generator, place: Place, yaw: float) -> None:
    """Lights on a post, facing ``yaw``."""
    build.tube(place, place + at(0, 0, 3.4), .08, None, Material.METAL, palette.rgb(60), 6)
    build.box(place + at(0, 0, 3.0), [.3, .35, .95], Material.PLASTIC, palette.rgb(25), yaw)
    lit = int(rng.integers(3))
    for k, color in enumerate(((220, 30, 25), (230, 160, 30), (40, 200, 110))):
        spot = place + at(.17 * np.cos(yaw), .17 * np.sin(yaw), 3.3 - .3 * k)
        build.box(spot, [.04, .2, .2], Material.LAMP, palette.rgb(*color) * (1.0 if k == lit
                  else .15), yaw)


def bollard(build: MeshBuilder, rng: np.random.Generator, place: Place, yaw: float) -> None:
    """A short post, as slim as a cone or a leg."""
    height = rng.uniform(.6, 1.2)
    color = palette.rgb(150) if rng.random() < .6 else palette.any_color(rng)
    radius = rng.uniform(.05, .14)
    build.tube(place, place + at(0, 0, height), radius, None, Material.METAL, color, 7)
    if rng.random() < .3:
        build.tube(place + at(0, 0, .7 * height), place + at(0, 0, .85 * height), radius + .005,
                   None, Material.RETRO, palette.rgb(230), 7)


def hydrant(build: MeshBuilder, rng: np.random.Generator, place: Place, yaw: float) -> None:
    """A fire hydrant."""
    red = palette.varied(rng, palette.rgb(190, 40, 30), .2)
    build.tube(place, place + at(0, 0, .6), .13, .11, Material.METAL, red, 7)
    build.ball(place + at(0, 0, .62), [.13, .13, .12], Material.METAL, red, 7, 4)
    build.tube(place + at(0, -.2, .4), place + at(0, .2, .4), .06, None, Material.METAL, red, 6)


def bin_(build: MeshBuilder, rng: np.random.Generator, place: Place, yaw: float) -> None:
    """A litter or wheeled bin."""
    color, height = palette.any_color(rng), rng.uniform(.8, 1.2)
    build.box(place + at(0, 0, height / 2), [rng.uniform(.4, .8), rng.uniform(.4, 1.1), height],
              Material.PLASTIC, color, yaw)
    build.box(place + at(0, 0, height), [.6, .6, .08], Material.PLASTIC, color * .5, yaw)


def cabinet(build: MeshBuilder, rng: np.random.Generator, place: Place, yaw: float) -> None:
    """A utility cabinet, kiosk or vending machine."""
    size = np.array([rng.uniform(.4, .9), rng.uniform(.6, 2.0), rng.uniform(1.0, 2.1)])
    build.box(place + at(0, 0, size[2] / 2), size, Material.POSTER if rng.random() < .3
              else Material.METAL, palette.wall(rng), yaw, style=int(rng.integers(1, 60000)))


def bench(build: MeshBuilder, rng: np.random.Generator, place: Place, yaw: float) -> None:
    """A bench with a back."""
    wood = palette.varied(rng, palette.rgb(110, 75, 45), .3)
    across = np.array([-np.sin(yaw), np.cos(yaw), 0])
    ahead = np.array([np.cos(yaw), np.sin(yaw), 0])
    build.box(place + at(0, 0, .45), [.45, 1.7, .07], Material.BARK, wood, yaw)
    build.box(place - ahead * .2 + at(0, 0, .75), [.06, 1.7, .35], Material.BARK, wood, yaw)
    for side in (-.7, .7):
        build.box(place + across * side + at(0, 0, .22), [.4, .07, .44], Material.METAL,
                  palette.rgb(50), yaw)


def bus_stop(build: MeshBuilder, rng: np.random.Generator, place: Place, yaw: float) -> None:
    """A shelter open towards ``yaw``, with a poster."""
    ahead = np.array([np.cos(yaw), np.sin(yaw), 0])
    across = np.array([-np.sin(yaw), np.cos(yaw), 0])
    grey = palette.rgb(90)
    build.box(place + at(0, 0, 2.5), [1.7, 4.2, .12], Material.METAL, grey, yaw)
    build.box(place - ahead * .75 + at(0, 0, 1.3), [.03, 3.8, 1.9], Material.GLASS,
              palette.rgb(120, 130, 135), yaw)
    for side in (-1.95, 1.95):
        build.tube(place + across * side - ahead * .7, place + across * side - ahead * .7
                   + at(0, 0, 2.5), .05, None, Material.METAL, grey, 5)
    build.box(place + across * 2.0 + at(0, 0, 1.3), [1.2, .12, 1.8], Material.POSTER,
              palette.any_color(rng), yaw, style=int(rng.integers(1, 60000)))


def billboard(build: MeshBuilder, rng: np.random.Generator, place: Place, yaw: float) -> None:
    """A poster on feet."""
    width, height, lift = rng.uniform(1, 4), rng.uniform(1.2, 2.5), rng.uniform(.2, 2.5)
    build.box(place + at(0, 0, lift + height / 2), [.15, width, height], Material.POSTER,
              palette.any_color(rng), yaw, style=int(rng.integers(1, 60000)))
    across = np.array([-np.sin(yaw), np.cos(yaw), 0])
    for side in (-.4, .4):
        foot = place + across * side * width
        build.tube(foot, foot + at(0, 0, lift), .05, None, Material.METAL, palette.rgb(70), 5)


def planter(build: MeshBuilder, rng: np.random.Generator, place: Place, yaw: float) -> None:
    """A tub with a bush."""
    size = np.array([rng.uniform(.6, 1.2), rng.uniform(.6, 2.5), rng.uniform(.4, .8)])
    build.box(place + at(0, 0, size[2] / 2), size, Material.CONCRETE, palette.wall(rng), yaw)
    bush(build, rng, place + at(0, 0, size[2]), yaw, np.array([size[0], size[1], .7]))


def crates(build: MeshBuilder, rng: np.random.Generator, place: Place, yaw: float) -> None:
    """A stack of boxes, pallets or pipes."""
    for _ in range(int(rng.integers(1, 5))):
        size = rng.uniform(.4, 1.6, 3)
        shift = np.append(rng.normal(0, .6, 2), size[2] / 2)
        build.box(place + shift, size, Material.BARK if rng.random() < .5 else Material.CONCRETE,
                  palette.wall(rng), yaw + rng.normal(0, .3))


def heap(build: MeshBuilder, rng: np.random.Generator, place: Place, yaw: float) -> None:
    """A heap of soil or gravel."""
    radius = rng.uniform(.8, 3.0)
    build.ball(place, [radius, radius * rng.uniform(.6, 1.0), radius * rng.uniform(.3, .6)],
               Material.SOIL, palette.varied(rng, palette.rgb(120, 100, 75), .25), 10, 6)


def leaves(rng: np.random.Generator, count: int, center: Place, radii: NDArray[np.float64],
           leaf: float, boxy: bool = False) -> NDArray[np.float32]:
    """(count, 3, 3) loose triangles that fill an ellipsoid's shell (or a box): porous foliage."""
    if boxy:
        spots = rng.uniform(-1, 1, (count, 3))
        axis = rng.integers(0, 3, count)
        spots[np.arange(count), axis] = np.sign(spots[np.arange(count), axis])
        spots[:, 2] = np.abs(spots[:, 2]) * np.where(axis == 2, 1, 1)
    else:
        spots = rng.normal(size=(count, 3))
        spots *= (rng.uniform(.45, 1.0, count) / np.linalg.norm(spots, axis=1))[:, None]
    spots = spots * radii + center
    corners = rng.normal(0, leaf, (count, 3, 3))
    return (spots[:, None] + corners).astype(np.float32)


def bush(build: MeshBuilder, rng: np.random.Generator, place: Place, yaw: float,
         size: NDArray[np.float64] | None = None) -> None:
    """A round bush or a piece of hedge (l, w, h) [m]."""
    if size is None:
        size = np.array([rng.uniform(.8, 2.5), rng.uniform(.8, 3.0), rng.uniform(.5, 1.9)])
    count = int(np.clip(90 * (size[0] * size[1] + size[2] * (size[0] + size[1])), 60, 600))
    boxy = rng.random() < .5
    points = leaves(rng, count, np.zeros(3), np.array([size[0] / 2, size[1] / 2, size[2]]), .10,
                    boxy)
    points[..., 2] = np.abs(points[..., 2])
    cosine, sine = np.cos(yaw), np.sin(yaw)
    x, y = points[..., 0].copy(), points[..., 1].copy()
    points[..., 0], points[..., 1] = cosine * x - sine * y, sine * x + cosine * y
    color = palette.foliage(rng)
    shades = color * rng.uniform(.4, 1.4, (count, 1))
    build.add(points + place.astype(np.float32), Material.FOLIAGE, shades)
    inner = size * [.36, .36, .7]
    build.ball(place, inner, Material.FOLIAGE, color * .35, 7, 4)


def tree(build: MeshBuilder, rng: np.random.Generator, place: Place, yaw: float) -> None:
    """A tree: trunk, a few limbs and a porous crown; round, tall or a palm."""
    height = rng.uniform(3.5, 12)
    radius = height * rng.uniform(.012, .022) + .03
    bark = palette.varied(rng, palette.rgb(95, 80, 65), .25)
    kind = rng.random()
    crown = np.array([.26, .26, .32]) * height if kind < .6 else np.array([.17, .17, .42]) * height
    crown = crown * rng.uniform(.8, 1.25, 3)
    middle = place + at(0, 0, height - crown[2] * .9)
    lean = np.append(rng.normal(0, .02, 2) * height, 0)
    build.tube(place, middle + lean, radius, .5 * radius, Material.BARK, bark, 6, False)
    color = palette.foliage(rng)
    if kind > .92:
        for angle in np.arange(9) * (2 * np.pi / 9) + rng.random():
            tip = middle + lean + at(2.2 * np.cos(angle), 2.2 * np.sin(angle), -.6)
            top = middle + lean + at(1.1 * np.cos(angle), 1.1 * np.sin(angle), .6)
            side = np.array([-np.sin(angle), np.cos(angle), 0]) * .3
            build.add(np.array([[middle + lean, top - side, top + side],
                                [top - side, tip, top + side]]), Material.FOLIAGE, color)
        return
    for _ in range(3):
        twig = middle + lean + rng.normal(0, .5, 3) * crown
        build.tube(middle + lean - at(0, 0, crown[2] * .5), twig, .4 * radius, .2 * radius,
                   Material.BARK, bark, 4, False)
    count = int(np.clip(280 * (height / 6) ** 1.3, 200, 640))
    blobs = rng.integers(3, 7)
    points = []
    for _ in range(blobs):
        shift = rng.normal(0, .4, 3) * crown
        points.append(leaves(rng, count // blobs, middle + lean + shift, crown * .72,
                             0.025 * height + .04))
    shades = color * rng.uniform(.45, 1.4, (blobs * (count // blobs), 1))
    build.add(np.concatenate(points), Material.FOLIAGE, shades)
    build.ball(middle + lean, crown * .62, Material.FOLIAGE, color * .3, 7, 4)


SMALL_THINGS: tuple[tuple[Thing, float], ...] = (
    (bollard, 3.0), (hydrant, .6), (bin_, 1.2), (cabinet, 1.0), (bench, .8), (sign, 2.0),
    (planter, 1.0), (billboard, .5), (lamp_post, .8), (crates, .3))


def small_thing(build: MeshBuilder, rng: np.random.Generator, place: Place, yaw: float) -> None:
    """Any small piece of furniture, by how common it is."""
    weights = np.array([weight for _, weight in SMALL_THINGS])
    chosen = SMALL_THINGS[int(rng.choice(len(weights), p=weights / weights.sum()))][0]
    chosen(build, rng, place, yaw)
