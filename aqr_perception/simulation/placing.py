"""Ways of placing many things: in a line, over a rectangle, and people."""

from __future__ import annotations

import numpy as np

from aqr_perception.simulation import street
from aqr_perception.simulation.catalogue import (
    Model,
    draw_barrier_kind,
    draw_model,
    draw_size,
)
from aqr_perception.simulation.draft import Draft
from aqr_perception.simulation.motion import Motion, Profile
from aqr_perception.simulation.roadmap import KERB_HEIGHT
from aqr_perception.simulation.works import barrier
from aqr_perception.types import CLASS_NAMES


def line(draft: Draft, s0: float, s1: float, d: float, name: str, taper: float = 0.0,
          lift: float = 0.0) -> None:
    """Barriers end to end, or cones at a spacing, along the road."""
    rng = draft.rng
    kind, color = draw_barrier_kind(rng)
    size = draw_size(rng, name)
    mixed = rng.random() < .4
    step = size[1] + float(rng.choice([.05, rng.uniform(.1, 1.5)])) if name == "barrier" else float(
        rng.uniform(1.5, 5))
    for s in np.arange(s0, s1, step):
        own = size * rng.normal(1, .02, 3)
        if name == "barrier":
            shade = draw_barrier_kind(rng)[1] if mixed and kind == 0 else color
            model = Model(CLASS_NAMES.index(name), own, barrier(rng, own, kind, shade))
        else:
            model = draw_model(rng, name)
        along = d + taper * (s1 - s) if taper else d
        draft.add(model, Motion(float(s), float(along + rng.normal(0, .06)),
                                turn=float(rng.normal(0, .04)) + np.pi * int(rng.random() < .5),
                                lift=lift), -.2)


def scatter(draft: Draft, s0: float, s1: float, d0: float, d1: float, count: int,
             thing: street.Thing) -> None:
    """Unannotated things at random places of a rectangle."""
    for _ in range(count):
        s, d = float(draft.rng.uniform(s0, s1)), between(draft.rng, d0, d1)
        thing(draft.things, draft.rng, draft.block_place(s, d),
              float(draft.rng.uniform(-np.pi, np.pi)))


def people(draft: Draft, s0: float, s1: float, d0: float, d1: float, count: int,
            standing: float = .3) -> None:
    """People at random places of a rectangle."""
    rng = draft.rng
    for _ in range(count):
        walks = rng.random() > standing
        draft.add(draw_model(rng, "pedestrian", moving=walks),
                  Motion(float(rng.uniform(s0, s1)), between(rng, d0, d1),
                         float(rng.uniform(-np.pi, np.pi)),
                         Profile(float(np.clip(rng.normal(1.2, .3), .3, 2.5)) if walks else 0.0),
                         lift=KERB_HEIGHT), .05)


def between(rng: np.random.Generator, start: float, end: float) -> float:
    """A draw between two numbers in either order."""
    return float(rng.uniform(min(start, end), max(start, end)))
