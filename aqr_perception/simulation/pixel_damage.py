"""What can go wrong with pictures. Each function returns new pixels; the input is untouched.

Lengths in pixels are meant for a picture 1600 wide and scale with the width.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from aqr_perception.simulation.textures import noise

Pixels = NDArray[np.uint8]
FULL_WIDTH = 1600.0


def uniform(pixels: Pixels, level: int) -> Pixels:
    """All of one grey level: black where the chip is dead, white where it is blinded."""
    return np.full_like(pixels, level)


def noisy(pixels: Pixels, deviation: float, rng: np.random.Generator) -> Pixels:
    """Gaussian noise [grey levels] and a few dead pixels."""
    out = pixels + rng.normal(0, deviation, pixels.shape)
    dead = rng.random(pixels.shape[:2]) < deviation / 2500
    out[dead] = rng.choice([0.0, 255.0], (int(dead.sum()), 1))
    return _grey(out)


def blurred(pixels: Pixels, deviation: float) -> Pixels:
    """Out of focus; ``deviation`` in pixels of a picture 1600 wide."""
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), _scaled(pixels, deviation)))


def dirt(pixels: Pixels, share: float, rng: np.random.Generator
         ) -> tuple[Pixels, NDArray[np.bool_]]:
    """Mud or drops on the lens.

    Args:
        pixels: The picture.
        share: How much of it is covered, about.
        rng: Where the spots lie.

    Returns:
        The picture, and (H, W) True where it is covered.
    """
    height, width = pixels.shape[:2]
    mask = np.zeros((height, width), np.float32)
    while mask.mean() < share:
        center = (int(rng.integers(width)), int(rng.integers(height)))
        axes = tuple(int(max(1, side)) for side in rng.uniform(.03, .16, 2) * width)
        cv2.ellipse(mask, center, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
    soft = cv2.GaussianBlur(mask, (0, 0), width / 90)[..., None]
    mud = np.array([45, 60, 75]) * rng.uniform(.4, 1.6)
    covered = .25 * cv2.GaussianBlur(pixels, (0, 0), width / 25) + .75 * mud
    return _grey(pixels * (1 - soft) + covered * soft), np.asarray(soft[..., 0] > .5)


def brighter(pixels: Pixels, amount: float) -> Pixels:
    """The brightest of each pixel's colours raised by ``amount`` of full scale, its hue kept."""
    value = pixels.max(axis=2, keepdims=True).astype(np.float64)
    factor = np.minimum(value + 255 * amount, 255) / np.maximum(value, 1)
    return _grey(np.where(value < 1, 255 * amount, pixels * factor))


def dark(pixels: Pixels, light: float, photons: float, read_noise: float,
         rng: np.random.Generator) -> Pixels:
    """Too little light: squared tone, ``light`` of full scale at most, shot and read noise."""
    level = pixels / 255.0
    span = max(float(level.max() - level.min()), 1e-6)
    dim = ((level - level.min()) / span) ** 2 * light
    shot = rng.poisson(dim * photons) / photons
    return _grey(255 * (shot + rng.normal(0, read_noise, shot.shape)))


def motion_blur(pixels: Pixels, deviation: float, rng: np.random.Generator) -> Pixels:
    """Smeared along a direction within 45° of level, by a one-sided Gaussian over 31 px."""
    length = max(3, round(_scaled(pixels, 31)) | 1)
    weight = np.exp(-np.square(np.arange(length)) / (2 * _scaled(pixels, deviation) ** 2))
    angle = np.radians(rng.uniform(-45, 45))
    kernel = np.zeros((2 * length - 1, 2 * length - 1), np.float32)
    for k, value in enumerate(weight):
        row, column = length - 1 + k * np.sin(angle), length - 1 + k * np.cos(angle)
        kernel[round(row), round(column)] += value
    return np.asarray(cv2.filter2D(pixels, -1, kernel / kernel.sum()))


def fog(pixels: Pixels, density: float, horizon: float, rng: np.random.Generator) -> Pixels:
    """Grey air, thicker towards the horizon, in patches.

    Args:
        pixels: The picture.
        density: Extinction over the distance at which an image row meets level ground [1/m].
        horizon: Row of the horizon [px].
        rng: Where the patches lie.
    """
    height, width = pixels.shape[:2]
    below = np.maximum((np.arange(height) - horizon) / width, 0)
    distance = np.minimum(1.25 / np.maximum(below, 1e-3), 90.0)  # camera 1.6 m up, 80° wide
    shift = rng.uniform(0, 256, 2)
    v, u = np.mgrid[:height, :width] * (40.0 / width)
    patches = 1 + .35 * noise((u + shift[0]).astype(np.float32), (v + shift[1]).astype(np.float32))
    clear = np.exp(-density * distance[:, None] * np.clip(patches, .3, 2))[..., None]
    return _grey(pixels * clear + rng.uniform(150, 200) * (1 - clear))


def snow(pixels: Pixels, flakes: float, veil: float, rng: np.random.Generator) -> Pixels:
    """Falling flakes as streaks over a brightened, greyed picture."""
    height, width = pixels.shape[:2]
    layer = np.zeros((height, width), np.float32)
    size = _scaled(pixels, 7)
    for _ in range(int(rng.poisson(flakes * 900))):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        near = rng.gamma(2.0, .5)
        angle = np.radians(rng.uniform(60, 120))
        tip = (int(x + np.cos(angle) * size * near * 2), int(y + np.sin(angle) * size * near * 2))
        cv2.line(layer, (int(x), int(y)), tip, float(rng.uniform(.5, 1)),
                 max(1, round(size * near * .4)), cv2.LINE_AA)
    soft = np.asarray(cv2.GaussianBlur(layer, (0, 0), max(.5, size / 8)))[..., None]
    grey = pixels.mean(axis=2, keepdims=True)
    pale = (1 - veil) * pixels + veil * np.maximum(pixels, grey * 1.2 + 90)
    return _grey(pale * (1 - soft) + 245 * soft)


def _scaled(pixels: Pixels, length: float) -> float:
    return max(.4, length * pixels.shape[1] / FULL_WIDTH)


def _grey(values: NDArray[np.floating]) -> Pixels:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)
