"""Procedural textures: grain, windows, posters and sky; functions of place and style."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aqr_perception.simulation.weather import Weather

_TILE = 256
_SKY_GAIN = np.float32(1.5)
"""How much brighter the sky is than a white wall under it; cameras see it nearly white."""
STYLES = 4096


@lru_cache(maxsize=1)
def _noise() -> NDArray[np.float32]:
    """(256, 256) tileable noise of several octaves, mean 0, standard deviation 1."""
    rng = np.random.Generator(np.random.PCG64(20240229))
    frequency = np.fft.fftfreq(_TILE) * _TILE
    radius = np.hypot(*np.meshgrid(frequency, frequency))
    spectrum = np.fft.fft2(rng.normal(size=(_TILE, _TILE))) / np.maximum(radius, 2.0) ** .9
    tile = np.fft.ifft2(spectrum).real
    return ((tile - tile.mean()) / tile.std()).astype(np.float32)


def noise(u: NDArray[np.floating], v: NDArray[np.floating]) -> NDArray[np.float32]:
    """Noise at texel coordinates u, v; repeats every 256."""
    return np.asarray(_noise()[v.astype(np.int32) & (_TILE - 1), u.astype(np.int32) & (_TILE - 1)])


def grain(points: NDArray[np.float32], normal: NDArray[np.float32],
          footprint: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fine texture of a surface, (N,) about 0: two scales of noise, faded where too fine to see.

    The noise lies in the coordinate plane that faces the surface most.
    """
    x, y, z = points.T
    flat = np.abs(normal)
    level, east = flat[:, 2] > .6, flat[:, 0] > flat[:, 1]
    u = np.where(level | ~east, x, y) * np.float32(4)
    v = np.where(level, y, z) * np.float32(4)
    fine = noise(u * np.float32(8), v * np.float32(8)) / (1 + np.float32(20) * footprint)
    return np.clip(np.float32(.6) * (noise(u, v) + fine), -2, 2)


@lru_cache(maxsize=1)
def _facades() -> NDArray[np.float32]:
    """(styles, 8) of each style of facade: spacing, openings, glass, how lively."""
    rng = np.random.Generator(np.random.PCG64(7))
    kind = rng.random(STYLES)
    curtain, blank = kind < .25, kind > .88
    table = np.stack([
        np.where(curtain, rng.uniform(1.0, 2.0, STYLES), rng.uniform(1.4, 4.5, STYLES)),
        rng.uniform(2.7, 4.2, STYLES),
        np.where(curtain, rng.uniform(.88, .97, STYLES), rng.uniform(.3, .85, STYLES)),
        np.where(curtain, rng.uniform(.75, .95, STYLES), rng.uniform(.3, .7, STYLES)),
        np.where(blank, 0.0, rng.uniform(.4, 1.0, STYLES)),
        rng.uniform(.02, .25, STYLES), rng.random(STYLES), rng.random(STYLES)], 1)
    table[kind < .12, 2] = 1.0  # bands of windows
    return table.astype(np.float32)


def facade(points: NDArray[np.float32], normal: NDArray[np.float32], style: NDArray[np.uint16],
           color: NDArray[np.float32], footprint: NDArray[np.float32]
           ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Walls with windows.

    Args:
        points: (N, 3) world [m].
        normal: (N, 3) of the walls.
        style: (N,) number of the style.
        color: (N, 3) of the wall between the windows.
        footprint: (N,) size of a pixel there [m].

    Returns:
        (N, 3) colour and (N,) share of glass, which mirrors the sky.
    """
    spec = _facades()[style % STYLES]
    flat = np.maximum(np.hypot(normal[:, 0], normal[:, 1]), 1e-3)
    u = (points[:, 1] * normal[:, 0] - points[:, 0] * normal[:, 1]) / flat / spec[:, 0]
    v = points[:, 2] / spec[:, 1]
    column, row = np.floor(u), np.floor(v)
    # How much of the pixel's footprint lies in the opening: a ramp as wide as the footprint.
    inside = (_ramp(u - column, spec[:, 2], footprint / spec[:, 0])
              * _ramp(v - row, spec[:, 3], footprint / spec[:, 1]))
    glass = inside * (spec[:, 4] > 0) * (np.abs(normal[:, 2]) < .5)
    seed = column * 127.1 + row * 311.7 + style
    lively = np.modf(np.abs(np.sin(seed) * 437.5))[0].astype(np.float32)
    pane = spec[:, 5] * (.4 + 1.2 * lively) * np.where(lively > .9, 3.0, 1.0)
    tint = np.stack([.9 + .2 * spec[:, 6], np.ones_like(pane), .95 + .3 * spec[:, 7]], 1)
    out = color * (1 - glass[:, None]) + (pane[:, None] * tint) * glass[:, None]
    return out.astype(np.float32), (glass * spec[:, 4]).astype(np.float32)


def _ramp(x: NDArray[np.floating], share: NDArray[np.float32], width: NDArray[np.float32]
          ) -> NDArray[np.float32]:
    """1 within the middle ``share`` of a unit cell, 0 outside, blurred over ``width``."""
    edge = np.minimum(np.maximum(width, .01), 1.0)
    sharp = np.clip((share / 2 - np.abs(x - .5)) / edge + .5, 0, 1)
    blend = np.clip(width * 1.5 - .5, 0, 1)
    return sharp * (1 - blend) + share * blend


def poster(points: NDArray[np.float32], normal: NDArray[np.float32], style: NDArray[np.uint16],
           color: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lettering and blocks of colour on a ground colour, (N, 3)."""
    u = points[:, 1] * normal[:, 0] - points[:, 0] * normal[:, 1] + points[:, 0] * normal[:, 2]
    cell = np.floor(u * 2.2) * 12.9 + np.floor(points[:, 2] * 2.6) * 78.2 + style * 3.1
    pick = np.modf(np.abs(np.sin(cell) * 437.5))[0].astype(np.float32)
    fine = np.modf(np.abs(np.sin(cell * 1.7 + np.floor(u * 9) * 3.3) * 91.7))[0]
    ink = np.stack([np.modf(np.abs(np.sin(style * k) * 43.7))[0] for k in (1.1, 2.3, 3.7)], 1)
    mask = ((pick > .62) & (fine > .35)).astype(np.float32)[:, None]
    return (color * (1 - mask) + (ink ** 2).astype(np.float32) * mask).astype(np.float32)


def sky(directions: NDArray[np.float32], weather: Weather) -> NDArray[np.float32]:
    """Light of the sky (N, 3) along directions; below the horizon that of the far ground."""
    up = np.maximum(directions[:, 2], 0.0)
    share = (1 - np.exp(-4.0 * up))[:, None]
    out = weather.horizon * (1 - share) + weather.zenith * share
    if weather.clouds > .02:
        scale = 40.0 / (up + .12)
        u = directions[:, 0] * scale + weather.cloud_seed % 251
        v = directions[:, 1] * scale + weather.cloud_seed % 241
        shape = .7 * noise(u, v) + .3 * noise(u * 3, v * 3)
        cover = np.clip((shape + 2.2 * weather.clouds - 1.1) * 1.2, 0, 1)[:, None]
        day = min(1.0, 1.5 * float(weather.horizon.mean()))
        bright = np.float32((1.0 - .35 * weather.clouds) * day)
        white = bright * (np.float32(.95) + np.float32(.10) * noise(u * 2, v * 2 + 9)[:, None])
        out = out * (1 - .85 * cover) + .85 * cover * np.maximum(white, np.float32(.2 * day))
    return np.asarray(_SKY_GAIN * out, np.float32)
