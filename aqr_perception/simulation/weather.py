"""Light and air: sun, clouds, exposure, fog, rain; everything that varies from drive to drive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aqr_perception.simulation import palette


@dataclass(frozen=True)
class Weather:
    """What lies between the world and the sensors.

    Attributes:
        sun: (3,) direction towards the sun, world.
        sun_light: (3,) light of the sun on a surface that faces it, linear RGB.
        sky_light: (3,) light from the zenith.
        ground_light: (3,) light that comes back from the ground.
        horizon: (3,) colour of the sky near the horizon.
        zenith: (3,) colour of the sky above.
        clouds: Cover, 0..1.
        cloud_seed: Which clouds.
        fog: Extinction [1/m]; 0.03 is thick.
        rain: Strength 0..1.
        wetness: Of the ground, 0..1.
    """

    sun: NDArray[np.float32]
    sun_light: NDArray[np.float32]
    sky_light: NDArray[np.float32]
    ground_light: NDArray[np.float32]
    horizon: NDArray[np.float32]
    zenith: NDArray[np.float32]
    clouds: float
    cloud_seed: int
    fog: float
    rain: float
    wetness: float


def draw_weather(rng: np.random.Generator) -> Weather:
    """Mostly dry days, some overcast, some rain, some fog, a few evenings and nights."""
    elevation = float(np.arcsin(rng.uniform(.15, .98)))
    azimuth = float(rng.uniform(0, 2 * np.pi))
    sun = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation),
                    np.sin(elevation)])
    clouds = float(rng.beta(.8, 1.2))
    rain = float(rng.uniform(.2, 1.0)) if rng.random() < .12 else 0.0
    fog = float(rng.uniform(.004, .03)) if rng.random() < .06 else float(rng.uniform(0, .0015))
    if rain:
        clouds = max(clouds, .9)
    overcast = max(0.0, (clouds - .55) / .45)
    low = np.clip((.5 - elevation) / .5, 0, 1)
    warm = np.array([1.0, 1.0 - .22 * low, 1.0 - .45 * low])
    sun_light = 3.4 * warm * (1 - overcast) ** 1.5 * (.5 + .5 * np.sin(elevation))
    grey, blue = palette.rgb(225), palette.rgb(125, 165, 215)
    mix = min(1.0, clouds * 1.1)
    zenith = (blue * (1 - mix) + grey * mix * .9) * rng.uniform(.85, 1.15)
    horizon = palette.rgb(*rng.normal([212, 222, 232], 4).clip(0, 250))
    horizon = horizon * (1 - overcast * .2)
    sky_light = (.75 * zenith + .25 * horizon) * rng.uniform(.6, 1.2)
    if rng.random() < .05:  # night: street lamps light the ground, the sky is dark
        sun_light, lamps = sun_light * 0, palette.rgb(255, 225, 180)
        sky_light, horizon, zenith = .35 * lamps, .02 * lamps, palette.rgb(12, 14, 24)
    ground_light = .22 * (sky_light + sun_light * np.sin(elevation))
    sun_way, of_sun, of_sky, of_ground, at_horizon, above = (
        np.asarray(light, np.float32)
        for light in (sun, sun_light, sky_light, ground_light, horizon, zenith))
    return Weather(sun=sun_way, sun_light=of_sun, sky_light=of_sky, ground_light=of_ground,
                   horizon=at_horizon, zenith=above, clouds=clouds,
                   cloud_seed=int(rng.integers(1 << 30)), fog=fog + .0015 * rain, rain=rain,
                   wetness=max(rain, float(rng.random() < .05)))
