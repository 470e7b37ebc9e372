"""What a plot beside the street can be: houses, a park, a car park, a building site.

Each function fills s0..s1 along the street, from d away from it (``side`` +1: to the left).
"""

from __future__ import annotations

import numpy as np

from aqr_perception.simulation import buildings, street
from aqr_perception.simulation.catalogue import draw_model
from aqr_perception.simulation.draft import Draft
from aqr_perception.simulation.ground import Surface
from aqr_perception.simulation.motion import Motion
from aqr_perception.simulation.placing import line, people, scatter
from aqr_perception.simulation.roadmap import KERB_HEIGHT


def houses(draft: Draft, s0: float, s1: float, d: float, side: int) -> None:
    """A row of houses, or one building."""
    rng = draft.rng
    depth, height = float(rng.uniform(8, 18)), float(np.exp(rng.uniform(np.log(3.5), np.log(40))))
    gap = float(rng.uniform(0, .25)) if rng.random() < .5 else 0.0
    count = 1 if rng.random() < .5 else max(1, int((s1 - s0) / rng.uniform(8, 16)))
    length = (s1 - s0) / count
    for k in range(count):
        buildings.building(draft.things, rng, draft.plan, s0 + (k + .5) * length,
                           d + side * depth / 2, length * (1 - gap), depth,
                           height * float(rng.uniform(.8, 1.2)))
    scatter(draft, s0, s1, d - side * 1.2, d - side * .2, int(rng.integers(0, 4)),
             street.small_thing)
    if rng.random() < .4:
        scatter(draft, s0, s1, d - side * 1.5, d - side * .5, int(rng.integers(1, 6)),
                 street.bush)


def park(draft: Draft, s0: float, s1: float, d: float, side: int) -> None:
    """Lawn, trees and bushes."""
    rng = draft.rng
    draft.painter.rectangle(s0, s1, d, d + side * 40, Surface.GRASS)
    scatter(draft, s0, s1, d + side * 1, d + side * 35, int(rng.integers(5, 16)), street.tree)
    scatter(draft, s0, s1, d, d + side * 20, int(rng.integers(3, 14)), street.bush)
    scatter(draft, s0, s1, d, d + side * 15, int(rng.integers(0, 4)), street.small_thing)
    if rng.random() < .4:
        buildings.fence(draft.things, rng, draft.plan, s0, s1, d)
    people(draft, s0, s1, d, d + side * 25, int(rng.poisson(1.5)))


def car_park(draft: Draft, s0: float, s1: float, d: float, side: int) -> None:
    """Rows of parked vehicles."""
    rng, plan = draft.rng, draft.plan
    depth = float(rng.uniform(14, 38))
    draft.painter.rectangle(s0, s1, d, d + side * depth, Surface.ASPHALT)
    fullness = float(rng.uniform(.3, .9))
    for row in np.arange(3.0, depth - 2, 8.5):
        facing = np.pi / 2 if rng.random() < .5 else -np.pi / 2
        for s in np.arange(s0 + 1.5, s1 - 1.5, 2.7):
            draft.painter.rectangle(s - 1.4, s - 1.3, d + side * (row - 2.4),
                                    d + side * (row + 2.4), Surface.WHITE)
            if rng.random() < fullness:
                name = "car" if rng.random() < .88 else str(rng.choice(["truck", "motorcycle"]))
                draft.add(draw_model(rng, name),
                          Motion(float(s), d + side * float(row + rng.normal(0, .15)), facing,
                                 turn=float(rng.normal(0, .03)), lift=KERB_HEIGHT), -.1)
        if rng.random() < .25:
            line(draft, s0 + 2, s0 + 2 + float(rng.uniform(3, 10)), d + side * (row + 4.2),
                  "traffic_cone", lift=KERB_HEIGHT)
    people(draft, s0, s1, d + side * 5, d + side * depth, int(rng.poisson(1.2)))
    if rng.random() < .3:
        model = draw_model(rng, "trailer" if rng.random() < .6 else "bus")
        heading = float(rng.choice([0, np.pi]))
        draft.add(model, Motion((s0 + s1) / 2, d + side * (depth - 2), heading,
                                lift=KERB_HEIGHT), .1)
    if plan.pavement > 3 and rng.random() < .5:
        scatter(draft, s0, s1, d - side * .5, d, int(rng.integers(1, 6)), street.bush)


def site(draft: Draft, s0: float, s1: float, d: float, side: int) -> None:
    """A building site with machines, behind barriers, a fence or cones."""
    rng = draft.rng
    depth = float(rng.uniform(15, 40))
    draft.painter.rectangle(s0, s1, d, d + side * depth, Surface.SOIL)
    edge = rng.random()
    if edge < .35:
        line(draft, s0, s1, d, "barrier", lift=KERB_HEIGHT)
    elif edge < .7:
        buildings.fence(draft.things, rng, draft.plan, s0, s1, d)
    else:
        line(draft, s0, s1, d, "traffic_cone", lift=KERB_HEIGHT)
    for name, count in (("construction_vehicle", rng.integers(1, 4)), ("truck", rng.integers(0, 2)),
                        ("trailer", rng.integers(0, 2))):
        for _ in range(int(count)):
            draft.add(draw_model(rng, name),
                      Motion(float(rng.uniform(s0 + 3, s1 - 3)),
                             d + side * float(rng.uniform(3, depth)),
                             float(rng.uniform(-np.pi, np.pi)), lift=KERB_HEIGHT), .3)
    people(draft, s0, s1, d + side, d + side * depth, int(rng.poisson(2.0)), standing=.7)
    for thing in (street.heap, street.crates, street.cabinet):
        scatter(draft, s0, s1, d + side * 2, d + side * depth, int(rng.integers(0, 4)), thing)


def plaza(draft: Draft, s0: float, s1: float, d: float, side: int) -> None:
    """A paved square with people, furniture and cycles before a building."""
    rng, depth = draft.rng, float(draft.rng.uniform(8, 25))
    draft.painter.rectangle(s0, s1, d, d + side * depth,
                            Surface(int(rng.choice([Surface.PAVING, Surface.BRICK]))))
    scatter(draft, s0, s1, d, d + side * depth, int(rng.integers(3, 12)), street.small_thing)
    people(draft, s0, s1, d, d + side * depth, int(rng.poisson(6)), standing=.4)
    if rng.random() < .6:  # a rack of cycles
        name = "bicycle" if rng.random() < .7 else "motorcycle"
        base = float(rng.uniform(s0, s1))
        for k in range(int(rng.integers(2, 8))):
            draft.add(draw_model(rng, name),
                      Motion(base + .75 * k, d + side * float(rng.uniform(1.0, 1.4)),
                             side * np.pi / 2, turn=float(rng.normal(0, .08)), lift=KERB_HEIGHT),
                      -.4)
    buildings.building(draft.things, rng, draft.plan, (s0 + s1) / 2, d + side * (depth + 8),
                       s1 - s0, 15, float(rng.uniform(6, 40)))


def yard(draft: Draft, s0: float, s1: float, d: float, side: int) -> None:
    """A wall, fence or hedge before a garden."""
    rng, kind = draft.rng, draft.rng.random()
    if kind < .35:
        buildings.wall(draft.things, rng, draft.plan, s0, s1, d)
    elif kind < .65:
        buildings.fence(draft.things, rng, draft.plan, s0, s1, d)
    else:
        height = float(rng.uniform(.6, 2.2))
        for s in np.arange(s0, s1 - 1.5, 2.8):
            street.bush(draft.things, rng, draft.block_place(float(s) + 1.4, d),
                        float(draft.plan.frame.heading(s)), np.array([3.0, 1.2, height]))
    scatter(draft, s0, s1, d + side * 2, d + side * 10, int(rng.integers(0, 6)), street.tree)
    if rng.random() < .6:
        buildings.building(draft.things, rng, draft.plan, (s0 + s1) / 2,
                           d + side * float(rng.uniform(14, 24)), (s1 - s0) * .8, 10,
                           float(rng.uniform(4, 12)))


def backdrop(draft: Draft, s0: float, s1: float, side: int, town: float) -> None:
    """What closes the view far from the road."""
    rng, plan = draft.rng, draft.plan
    edge = plan.left if side > 0 else plan.right
    if rng.random() < .6:
        _far_lot(draft, s0, s1, edge, side)
    if rng.random() < .35 + .6 * town:
        depth = float(rng.uniform(10, 20))
        d = edge + side * float(rng.uniform(38, 58))
        buildings.building(draft.things, rng, plan, (s0 + s1) / 2, d + side * depth / 2,
                           (s1 - s0) * float(rng.uniform(.6, 1)), depth,
                           float(np.exp(rng.uniform(np.log(5), np.log(60)))))
    else:
        scatter(draft, s0, s1, edge + side * 40, edge + side * 70, int(rng.integers(5, 12)),
                 street.tree)


def _far_lot(draft: Draft, s0: float, s1: float, edge: float, side: int) -> None:
    """Vehicles and people in the open, far from the road."""
    rng = draft.rng
    for _ in range(int(rng.integers(1, 7))):
        name = str(rng.choice(["car", "truck", "trailer", "bus", "construction_vehicle"],
                              p=[.5, .15, .15, .1, .1]))
        draft.add(draw_model(rng, name),
                  Motion(float(rng.uniform(s0, s1)), edge + side * float(rng.uniform(30, 60)),
                         float(rng.choice([0, np.pi / 2, np.pi, -np.pi / 2])),
                         turn=float(rng.normal(0, .1)), lift=KERB_HEIGHT), .2)
    people(draft, s0, s1, edge + side * 22, edge + side * 55, int(rng.poisson(4)))
