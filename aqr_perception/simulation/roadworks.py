"""A closed strip of road, with all that stands in it."""

from __future__ import annotations

import numpy as np

from aqr_perception.simulation import street
from aqr_perception.simulation.catalogue import draw_model
from aqr_perception.simulation.draft import Draft
from aqr_perception.simulation.ground import Surface
from aqr_perception.simulation.motion import Motion
from aqr_perception.simulation.placing import line


def roadworks(draft: Draft, s: float, d: float, length: float, into: int, width: float) -> None:
    """A closed strip of road: a line of barriers or cones, machines, heaps and workers behind it.

    Args:
        draft: The world so far.
        s: Where it starts [m].
        d: The line between it and traffic [m].
        length: Along the road [m].
        into: +1 where the works lie to the left of the line, -1 to the right.
        width: Of the strip [m].
    """
    rng = draft.rng
    line(draft, s, s + length, d, "barrier" if rng.random() < .6 else "traffic_cone")
    line(draft, s - 12, s, d, "traffic_cone", taper=into * width / 12)
    if rng.random() < .4:
        draft.painter.rectangle(s, s + length, d, d + into * width, Surface.SOIL)
    for _ in range(int(rng.integers(1, 3))):
        model = draw_model(rng, "construction_vehicle" if rng.random() < .7 else "truck")
        draft.add(model, Motion(s + float(rng.uniform(.1, .9)) * length,
                                d + into * max(width / 2, 2.4), float(rng.choice([0, np.pi])),
                                turn=float(rng.normal(0, .2))), .05)
    for _ in range(int(rng.integers(0, 5))):
        draft.add(draw_model(rng, "pedestrian"),
                  Motion(s + float(rng.uniform(0, 1)) * length,
                         d + into * float(rng.uniform(.6, width)),
                         turn=float(rng.uniform(-np.pi, np.pi))), .05)
    for _ in range(int(rng.integers(0, 3))):
        place = draft.plan.place(s + float(rng.uniform(0, 1)) * length,
                                 d + into * float(rng.uniform(1.2, width)))
        (street.heap if rng.random() < .5 else street.crates)(draft.things, rng, place, 0.0)
