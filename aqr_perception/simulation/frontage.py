"""What lines the streets: plots, clutter at the kerb, and the skyline."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aqr_perception.simulation import buildings, palette, street
from aqr_perception.simulation.draft import Draft
from aqr_perception.simulation.materials import Material
from aqr_perception.simulation.mesh import at
from aqr_perception.simulation.placing import line, people, scatter
from aqr_perception.simulation.plots import (
    backdrop,
    car_park,
    houses,
    park,
    plaza,
    site,
    yard,
)
from aqr_perception.simulation.roadmap import KERB_HEIGHT

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
        (houses, .15 + .55 * town), (park, .12 + .35 * green), (car_park, .20), (site, .14),
        (plaza, .08 + .08 * town), (yard, .15))
    weights = np.array([weight for _, weight in plots])
    for s0, s1, d0, d1 in plan.blocks():
        edge, side = (d0, 1) if d0 > 0 else (d1, -1)
        s = s0 + plan.pavement
        while s < s1 - plan.pavement - 6:
            length = min(float(rng.uniform(12, 45)), s1 - plan.pavement - s)
            plot = plots[int(rng.choice(len(plots), p=weights / weights.sum()))][0]
            setback = plan.pavement + float(rng.choice([.3, rng.uniform(0, 3), rng.uniform(3, 10)]))
            if plot in (car_park, site) and rng.random() < .5:
                setback += float(rng.uniform(5, 25))
            plot(draft, s, s + length, edge + side * setback, side)
            backdrop(draft, s, s + length, side, town)
            s += length + float(rng.choice([0.0, rng.uniform(0, 4)]))
        _pavement_clutter(draft, s0, s1, edge, side, green)
    for s0, s1, d0, d1 in plan.median_strips():
        _median(draft, s0, s1, (d0 + d1) / 2)


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
        people(draft, s - 2.5, s + 2.5, edge + side * .6, edge + side * 1.6,
                int(rng.poisson(2.5)), standing=1.0)
    if rng.random() < .12:
        line(draft, s0 + 2, min(s1 - 2, s0 + 40), row, "barrier", lift=KERB_HEIGHT)
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
        line(draft, s0 + 1, s1 - 1, d, "barrier", lift=KERB_HEIGHT)
    elif kind < .8:
        buildings.fence(draft.things, rng, draft.plan, s0, s1, d)
    else:
        scatter(draft, s0, s1, d - .2, d + .2, int((s1 - s0) / 15), street.tree)


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
