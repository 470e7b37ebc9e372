from __future__ import annotations

from dataclasses import replace

import numpy as np
from worlds import clear_day

from aqr_perception.simulation import textures


def wall(style: int, footprint: float) -> tuple[np.ndarray, np.ndarray]:
    """A white wall of 60 × 60 m that looks along -y."""
    x, z = np.meshgrid(np.linspace(0, 60, 300), np.linspace(0, 60, 300))
    points = np.stack([x.ravel(), np.zeros(x.size), z.ravel()], 1).astype(np.float32)
    normal = np.tile(np.array([0, -1, 0], np.float32), (len(points), 1))
    return textures.facade(points, normal, np.full(len(points), style, np.uint16),
                           np.ones((len(points), 3), np.float32),
                           np.full(len(points), footprint, np.float32))


def test_windows_fade_to_their_mean_with_distance():
    style = next(k for k in range(100) if .1 < wall(k, .01)[1].mean() < .5)
    near, far = wall(style, .01)[1], wall(style, 8.0)[1]
    assert near.std() > .15
    assert far.std() < .02
    assert abs(near.mean() - far.mean()) < .05


def test_noise_is_centred_and_repeats():
    u, v = (x.ravel().astype(np.float32) for x in np.meshgrid(np.arange(256), np.arange(256)))
    values = textures.noise(u, v)
    assert abs(values.mean()) < 1e-4
    assert abs(values.std() - 1) < 1e-4
    assert np.array_equal(values, textures.noise(u + 256, v - 512))


def test_a_cloudless_sky_darkens_upwards():
    up = np.array([[1, 0, 0], [.8, 0, .6], [0, 0, 1]], np.float32)
    light = textures.sky(up, clear_day())
    assert (np.diff(light[:, 0]) < 0).all()
    cloudy = replace(clear_day(), clouds=.5)
    ring = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    ring[:, 2] = np.abs(ring[:, 2])
    ring /= np.linalg.norm(ring, axis=1, keepdims=True)
    assert textures.sky(ring, cloudy).std() > textures.sky(ring, clear_day()).std()
