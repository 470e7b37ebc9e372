"""Colours as they occur on streets, linear RGB."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.float64]


def rgb(*grey_levels: float) -> Rgb:
    """Linear RGB of sRGB grey levels 0..255; one number is a grey."""
    levels = np.asarray(grey_levels if len(grey_levels) == 3 else grey_levels * 3, np.float64)
    return np.asarray((levels / 255.0) ** 2.2)


WHITE, BLACK = rgb(235), rgb(18)
TYRE, CHROME, DARK_GLASS = rgb(28), rgb(190), rgb(30, 36, 42)
TAIL_LIGHT, HEAD_LIGHT = rgb(170, 20, 20), rgb(235, 238, 240)
_CARS = ((rgb(235), .25), (rgb(22), .19), (rgb(120), .15), (rgb(180), .14), (rgb(60), .06),
         (rgb(150, 20, 24), .06), (rgb(28, 52, 110), .07), (rgb(230, 180, 30), .03),
         (rgb(30, 80, 60), .02), (rgb(200, 190, 165), .03))


def pick(rng: np.random.Generator, weighted: tuple[tuple[Rgb, float], ...]) -> Rgb:
    """One of some colours, by weight."""
    weights = np.array([weight for _, weight in weighted])
    return weighted[int(rng.choice(len(weighted), p=weights / weights.sum()))][0]


def varied(rng: np.random.Generator, color: Rgb, amount: float = 0.15) -> Rgb:
    """A colour near another one."""
    shade = rng.normal(1.0, amount) * (1 + rng.normal(0.0, amount / 3, 3))
    return np.clip(color * shade, 0.002, 0.95)


def car_paint(rng: np.random.Generator) -> Rgb:
    """Paint of a car."""
    if rng.random() < 0.12:
        return any_color(rng)
    return varied(rng, pick(rng, _CARS), 0.12)


def any_color(rng: np.random.Generator, saturation: float = 0.7) -> Rgb:
    """Any hue."""
    hue = rng.random() * 6
    wheel = np.clip(np.abs((hue + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    value = rng.uniform(0.08, 0.9)
    return value ** 2 * (1 - rng.uniform(0, saturation) * (1 - wheel)) + 0.003


def cloth(rng: np.random.Generator) -> Rgb:
    """Clothes: mostly dark or grey, some bright."""
    if rng.random() < 0.35:
        return any_color(rng, 0.8)
    return rgb(*rng.uniform(15, 200) * (1 + rng.normal(0, 0.06, 3)))


def skin(rng: np.random.Generator) -> Rgb:
    """Skin."""
    return rgb(*(np.array([215, 165, 135]) * rng.uniform(0.35, 1.0)))


def foliage(rng: np.random.Generator) -> Rgb:
    """Leaves and grass."""
    if rng.random() < 0.08:
        return rgb(*(np.array([120, 90, 40]) * rng.uniform(0.6, 1.3)))
    return rgb(*(np.array([62, 76, 40]) * rng.uniform(0.45, 1.2)
                 * (1 + rng.normal(0, 0.10, 3))).clip(4, 250))


def wall(rng: np.random.Generator) -> Rgb:
    """Walls of buildings."""
    kinds = ((rgb(200, 195, 185), 3.0), (rgb(150, 148, 145), 3.0), (rgb(110, 112, 118), 2.0),
             (rgb(140, 75, 55), 1.5), (rgb(215, 200, 160), 1.5), (rgb(70, 72, 78), 1.0),
             (rgb(90, 110, 130), 1.0))
    return varied(rng, pick(rng, kinds), 0.2)
