"""What surfaces are made of: how the sun and the LiDAR see them.

A triangle carries a material, a colour and, where its texture has variants, a style number. Colours
are linear RGB (light, not grey levels).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Material(IntEnum):
    """The kinds of surface; an index into the columns of `MATERIALS`."""

    GROUND = 0
    CONCRETE = 1
    FACADE = 2
    METAL = 3
    PAINT = 4
    GLASS = 5
    RUBBER = 6
    CLOTH = 7
    SKIN = 8
    FOLIAGE = 9
    BARK = 10
    PLASTIC = 11
    RETRO = 12
    LAMP = 13
    POSTER = 14
    SOIL = 15


@dataclass(frozen=True)
class Optics:
    """How one material answers light.

    Attributes:
        lidar_base: Calibrated LiDAR reflectivity of a black surface, on nuScenes' scale of 0..255.
        lidar_gain: What a white surface adds to it.
        lidar_pass: Share of beams that go through or are mirrored away.
        gloss: Share of the sky's mirror image in what a camera sees at a right angle.
        grain: Relative strength of the fine texture.
    """

    lidar_base: float
    lidar_gain: float
    lidar_pass: float
    gloss: float
    grain: float


MATERIALS: dict[Material, Optics] = {
    Material.GROUND: Optics(0.0, 0.0, 0.008, 0.02, 0.25),  # its reflectivity comes from its surface
    Material.CONCRETE: Optics(10.0, 70.0, 0.01, 0.0, 0.25),
    Material.FACADE: Optics(8.0, 75.0, 0.03, 0.02, 0.15),
    Material.METAL: Optics(8.0, 75.0, 0.04, 0.08, 0.10),
    Material.PAINT: Optics(2.0, 60.0, 0.08, 0.05, 0.03),
    Material.GLASS: Optics(2.0, 10.0, 0.65, 0.10, 0.03),
    Material.RUBBER: Optics(1.5, 20.0, 0.06, 0.0, 0.15),
    Material.CLOTH: Optics(3.0, 60.0, 0.05, 0.0, 0.20),
    Material.SKIN: Optics(18.0, 40.0, 0.02, 0.0, 0.05),
    Material.FOLIAGE: Optics(10.0, 220.0, 0.05, 0.01, 0.45),
    Material.BARK: Optics(6.0, 90.0, 0.02, 0.0, 0.45),
    Material.PLASTIC: Optics(8.0, 65.0, 0.02, 0.03, 0.10),
    Material.RETRO: Optics(120.0, 110.0, 0.0, 0.02, 0.05),
    Material.LAMP: Optics(40.0, 60.0, 0.05, 0.10, 0.05),
    Material.POSTER: Optics(8.0, 60.0, 0.02, 0.03, 0.05),
    Material.SOIL: Optics(6.0, 60.0, 0.02, 0.0, 0.45),
}


def column(name: str) -> NDArray[np.float32]:
    """(materials,) one property of `Optics` by material number."""
    return np.array([getattr(MATERIALS[material], name) for material in Material], np.float32)
