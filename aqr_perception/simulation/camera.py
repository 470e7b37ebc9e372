"""One picture: rays through pixels, light on what they meet, air in between, a lens and a chip."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry import rigid
from aqr_perception.geometry.camera import PinholeCamera
from aqr_perception.simulation import textures
from aqr_perception.simulation.materials import Material, column
from aqr_perception.simulation.mesh import Mesh
from aqr_perception.simulation.rig import RigCamera
from aqr_perception.simulation.tracing import (
    NO_HIT,
    Hits,
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
_COVER_REACH = 25.0
"""[m] to which dark corners are looked for."""
_SHADOW_REACH = 70.0
"""[m] to which shadows of the sun are drawn."""
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
        color = _lit(self._own.color[triangle], normal, points, eye, moment, world.weather)
        gloss = column("gloss")[self._own.material[triangle]]
        light[self.own_pixels] = _mirrored(color, normal, away, gloss, world.weather)

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
    color = np.asarray(hits.surface("color", met)).copy()
    footprint = distance * pixel_angle / np.sqrt(np.maximum(facing, .03))
    gloss = column("gloss")[material]
    ground = np.flatnonzero(material == Material.GROUND)
    color[ground] = world.ground.color_at(points[ground, 0], points[ground, 1], footprint[ground])
    gloss[ground] += .04 * weather.wetness
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
    light = _lit(color, normal, points, eye, hits.moment, weather, material == Material.FOLIAGE)
    lamp = material == Material.LAMP
    light[lamp] += .35 * color[lamp]
    shiny = np.flatnonzero(gloss > .015)
    light[shiny] = _mirrored(light[shiny], normal[shiny], directions[shiny], gloss[shiny], weather)
    clear = np.exp(-weather.fog * distance)[:, None]
    return np.asarray(light * clear + weather.horizon * (1 - clear), np.float32)


def _lit(color: NDArray[np.float32], normal: NDArray[np.float32], points: NDArray[np.float32],
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
    covered[close] = moment.blocked(near[close], lift[close], 2.5)
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


def _mirrored(light: NDArray[np.float32], normal: NDArray[np.float32],
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
