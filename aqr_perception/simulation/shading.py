"""Light on what rays have met: textures, sun and shadows, sky, mirror images, and air.

The exchange of light is as simple as looks plausible: one sun with hard shadows, a sky that lights
from above and the ground that lights from below, one ray that looks for dark corners.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aqr_perception.simulation import textures
from aqr_perception.simulation.materials import Material, column
from aqr_perception.simulation.tracing import Hits, Moment, dot
from aqr_perception.simulation.weather import Weather
from aqr_perception.simulation.world import World

_COVER_REACH = 25.0
"""[m] to which dark corners are looked for."""
_SHADOW_REACH = 50.0
"""[m] to which shadows of the sun are drawn."""


def shade(hits: Hits, met: NDArray[np.integer], eye: NDArray[np.float32],
          directions: NDArray[np.float32], world: World, pixel_angle: np.float32
          ) -> NDArray[np.float32]:
    """Linear RGB (M, 3) of the hits ``met``, through the air.

    Args:
        hits: Where the rays ended.
        met: (M,) those that met something.
        eye: (3,) where they started.
        directions: (M, 3) of the rays ``met``.
        world: For covers and weather.
        pixel_angle: Width of a pixel [rad].
    """
    weather = world.weather
    distance = hits.distance[met]
    points = eye + distance[:, None] * directions
    normal = np.asarray(hits.surface("normal", met))
    facing = dot(normal, directions)
    normal = normal * -np.sign(facing)[:, None]
    facing = np.abs(facing)
    material = np.asarray(hits.surface("material", met))
    footprint = distance * pixel_angle / np.sqrt(np.maximum(facing, .03))
    color, gloss = _painted(hits, met, points, normal, material, footprint, world)
    light = lit(color, normal, points, eye, hits.moment, weather, material == Material.FOLIAGE)
    lamp = material == Material.LAMP
    light[lamp] += .35 * color[lamp]
    shiny = np.flatnonzero(gloss > .015)
    light[shiny] = mirrored(light[shiny], normal[shiny], directions[shiny], gloss[shiny], weather)
    clear = np.exp(-weather.fog * distance)[:, None]
    return np.asarray(light * clear + weather.horizon * (1 - clear), np.float32)


def _painted(hits: Hits, met: NDArray[np.integer], points: NDArray[np.float32],
             normal: NDArray[np.float32], material: NDArray[np.generic],
             footprint: NDArray[np.float32], world: World
             ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Colour (M, 3) with textures, and gloss (M,), of what was met."""
    color = np.asarray(hits.surface("color", met)).copy()
    gloss = column("gloss")[material]
    ground = np.flatnonzero(material == Material.GROUND)
    color[ground] = world.ground.color_at(points[ground, 0], points[ground, 1], footprint[ground])
    gloss[ground] += .04 * world.weather.wetness
    wall = np.flatnonzero(material == Material.FACADE)
    if len(wall):
        style = np.asarray(hits.surface("style", met[wall]))
        color[wall], glass = textures.facade(points[wall], normal[wall], style, color[wall],
                                             footprint[wall])
        gloss[wall] += .12 * glass
    posters = np.flatnonzero(material == Material.POSTER)
    if len(posters):
        style = np.asarray(hits.surface("style", met[posters]))
        color[posters] = textures.poster(points[posters], normal[posters], style, color[posters])
    fixed = hits.moving[met] < 0  # grain stays where it is on the ground, and would swim on movers
    color *= np.maximum(1 + (column("grain")[material] * fixed
                             * textures.grain(points, normal, footprint))[:, None], .1)
    return color, gloss


def lit(color: NDArray[np.float32], normal: NDArray[np.float32], points: NDArray[np.float32],
         eye: NDArray[np.float32], moment: Moment, weather: Weather,
         leafy: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
    """Diffuse light (N, 3): sun with shadows, sky from above, ground from below."""
    up = normal[:, 2]
    near = points + .02 * normal
    lift = normal + np.array([0, 0, .35], np.float32)
    lift /= np.sqrt(dot(lift, lift))[:, None]
    covered = np.zeros(len(points), bool)
    offset = points - eye
    apart = dot(offset, offset)
    # Level ground shows what stands on it from afar; elsewhere only the nearest corners matter.
    close = np.flatnonzero(apart < np.where(up > .9, _COVER_REACH, .4 * _COVER_REACH) ** 2)
    # Soft enough that every second pixel in a row will do.
    found = moment.blocked(near[close[::2]], lift[close[::2]], 2.5)
    covered[close] = np.repeat(found, 2)[:len(close)]
    open_sky = np.where(covered, np.float32(.35), np.float32(1)) * (.5 + .5 * up)
    below = np.where(covered, np.float32(.5), np.float32(1)) * (.5 - .5 * up)
    light = open_sky[:, None] * weather.sky_light + below[:, None] * weather.ground_light
    if weather.sun_light.max() > .02:
        sun = weather.sun
        slant = normal @ sun
        if leafy is not None:  # leaves let light through
            slant = np.where(leafy, .25 + .5 * np.abs(slant), slant)
        bright = np.flatnonzero(slant > 0)
        dark = np.zeros(len(points), bool)
        asked = bright[apart[bright] < _SHADOW_REACH ** 2]
        dark[asked] = moment.blocked(near[asked], np.broadcast_to(sun, (len(asked), 3)).copy())
        bright = bright[~dark[bright]]
        light[bright] += slant[bright, None] * weather.sun_light
    return np.asarray(color * light, np.float32)


def mirrored(light: NDArray[np.float32], normal: NDArray[np.float32],
              directions: NDArray[np.float32], gloss: NDArray[np.float32], weather: Weather
              ) -> NDArray[np.float32]:
    """Add the mirror image of sky or surroundings, stronger at a grazing angle (Schlick)."""
    across = dot(normal, directions)[:, None]
    share = gloss[:, None] + (.75 - gloss[:, None]) * np.minimum(gloss * 12, 1)[:, None] \
        * (1 - np.abs(across)) ** 5
    back = directions - 2 * across * normal
    image = textures.sky(back, weather)
    low = back[:, 2] < .12  # houses and trees, not sky
    image[low] = .35 * image[low] + .3 * weather.ground_light
    return np.asarray(light * (1 - share) + share * image, np.float32)
