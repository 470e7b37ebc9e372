"""One picture: rays through pixels, light on what they meet, air in between, a lens and a chip."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry import rigid
from aqr_perception.geometry.camera import PinholeCamera
from aqr_perception.simulation import textures
from aqr_perception.simulation.materials import column
from aqr_perception.simulation.mesh import Mesh
from aqr_perception.simulation.rig import RigCamera
from aqr_perception.simulation.shading import lit, mirrored, shade
from aqr_perception.simulation.tracing import (
    NO_HIT,
    Moment,
    RayScene,
    Surfaces,
    TracedWorld,
    dot,
)
from aqr_perception.simulation.weather import Weather
from aqr_perception.simulation.world import World

_EDGE = .12
"""Contrast between neighbours [share of full scale] above which a pixel gets more rays."""
_ROUGH_SHARE = .10
"""Largest share of pixels that get more rays."""
_EXTRA = np.array([(-.33, -.17), (.33, .17)], np.float32)
"""Where in the pixel the further rays go."""


@dataclass(frozen=True)
class Exposure:
    """What a chip and its lens make of light; one draw a drive and camera.

    Attributes:
        gain: Factor on the automatic exposure.
        balance: (3,) RGB factors of the white balance.
        saturation: 1 keeps colours.
        contrast: Exponent of the tone curve.
        vignette: Darkening in the corners, 0..1.
        noise: Standard deviation of the noise at mid grey [grey levels].
        blur: Standard deviation of the lens blur [px].
    """

    gain: float
    balance: NDArray[np.float32]
    saturation: float
    contrast: float
    vignette: float
    noise: float
    blur: float

    @staticmethod
    def drawn(rng: np.random.Generator) -> Exposure:
        """A camera somewhere between good and poor."""
        return Exposure(
            gain=float(np.exp(rng.normal(0, .18))),
            balance=np.exp(rng.normal(0, .05, 3)).astype(np.float32),
            saturation=float(rng.uniform(.55, 1.15)), contrast=float(rng.uniform(.9, 1.3)),
            vignette=float(rng.uniform(0, .3)), noise=float(rng.gamma(2.0, 1.0)),
            blur=float(rng.uniform(0, .6)))


class PictureTaker:
    """A camera on a car; what it sees of the car itself is the same in each picture."""

    def __init__(self, rig_camera: RigCamera, ego: Mesh) -> None:
        self.rig_camera = rig_camera
        self.camera: PinholeCamera = rig_camera.camera
        width, height = self.camera.width, self.camera.height
        v, u = np.mgrid[:height, :width].astype(np.float64)
        self.pixels = np.stack([u.ravel(), v.ravel()], 1)
        self.rays = self._directions(self.pixels)
        self.pixel_angle = np.float32(1 / self.camera.intrinsics[0, 0])
        camera_from_ego = rigid.inverse(rig_camera.ego_from_camera)
        own = ego.moved(camera_from_ego)
        distance, triangle = RayScene(own.triangles).first(np.zeros_like(self.rays), self.rays)
        self.own_pixels = np.flatnonzero(distance < NO_HIT)
        self._own_points = distance[self.own_pixels, None] * self.rays[self.own_pixels]
        self._own = Surfaces.of(ego, np.full(len(ego), -1, np.int32),
                                np.ones(len(ego), np.float32))
        self._own_triangle = triangle[self.own_pixels]

    def _directions(self, pixels: NDArray[np.float64]) -> NDArray[np.float32]:
        rays = self.camera.unproject(pixels, 1.0)
        return (rays / np.linalg.norm(rays, axis=1, keepdims=True)).astype(np.float32)

    def moment(self, traced: TracedWorld, stamp: float) -> tuple[Moment, rigid.Matrix]:
        """The world as it is when the camera exposes, and the camera's pose in it."""
        t = stamp + self.rig_camera.delay_s
        world_from_camera = traced.world.world_from_ego(t) @ self.rig_camera.ego_from_camera
        forward = world_from_camera[:3, 2]
        camera = self.camera
        half = float(np.arctan2(max(camera.intrinsics[0, 2], camera.width
                                    - camera.intrinsics[0, 2]), camera.intrinsics[0, 0])) + .15
        return traced.moment(t, world_from_camera[:3, 3],
                             float(np.arctan2(forward[1], forward[0])), half), world_from_camera

    def take(self, world: World, moment: Moment, world_from_camera: rigid.Matrix,
             exposure: Exposure, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Picture (H, W, 3) uint8 BGR."""
        turn = world_from_camera[:3, :3].astype(np.float32)
        eye = world_from_camera[:3, 3].astype(np.float32)
        light = self._light(self.rays @ turn.T, eye, world, moment)
        self._paint_own(light, world, turn, moment, eye)
        shape = (self.camera.height, self.camera.width, 3)
        scale = self._automatic(light, exposure)
        # A square root is near enough to the tone curve to tell where contrast is.
        rough = self._rough(np.sqrt(np.minimum(light * scale, 1)).reshape(shape))
        if len(rough):
            more = [self._light(self._directions(self.pixels[rough] + shift) @ turn.T, eye, world,
                                moment) for shift in _EXTRA]
            light[rough] = (light[rough] + sum(more)) / (1 + len(more))
        return self._develop((light * scale).reshape(shape), exposure, world.weather, rng)

    def _rough(self, picture: NDArray[np.float32]) -> NDArray[np.int64]:
        """Pixels that need more rays: those with the strongest contrast, up to a share of all."""
        contrast = _contrast(picture).reshape(-1)
        contrast[self.own_pixels] = 0
        most = int(_ROUGH_SHARE * len(contrast))
        bound = max(_EDGE, float(np.partition(contrast, -most)[-most]))
        return np.flatnonzero(contrast > bound)

    def _light(self, directions: NDArray[np.float32], eye: NDArray[np.float32], world: World,
               moment: Moment) -> NDArray[np.float32]:
        """Linear RGB (N, 3) along world directions."""
        origins = np.broadcast_to(eye, directions.shape)
        hits = moment.trace(np.ascontiguousarray(origins), np.ascontiguousarray(directions))
        out = np.empty((len(directions), 3), np.float32)
        solid = hits.distance < NO_HIT
        open_sky, met = np.flatnonzero(~solid), np.flatnonzero(solid)
        out[open_sky] = textures.sky(directions[open_sky], world.weather)
        if len(met):
            out[met] = shade(hits, met, eye, directions[met], world, self.pixel_angle)
        return out

    def _paint_own(self, light: NDArray[np.float32], world: World, turn: NDArray[np.float32],
                   moment: Moment, eye: NDArray[np.float32]) -> None:
        """The car's own body, over whatever the rays met behind it."""
        if not len(self.own_pixels):
            return
        triangle = self._own_triangle
        ego_turn = (turn @ self.rig_camera.ego_from_camera[:3, :3].T.astype(np.float32))
        normal = self._own.normal[triangle] @ ego_turn.T
        away = self.rays[self.own_pixels] @ turn.T
        normal *= -np.sign(dot(normal, away))[:, None]
        points = self._own_points @ turn.T + eye
        color = lit(self._own.color[triangle], normal, points, eye, moment, world.weather)
        gloss = column("gloss")[self._own.material[triangle]]
        light[self.own_pixels] = mirrored(color, normal, away, gloss, world.weather)

    def _automatic(self, light: NDArray[np.float32], exposure: Exposure) -> np.float32:
        """Factor that brings the picture's middle brightness to where a camera puts it."""
        grey = np.minimum((light[:, 0] + light[:, 1] + light[:, 2]) / 3, 1.2)
        return np.float32(.34 * exposure.gain / max(float(np.sqrt(np.square(grey).mean()
                                                                  * grey.mean() ** 2) ** .5), .02))

    def _develop(self, light: NDArray[np.float32], exposure: Exposure, weather: Weather,
                 rng: np.random.Generator) -> NDArray[np.uint8]:
        """Lens, tone curve, noise and grey levels."""
        height, width = light.shape[:2]
        if exposure.blur > .25:
            light = np.asarray(cv2.GaussianBlur(light, (0, 0), exposure.blur))
        x = np.linspace(-1, 1, width, dtype=np.float32)
        y = np.linspace(-1, 1, height, dtype=np.float32)
        light = light * (1 - exposure.vignette * .5 * (x[None] ** 2 + y[:, None] ** 2))[..., None]
        if weather.rain > .3:
            light = _drops(light, weather.rain, rng)
        picture = _tone(light, exposure) * 255
        spread = exposure.noise * (.5 + .5 * np.sqrt(np.maximum(picture, 0) / 128))
        picture += spread * rng.standard_normal(picture.shape, dtype=np.float32)
        return np.clip(picture + .5, 0, 255).astype(np.uint8)[..., ::-1].copy()


def _tone(light: NDArray[np.float32], exposure: Exposure) -> NDArray[np.float32]:
    """Light to 0..1: white balance, saturation, a shoulder, sRGB's exponent."""
    color = light * exposure.balance
    grey = ((color[..., 0] + color[..., 1] + color[..., 2]) / 3)[..., None]
    color = np.maximum(grey + (color - grey) * np.float32(exposure.saturation), 0)
    bent = 1 - np.exp(-1.35 * color ** np.float32(exposure.contrast))
    return np.asarray(np.minimum(bent * np.float32(1.06), 1) ** np.float32(1 / 2.2), np.float32)


def _contrast(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W) largest difference to the neighbours above, below, left and right."""
    grey = np.maximum(np.maximum(picture[..., 0], picture[..., 1]), picture[..., 2])
    low, high = cv2.erode(grey, np.ones((3, 3))), cv2.dilate(grey, np.ones((3, 3)))
    return np.asarray(high - low)


def _drops(light: NDArray[np.float32], rain: float, rng: np.random.Generator
           ) -> NDArray[np.float32]:
    """Drops on the glass: spots that show the surroundings blurred."""
    height, width = light.shape[:2]
    mask = np.zeros((height, width), np.float32)
    for _ in range(int(rng.poisson(14 * rain))):
        center = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.circle(mask, center, int(rng.integers(1, max(2, height // 24) + 1)),
                   float(rng.uniform(.3, .9)), -1)
    soft = cv2.GaussianBlur(mask, (0, 0), max(.8, height / 200))[..., None]
    smeared = cv2.GaussianBlur(light, (0, 0), height / 20)
    return np.asarray(light * (1 - soft) + smeared * soft, np.float32)
