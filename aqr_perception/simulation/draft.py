"""A world in the making: things that stand, things that move, and who is in whose way."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aqr_perception.simulation.catalogue import Model
from aqr_perception.simulation.ground import SurfacePainter
from aqr_perception.simulation.mesh import MeshBuilder
from aqr_perception.simulation.motion import Motion
from aqr_perception.simulation.roadmap import KERB_HEIGHT, RoadMap


@dataclass(frozen=True)
class Actor:
    """An annotated object.

    Attributes:
        model: Its look.
        motion: Its way.
        track_id: Its number in the drive.
    """

    model: Model
    motion: Motion
    track_id: int


@dataclass
class Draft:
    """What has been placed so far.

    Attributes:
        plan: The streets.
        rng: Source of all draws.
        painter: The ground's covers.
        things: What is not annotated.
        actors: What is.
        times: Moments [s] at which collisions are looked for.
    """

    plan: RoadMap
    rng: np.random.Generator
    painter: SurfacePainter
    times: NDArray[np.float64]
    things: MeshBuilder = field(default_factory=MeshBuilder)
    actors: list[Actor] = field(default_factory=list)
    _taken: NDArray[np.float64] = field(init=False)
    _count: int = 0

    def __post_init__(self) -> None:
        self._taken = np.zeros((len(self.times), 256, 3))

    def occupy(self, motion: Motion, size: NDArray[np.float64], margin: float = .25) -> bool:
        """Take the place of an object of (l, w, h) if nothing comes near it at any time.

        Objects are rows of circles along their length; ``margin`` [m] is kept all round.
        """
        circles = self._circles(motion, size, margin)
        taken = self._taken[:, :self._count]
        for k in range(circles.shape[1]):
            apart = taken - circles[:, k:k + 1]
            reach = taken[..., 2] + circles[:, k:k + 1, 2]
            if (apart[..., 0] ** 2 + apart[..., 1] ** 2 < reach ** 2).any():
                return False
        self._take(circles)
        return True

    def add(self, model: Model, motion: Motion, margin: float = .25) -> bool:
        """Place an annotated object if its way is free."""
        if not self.occupy(motion, model.size, margin):
            return False
        self.actors.append(Actor(model, motion, len(self.actors)))
        return True

    def add_joined(self, model: Model, motion: Motion) -> None:
        """Place an object that touches another one, such as a trailer on its lorry."""
        self._take(self._circles(motion, model.size, 0.0))
        self.actors.append(Actor(model, motion, len(self.actors)))

    def _take(self, circles: NDArray[np.float64]) -> None:
        count = self._count + circles.shape[1]
        if count > self._taken.shape[1]:
            self._taken = np.concatenate([self._taken, np.zeros_like(self._taken)], axis=1)
        self._taken[:, self._count:count] = circles
        self._count = count

    def block_place(self, s: float, d: float) -> NDArray[np.float64]:
        """World place on top of a raised block."""
        return self.plan.place(s, d, KERB_HEIGHT)

    def _circles(self, motion: Motion, size: NDArray[np.float64], margin: float
                 ) -> NDArray[np.float64]:
        """(T, circles, 3) x, y and radius in the world at each moment."""
        count = max(1, int(np.ceil(size[0] / size[1])))
        radius = float(np.hypot(size[0] / count, size[1]) / 2 + margin)
        shift = (np.arange(count) - (count - 1) / 2) * size[0] / count
        out = np.empty((len(self.times), count, 3))
        for k, t in enumerate(self.times if motion.moves else self.times[:1]):
            foot, yaw, _ = motion.at(self.plan, float(t))
            out[k, :, 0] = foot[0] + np.cos(yaw) * shift
            out[k, :, 1] = foot[1] + np.sin(yaw) * shift
        if not motion.moves:
            out[1:] = out[0]
        out[..., 2] = radius
        return out
