"""Cars, trucks, buses and trailers; each fills the box of its size around the origin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aqr_perception.simulation import palette
from aqr_perception.simulation.materials import Material
from aqr_perception.simulation.mesh import Color, Mesh, MeshBuilder, at

Size = NDArray[np.float64]
# Outlines in shares of length (x, -0.5 rear to 0.5 front) and height (z): the body up to the
# waist, and the cabin as rear foot, rear roof, front roof, front foot.
_BODIES = {
    "sedan": [(-.49, .17), (-.5, .5), (-.47, .6), (-.3, .63), (.2, .61), (.42, .5), (.49, .4),
              (.5, .2), (.46, .15)],
    "hatchback": [(-.49, .17), (-.5, .5), (-.48, .58), (.22, .58), (.42, .48), (.49, .38),
                  (.5, .2), (.46, .15)],
    "suv": [(-.48, .2), (-.5, .45), (-.49, .58), (.2, .6), (.44, .54), (.5, .42), (.49, .22),
            (.45, .18)],
    "van": [(-.49, .16), (-.5, .5), (-.495, .55), (.34, .52), (.46, .42), (.5, .32), (.49, .16)],
    "pickup": [(-.49, .22), (-.5, .5), (-.49, .58), (.18, .58), (.44, .54), (.5, .42), (.49, .22)],
}
_CABINS = {
    "sedan": [(-.38, .6), (-.22, .97), (.02, 1.0), (.23, .58)],
    "hatchback": [(-.49, .56), (-.38, .96), (.0, 1.0), (.25, .56)],
    "suv": [(-.495, .56), (-.44, .97), (.02, 1.0), (.22, .57)],
    "van": [(-.495, .5), (-.48, .98), (.2, 1.0), (.36, .5)],
    "pickup": [(-.12, .56), (-.08, .97), (.06, 1.0), (.2, .56)],
}


def car(rng: np.random.Generator, size: Size) -> Mesh:
    """A passenger car, of five body shapes."""
    kinds = list(_BODIES)
    tall = size[2] > 1.75
    weights = [.05, .1, .4, .3, .15] if tall else [.5, .27, .2, .01, .02]
    kind = kinds[int(rng.choice(len(kinds), p=weights))]
    length, width, height = size
    paint = palette.car_paint(rng)
    build = MeshBuilder()
    outline = np.array(_BODIES[kind]) * [length, height]
    taper = np.where(np.abs(outline[:, 0]) > 0.45 * length, .43, .49)
    build.loft(outline, width * taper, Material.PAINT, paint)
    _cabin(build, np.array(_CABINS[kind]) * [length, height], width, paint)
    radius = min(0.34 * rng.uniform(.9, 1.1), .24 * height)
    for x in (-.3 * length, .3 * length):
        _wheels(build, x, width, radius)
    _lights(build, length, width, height * .45, height)
    if kind == "pickup":
        build.box([-.3 * length, 0, .585 * height], [.36 * length, .8 * width, .01], Material.METAL,
                  palette.rgb(40))
    if rng.random() < .12:  # a roof rack or a taxi's sign
        build.box([-.05 * length, 0, height], [.1, .35, .12], Material.PLASTIC,
                  palette.any_color(rng))
    for side in (-1, 1):  # mirrors
        build.box([.2 * length, side * .5 * width, .6 * height], [.12, .08, .12], Material.PAINT,
                  paint)
    return build.build().fitted(size)


def truck(rng: np.random.Generator, size: Size) -> Mesh:
    """A lorry with box, flat bed, stakes, tank or tipper; small ones look like delivery vans."""
    length, width, height = size
    build = MeshBuilder()
    cab_length = min(2.2, .32 * length)
    cab_height = min(height, rng.uniform(.7, 1.0) * height + .2)
    paint = palette.car_paint(rng)
    front = length / 2
    _cab(build, front - cab_length, front, width, cab_height, paint)
    low = .32 * min(height, 3.0)
    build.box([-cab_length / 2, 0, low - .12], [length - .2, .5 * width, .22], Material.METAL,
              palette.rgb(35))
    back, bed_end = -length / 2, front - cab_length - .12
    _cargo(build, rng, back, bed_end, width, low, height)
    radius = min(.5, .16 * height + .05)
    axles = [front - .6 * cab_length, back + .22 * length]
    if length > 8:
        axles.append(back + .22 * length + 2.3 * radius)
    for x in axles:
        _wheels(build, x, width, radius)
    _lights(build, length, width, low, height, rear_only=True)
    return build.build().fitted(size)


def tractor(rng: np.random.Generator, size: Size) -> Mesh:
    """The tractor of a semi-trailer: a cab on a short chassis."""
    length, width, height = size
    build = MeshBuilder()
    cab_length = .5 * length
    _cab(build, length / 2 - cab_length, length / 2, width, height, palette.car_paint(rng))
    build.box([-.25 * length, 0, .9], [.5 * length, .4 * width, .3], Material.METAL,
              palette.rgb(30))
    for x in (.32 * length, -.2 * length, -.38 * length):
        _wheels(build, x, width, .5)
    return build.build().fitted(size)


def trailer(rng: np.random.Generator, size: Size) -> Mesh:
    """A semi-trailer: box, container, flat bed, tank or tipper on two or three rear axles."""
    length, width, height = size
    build = MeshBuilder()
    low = .3 * height if height > 2.5 else .4 * height
    build.box([0, 0, low - .1], [length, .45 * width, .25], Material.METAL, palette.rgb(38))
    _cargo(build, rng, -length / 2, length / 2, width, low, height)
    for k in range(int(rng.integers(2, 4)) if length > 7 else 1):
        _wheels(build, -length * .42 + 1.25 * k, width, min(.5, low * .45))
    for side in (-1, 1):  # landing gear
        build.box([.32 * length, side * .3 * width, low / 2], [.15, .12, low], Material.METAL,
                  palette.rgb(60))
    _lights(build, length, width, low, height, rear_only=True)
    return build.build().fitted(size)


def bus(rng: np.random.Generator, size: Size) -> Mesh:
    """A city bus or coach, single or double deck."""
    length, width, height = size
    build = MeshBuilder()
    paint = palette.any_color(rng) if rng.random() < .7 else palette.car_paint(rng)
    second = palette.any_color(rng) if rng.random() < .5 else paint
    low = .12 * height
    outline = np.array([(-.5, low), (-.5, .95 * height), (-.49, height), (.46, height),
                        (.49, .95 * height), (.5, .45 * height), (.5, low)])
    outline[:, 0] *= length
    build.loft(outline, np.full(len(outline), .485 * width), Material.PAINT, paint)
    decks = [(.48, .86)] if height < 3.9 else [(.24, .42), (.62, .84)]
    panes = max(4, int(length / 1.6))
    for bottom, top in decks:
        for side in (-1, 1):
            y = side * (.485 * width + .012)
            for k in range(panes):
                x0 = (-.47 + .93 * k / panes) * length
                x1 = (-.47 + .93 * (k + .9) / panes) * length
                z0 = (.2 * height if side < 0 and k in (panes - 1, panes // 2)
                      else bottom * height)  # doors reach down
                build.quad([[x0, y, z0], [x1, y, z0], [x1, y, top * height], [x0, y, top * height]],
                           Material.GLASS, palette.DARK_GLASS)
        build.box([.5 * length, 0, (bottom + top) / 2 * height],
                  [.04, .88 * width, (top - bottom + .08) * height], Material.GLASS,
                  palette.DARK_GLASS)
        build.box([-.5 * length, 0, (bottom + top) / 2 * height],
                  [.04, .7 * width, (top - bottom) * .8 * height], Material.GLASS,
                  palette.DARK_GLASS)
    build.box([0, 0, .3 * height], [.96 * length, .99 * width, .1 * height], Material.PAINT, second)
    build.box([.5 * length, 0, .93 * height], [.05, .6 * width, .06 * height], Material.LAMP,
              palette.rgb(200, 150, 40))
    for x in (.3 * length, -.26 * length):
        _wheels(build, x, width, min(.5, .16 * height))
    _lights(build, length, width, .28 * height, height)
    return build.build().fitted(size)


def ego(size: Size) -> Mesh:
    """The car that carries the sensors, as its own sensors see it: hood, roof and rack."""
    length, width, height = size
    build = MeshBuilder()
    white = palette.rgb(225)
    outline = np.array(_BODIES["hatchback"]) * [length, height]
    build.loft(outline, np.where(np.abs(outline[:, 0]) > .45 * length, .42, .48) * width,
               Material.PAINT, white)
    _cabin(build, np.array([(-.47, .56), (-.36, .95), (-.02, .95), (.26, .56)])
           * [length, height], .9 * width, white)
    for x in (-.3 * length, .3 * length):
        _wheels(build, x, width, .31)
    return build.build()


def _cabin(build: MeshBuilder, outline: NDArray[np.float64], width: float, paint: Color) -> None:
    """Cabin of four outline points (rear foot, rear roof, front roof, front foot) with windows."""
    base, roof = .46 * width, .37 * width
    half = np.array([base, roof, roof, base])
    build.loft(outline, half, Material.PAINT, paint)
    corners = np.stack([outline[:, 0], half, outline[:, 1]], 1)
    out = np.array([0, .025, .006])
    for side in (1, -1):
        glass = corners + (corners.mean(axis=0) - corners) * [.14, .0, .2] + out
        build.quad(glass * [1, side, 1], Material.GLASS, palette.DARK_GLASS)
        pillar = .62 * corners[[0, 3]].mean(axis=0) + .38 * corners[[1, 2]].mean(axis=0)
        build.box((pillar + at(0, .01, 0)) * [1, side, 1], [.09, .04, .0 + np.ptp(outline[:, 1])],
                  Material.PAINT, paint)
    for foot, top, forward in ((0, 1, -1), (3, 2, 1)):
        low, high = corners[foot], corners[top]
        a, b = low + .15 * (high - low), low + .88 * (high - low)
        shift = np.array([forward * .02, 0, .012])
        build.quad(np.array([a * [1, .86, 1], b * [1, .86, 1], b * [1, -.86, 1], a * [1, -.86, 1]])
                   + shift, Material.GLASS, palette.DARK_GLASS)


def _cab(build: MeshBuilder, back: float, front: float, width: float, height: float, paint: Color
         ) -> None:
    """A lorry's cab between two x, with windscreen, side windows and grille."""
    depth = front - back
    outline = np.array([(back, .28 * height), (back, height), (front - .25 * depth, height),
                        (front - .06 * depth, .62 * height), (front, .5 * height),
                        (front, .16 * height), (back + .6 * depth, .16 * height)])
    build.loft(outline, np.full(len(outline), .47 * width), Material.PAINT, paint)
    low, high = np.array([front - .045 * depth, .6 * height]), np.array(
        [front - .22 * depth, .94 * height])
    y = .42 * width
    build.quad([[low[0] + .03, -y, low[1]], [low[0] + .03, y, low[1]], [high[0] + .03, y, high[1]],
                [high[0] + .03, -y, high[1]]], Material.GLASS, palette.DARK_GLASS)
    for side in (-1, 1):
        y = side * .49 * width
        build.quad([[back + .3 * depth, y, .58 * height], [front - .14 * depth, y, .58 * height],
                    [front - .3 * depth, y, .9 * height], [back + .3 * depth, y, .9 * height]],
                   Material.GLASS, palette.DARK_GLASS)
        build.box([front - .2 * depth, side * .5 * width, .68 * height], [.1, .18, .4],
                  Material.PLASTIC, palette.BLACK)
    build.box([front, 0, .4 * height], [.04, .7 * width, .14 * height], Material.PLASTIC,
              palette.rgb(45))
    for side in (-1, 1):
        build.box([front, side * .36 * width, .24 * height], [.05, .28, .14], Material.LAMP,
                  palette.HEAD_LIGHT)


def _cargo(build: MeshBuilder, rng: np.random.Generator, back: float, front: float, width: float,
           low: float, height: float) -> None:
    """What stands on the bed between two x."""
    middle, length, kind = (back + front) / 2, front - back, rng.random()
    color = palette.WHITE if rng.random() < .4 else palette.any_color(rng)
    if kind < .5 or height < 2.2:
        build.box([middle, 0, (low + height) / 2], [length, width * .99, height - low],
                  Material.POSTER if rng.random() < .4 else Material.PAINT, color,
                  style=int(rng.integers(1, 60000)))
        for side in (-.24, .24):  # rear doors, and their bars
            build.box([back, side * width, (low + height) / 2], [.03, .02, .9 * (height - low)],
                      Material.METAL, palette.rgb(90))
    elif kind < .65:  # stakes under a tarpaulin roof, as an open lorry has
        build.box([middle, 0, low + .15], [length, width, .3], Material.PAINT, color)
        for x in np.linspace(back + .05, front - .05, 5):
            for side in (-.48, .48):
                build.box([x, side * width, (low + height) / 2], [.07, .07, height - low],
                          Material.METAL, palette.rgb(70))
        build.box([middle, 0, height - .05], [length, width, .1], Material.CLOTH, palette.rgb(60))
        build.box([middle - .1 * length, 0, low + .3 + .2 * (height - low)],
                  [.7 * length, .8 * width, .4 * (height - low)], Material.PLASTIC,
                  palette.any_color(rng))
    elif kind < .8:  # flat bed with a load
        build.box([middle, 0, low + .1], [length, width, .2], Material.METAL, color)
        build.box([front - .1, 0, (low + height) / 2], [.12, width, height - low], Material.METAL,
                  palette.rgb(80))
        top = rng.uniform(.3, .9) * (height - low)
        build.box([middle, 0, low + .2 + top / 2], [.8 * length, .85 * width, top],
                  Material.CONCRETE, palette.any_color(rng, .4))
    elif kind < .9:  # tank
        radius = min(.5 * width, (height - low) / 2)
        build.tube([back, 0, height - radius], [front, 0, height - radius], radius, None,
                   Material.METAL, palette.rgb(170), sides=12)
    else:  # tipper
        outline = np.array([(back, low), (back - .0, height), (front, height), (front, low)])
        build.loft(outline, np.array([.4, .5, .5, .4]) * width, Material.PAINT, color)
        for x in np.linspace(back, front, 6)[1:-1]:
            build.box([x, 0, (low + height) / 2], [.1, width, .8 * (height - low)], Material.PAINT,
                      color * .8)


def _wheels(build: MeshBuilder, x: float, width: float, radius: float) -> None:
    for side in (-1, 1):
        inner, outer = side * (width / 2 - .24), side * (width / 2 - .005)
        build.tube([x, inner, radius], [x, outer, radius], radius, None, Material.RUBBER,
                   palette.TYRE, sides=9, caps=False)
        build.disc([x, outer, radius], [0, 1, 0], radius, Material.RUBBER, palette.TYRE, 9)
        build.disc([x, outer + side * .01, radius], [0, 1, 0], .58 * radius, Material.METAL,
                   palette.rgb(140), 7)


def _lights(build: MeshBuilder, length: float, width: float, z: float, height: float,
            rear_only: bool = False) -> None:
    """Lamps and number plates; plates throw the LiDAR's light back."""
    for side in (-1, 1):
        build.box([-length / 2, side * .38 * width, z + .04 * height], [.03, .16 * width,
                  .07 * height], Material.LAMP, palette.TAIL_LIGHT)
        if not rear_only:
            build.box([.485 * length, side * .34 * width, z - .02 * height],
                      [.05, .18 * width, .06 * height], Material.LAMP, palette.HEAD_LIGHT)
    build.box([-length / 2 - .005, 0, z - .1 * height], [.02, .5, .12], Material.RETRO,
              palette.rgb(220))
    if not rear_only:
        build.box([length / 2, 0, z - .16 * height], [.02, .5, .12], Material.RETRO,
                  palette.rgb(220))
