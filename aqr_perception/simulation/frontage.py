"""What lines the streets: buildings, parks, car parks, yards, building sites, and clutter."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aqr_perception.simulation import buildings, palette, street
from aqr_perception.simulation.catalogue import (
    Model,
    draw_barrier_kind,
    draw_model,
    draw_size,
)
from aqr_perception.simulation.draft import Draft
from aqr_perception.simulation.ground import Surface
from aqr_perception.simulation.materials import Material
from aqr_perception.simulation.mesh import at
from aqr_perception.simulation.motion import Motion, Profile
from aqr_perception.simulation.roadmap import KERB_HEIGHT
from aqr_perception.simulation.works import barrier
from aqr_perception.types import CLASS_NAMES

Plot = Callable[[Draft, float, float, float, int], None]


def line_streets(draft: Draft, green: float, town: float) -> None:
    """Divide every block into plots along its street and fill them.

    Args:
        draft: The world so far.
        green: Share of trees, 0..1.
        town: How built-up it is, 0..1.
    """
    rng, plan = draft.rng, draft.plan
    plots: tuple[tuple[Plot, float], ...] = (
        (_houses, .15 + .55 * town), (_park, .12 + .35 * green), (_car_park, .20), (_site, .14),
        (_plaza, .08 + .08 * town), (_yard, .15))
    weights = np.array([weight for _, weight in plots])
    for s0, s1, d0, d1 in plan.blocks():
        edge, side = (d0, 1) if d0 > 0 else (d1, -1)
        s = s0 + plan.pavement
        while s < s1 - plan.pavement - 6:
            length = min(float(rng.uniform(12, 45)), s1 - plan.pavement - s)
            plot = plots[int(rng.choice(len(plots), p=weights / weights.sum()))][0]
            setback = plan.pavement + float(rng.choice([.3, rng.uniform(0, 3), rng.uniform(3, 10)]))
            if plot in (_car_park, _site) and rng.random() < .5:
                setback += float(rng.uniform(5, 25))
            plot(draft, s, s + length, edge + side * setback, side)
            _backdrop(draft, s, s + length, side, town)
            s += length + float(rng.choice([0.0, rng.uniform(0, 4)]))
        _pavement_clutter(draft, s0, s1, edge, side, green)
    for s0, s1, d0, d1 in plan.median_strips():
        _median(draft, s0, s1, (d0 + d1) / 2)


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
    _line(draft, s, s + length, d, "barrier" if rng.random() < .6 else "traffic_cone")
    _line(draft, s - 12, s, d, "traffic_cone", taper=into * width / 12)
    if rng.random() < .4:
        draft.painter.rectangle(s, s + length, *_ordered((d, d + into * width)), Surface.SOIL)
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


def _line(draft: Draft, s0: float, s1: float, d: float, name: str, taper: float = 0.0,
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


def _houses(draft: Draft, s0: float, s1: float, d: float, side: int) -> None:
    rng = draft.rng
    depth, height = float(rng.uniform(8, 18)), float(np.exp(rng.uniform(np.log(3.5), np.log(40))))
    gap = float(rng.uniform(0, .25)) if rng.random() < .5 else 0.0
    count = 1 if rng.random() < .5 else max(1, int((s1 - s0) / rng.uniform(8, 16)))
    length = (s1 - s0) / count
    for k in range(count):
        buildings.building(draft.things, rng, draft.plan, s0 + (k + .5) * length,
                           d + side * depth / 2, length * (1 - gap), depth,
                           height * float(rng.uniform(.8, 1.2)))
    _scatter(draft, s0, s1, d - side * 1.2, d - side * .2, int(rng.integers(0, 4)),
             street.small_thing)
    if rng.random() < .4:
        _scatter(draft, s0, s1, d - side * 1.5, d - side * .5, int(rng.integers(1, 6)),
                 street.bush)


def _park(draft: Draft, s0: float, s1: float, d: float, side: int) -> None:
    rng = draft.rng
    draft.painter.rectangle(s0, s1, *_ordered((d, d + side * 40)), Surface.GRASS)
    _scatter(draft, s0, s1, d + side * 1, d + side * 35, int(rng.integers(5, 16)), street.tree)
    _scatter(draft, s0, s1, d, d + side * 20, int(rng.integers(3, 14)), street.bush)
    _scatter(draft, s0, s1, d, d + side * 15, int(rng.integers(0, 4)), street.small_thing)
    if rng.random() < .4:
        buildings.fence(draft.things, rng, draft.plan, s0, s1, d)
    _people(draft, s0, s1, d, d + side * 25, int(rng.poisson(1.5)))


def _car_park(draft: Draft, s0: float, s1: float, d: float, side: int) -> None:
    rng, plan = draft.rng, draft.plan
    depth = float(rng.uniform(14, 38))
    draft.painter.rectangle(s0, s1, *_ordered((d, d + side * depth)), Surface.ASPHALT)
    fullness = float(rng.uniform(.3, .9))
    for row in np.arange(3.0, depth - 2, 8.5):
        facing = np.pi / 2 if rng.random() < .5 else -np.pi / 2
        for s in np.arange(s0 + 1.5, s1 - 1.5, 2.7):
            line = sorted((d + side * (row - 2.4), d + side * (row + 2.4)))
            draft.painter.rectangle(s - 1.4, s - 1.3, line[0], line[1], Surface.WHITE)
            if rng.random() < fullness:
                name = "car" if rng.random() < .88 else str(rng.choice(["truck", "motorcycle"]))
                draft.add(draw_model(rng, name),
                          Motion(float(s), d + side * float(row + rng.normal(0, .15)), facing,
                                 turn=float(rng.normal(0, .03)), lift=KERB_HEIGHT), -.1)
        if rng.random() < .25:
            _line(draft, s0 + 2, s0 + 2 + float(rng.uniform(3, 10)), d + side * (row + 4.2),
                  "traffic_cone", lift=KERB_HEIGHT)
    _people(draft, s0, s1, d + side * 5, d + side * depth, int(rng.poisson(1.2)))
    if rng.random() < .3:
        model = draw_model(rng, "trailer" if rng.random() < .6 else "bus")
        heading = float(rng.choice([0, np.pi]))
        draft.add(model, Motion((s0 + s1) / 2, d + side * (depth - 2), heading,
                                lift=KERB_HEIGHT), .1)
    if plan.pavement > 3 and rng.random() < .5:
        _scatter(draft, s0, s1, d - side * .5, d, int(rng.integers(1, 6)), street.bush)


def _site(draft: Draft, s0: float, s1: float, d: float, side: int) -> None:
    rng = draft.rng
    depth = float(rng.uniform(15, 40))
    draft.painter.rectangle(s0, s1, *_ordered((d, d + side * depth)), Surface.SOIL)
    edge = rng.random()
    if edge < .35:
        _line(draft, s0, s1, d, "barrier", lift=KERB_HEIGHT)
    elif edge < .7:
        buildings.fence(draft.things, rng, draft.plan, s0, s1, d)
    else:
        _line(draft, s0, s1, d, "traffic_cone", lift=KERB_HEIGHT)
    for name, count in (("construction_vehicle", rng.integers(1, 4)), ("truck", rng.integers(0, 2)),
                        ("trailer", rng.integers(0, 2))):
        for _ in range(int(count)):
            draft.add(draw_model(rng, name),
                      Motion(float(rng.uniform(s0 + 3, s1 - 3)),
                             d + side * float(rng.uniform(3, depth)),
                             float(rng.uniform(-np.pi, np.pi)), lift=KERB_HEIGHT), .3)
    _people(draft, s0, s1, d + side, d + side * depth, int(rng.poisson(2.0)), standing=.7)
    for thing in (street.heap, street.crates, street.cabinet):
        _scatter(draft, s0, s1, d + side * 2, d + side * depth, int(rng.integers(0, 4)), thing)


def _plaza(draft: Draft, s0: float, s1: float, d: float, side: int) -> None:
    rng, depth = draft.rng, float(draft.rng.uniform(8, 25))
    draft.painter.rectangle(s0, s1, *_ordered((d, d + side * depth)),
                            Surface(int(rng.choice([Surface.PAVING, Surface.BRICK]))))
    _scatter(draft, s0, s1, d, d + side * depth, int(rng.integers(3, 12)), street.small_thing)
    _people(draft, s0, s1, d, d + side * depth, int(rng.poisson(6)), standing=.4)
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


def _yard(draft: Draft, s0: float, s1: float, d: float, side: int) -> None:
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
    _scatter(draft, s0, s1, d + side * 2, d + side * 10, int(rng.integers(0, 6)), street.tree)
    if rng.random() < .6:
        buildings.building(draft.things, rng, draft.plan, (s0 + s1) / 2,
                           d + side * float(rng.uniform(14, 24)), (s1 - s0) * .8, 10,
                           float(rng.uniform(4, 12)))


def _backdrop(draft: Draft, s0: float, s1: float, side: int, town: float) -> None:
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
        _scatter(draft, s0, s1, edge + side * 40, edge + side * 70, int(rng.integers(5, 12)),
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
    _people(draft, s0, s1, edge + side * 22, edge + side * 55, int(rng.poisson(4)))


def skyline(draft: Draft) -> None:
    """Houses, trees and hills beyond the streets, for the eye."""
    rng, plan = draft.rng, draft.plan
    middle = plan.frame.world([(plan.start + plan.end) / 2, 0.0])
    half = (plan.end - plan.start) / 2
    trees = rng.random()
    for angle in np.arange(0, 2 * np.pi, .07):
        spread = rng.uniform(1.15, 1.7)
        place = middle + half * spread * np.array([np.cos(angle), np.sin(angle)])
        along, across = plan.frame.road(*place)
        if plan.start - 3 < along < plan.end + 3 and abs(across) < plan.reach + 3:
            continue
        foot = np.append(place, plan.terrain.height(place) - 1)
        if rng.random() < trees:
            size = np.array([rng.uniform(5, 14), rng.uniform(5, 14), rng.uniform(4, 13)])
            draft.things.ball(foot, size, Material.FOLIAGE, palette.foliage(rng), 7, 5)
        else:
            height = float(np.exp(rng.uniform(np.log(5), np.log(50))))
            draft.things.box(foot + at(0, 0, height / 2), [rng.uniform(8, 30), rng.uniform(8, 30),
                             height], Material.FACADE, palette.wall(rng), float(rng.uniform(0, 3)),
                             style=int(rng.integers(1, buildings.STYLES)))


def _pavement_clutter(draft: Draft, s0: float, s1: float, edge: float, side: int, green: float
                      ) -> None:
    """What stands in a row near the kerb: lamps, signs, trees, bollards, bus stops."""
    rng, plan = draft.rng, draft.plan
    toward = -side * np.pi / 2
    row = edge + side * .5

    def face(s: float, turn: float) -> float:
        return float(plan.frame.heading(s)) + turn
    for s in np.arange(s0 + rng.uniform(0, 25), s1, rng.uniform(22, 40)):
        street.lamp_post(draft.things, rng, draft.block_place(float(s), row), face(s, toward))
    if rng.random() < .25 + .65 * green:
        for s in np.arange(s0 + rng.uniform(2, 9), s1 - 1, rng.uniform(6, 14)):
            street.tree(draft.things, rng, draft.block_place(float(s), row + side * .4), 0.0)
    if rng.random() < .3:
        for s in np.arange(s0 + 1, min(s1 - 1, s0 + 40), rng.uniform(1.5, 2.5)):
            street.bollard(draft.things, rng, draft.block_place(float(s), row), 0.0)
    for _ in range(int(rng.poisson((s1 - s0) / 30))):
        s = float(rng.uniform(s0, s1))
        street.sign(draft.things, rng, draft.block_place(s, row),
                    face(s, float(rng.choice([0, np.pi]))))
    for _ in range(int(rng.poisson((s1 - s0) / 13))):
        s = float(rng.uniform(s0, s1))
        street.small_thing(draft.things, rng, draft.block_place(s, row + side * .2),
                           face(s, toward))
    if s1 - s0 > 25 and rng.random() < .35:
        s = float(rng.uniform(s0 + 8, s1 - 8))
        street.bus_stop(draft.things, rng, draft.block_place(s, edge + side * 1.8),
                        face(s, toward))
        _people(draft, s - 2.5, s + 2.5, edge + side * .6, edge + side * 1.6,
                int(rng.poisson(2.5)), standing=1.0)
    if rng.random() < .12:
        _line(draft, s0 + 2, min(s1 - 2, s0 + 40), row, "barrier", lift=KERB_HEIGHT)
    for s in (s0 + .6, s1 - .6):
        if plan.start < s < plan.end and rng.random() < .7:
            street.traffic_light(draft.things, rng, draft.block_place(s, row),
                                 face(s, float(rng.choice([0, np.pi]))))


def _median(draft: Draft, s0: float, s1: float, d: float) -> None:
    rng, kind = draft.rng, draft.rng.random()
    if kind < .3:
        for s in np.arange(s0 + 2, s1 - 2, 2.6):
            street.bush(draft.things, rng, draft.block_place(float(s), d), 0.0,
                        np.array([2.6, .8, .9]))
    elif kind < .55:
        _line(draft, s0 + 1, s1 - 1, d, "barrier", lift=KERB_HEIGHT)
    elif kind < .8:
        buildings.fence(draft.things, rng, draft.plan, s0, s1, d)
    else:
        _scatter(draft, s0, s1, d - .2, d + .2, int((s1 - s0) / 15), street.tree)


def _ordered(pair: tuple[float, float]) -> tuple[float, float]:
    """The smaller one first."""
    return min(pair), max(pair)


def _scatter(draft: Draft, s0: float, s1: float, d0: float, d1: float, count: int,
             thing: street.Thing) -> None:
    """Unannotated things at random places of a rectangle."""
    for _ in range(count):
        s, d = float(draft.rng.uniform(s0, s1)), float(draft.rng.uniform(*_ordered((d0, d1))))
        thing(draft.things, draft.rng, draft.block_place(s, d),
              float(draft.rng.uniform(-np.pi, np.pi)))


def _between(rng: np.random.Generator, start: float, end: float) -> float:
    return float(rng.uniform(min(start, end), max(start, end)))


def _people(draft: Draft, s0: float, s1: float, d0: float, d1: float, count: int,
            standing: float = .3) -> None:
    """People at random places of a rectangle."""
    rng = draft.rng
    for _ in range(count):
        walks = rng.random() > standing
        draft.add(draw_model(rng, "pedestrian", moving=walks),
                  Motion(float(rng.uniform(s0, s1)), float(rng.uniform(*_ordered((d0, d1)))),
                         float(rng.uniform(-np.pi, np.pi)),
                         Profile(float(np.clip(rng.normal(1.2, .3), .3, 2.5)) if walks else 0.0),
                         lift=KERB_HEIGHT), .05)
