"""What moves and what is parked: vehicles in lanes, people on pavements and crossings."""

from __future__ import annotations

import numpy as np

from aqr_perception.simulation.catalogue import draw_model, tractor_model
from aqr_perception.simulation.draft import Draft
from aqr_perception.simulation.motion import Motion, Profile
from aqr_perception.simulation.roadmap import KERB_HEIGHT, Lane

_LANE_KINDS = (("car", .52), ("truck", .10), ("bus", .10), ("trailer", .11), ("motorcycle", .07),
               ("bicycle", .07), ("construction_vehicle", .03))
_PARKED_KINDS = (("car", .76), ("truck", .09), ("motorcycle", .04), ("bicycle", .02),
                 ("trailer", .04), ("bus", .03), ("construction_vehicle", .02))


def draw_kind(rng: np.random.Generator, kinds: tuple[tuple[str, float], ...]) -> str:
    """A class name by weight."""
    weights = np.array([weight for _, weight in kinds])
    return kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))][0]


def draw_profile(rng: np.random.Generator) -> Profile:
    """Speed of a stream of traffic: standing, cruising, braking to a stop, or starting."""
    kind, speed = rng.random(), float(rng.uniform(3, 14))
    if kind < .12:
        return Profile(0.0)
    if kind < .75:
        return Profile(speed)
    if kind < .9:
        return Profile(speed, float(rng.uniform(.6, 2.0)), float(rng.uniform(0, .5) * speed))
    return Profile(0.0, float(rng.uniform(.8, 2.0)), speed)


def fill_lane(draft: Draft, lane: Lane, profile: Profile, density: float) -> None:
    """Vehicles of one lane: all at one speed, so that none runs into another."""
    rng, plan = draft.rng, draft.plan
    mean_gap = (4 if profile.speed < 1 else 8 + 1.8 * profile.speed) / max(density, .05)
    s = plan.start + float(rng.uniform(0, 30))
    travel = 30.0
    while s < plan.end + travel:
        name = draw_kind(rng, _LANE_KINDS)
        model = draw_model(rng, name, moving=True)
        d = lane.center + float(rng.normal(0, .18))
        if name == "bicycle" and rng.random() < .7:
            d = lane.center - lane.direction * (.5 * lane.width - .6)
        motion = Motion(s + model.size[0] / 2, d, 0.0 if lane.direction > 0 else np.pi, profile,
                        float(rng.normal(0, .012)))
        stuck = plan.crossing_at(motion.s, 2.0) is not None and not motion.moves
        if not stuck and draft.add(model, motion, .1) and name == "trailer":
            _pull(draft, motion, lane)
            s += 8
        s += model.size[0] + 1.0 + float(rng.exponential(mean_gap)) + (
            1.0 if profile.speed < 1 else .5 * profile.speed)


def fill_crossings(draft: Draft, main_stands: bool) -> None:
    """Vehicles on the roads across: waiting, or driving while the main road stands."""
    rng, plan = draft.rng, draft.plan
    for road in plan.crossings:
        go = main_stands and rng.random() < .7
        through = road.left and road.right
        for side, there in ((1, road.left), (-1, road.right)):
            if not there:
                continue
            edge = plan.left if side > 0 else plan.right
            for incoming in (True, False):
                course = -side * np.pi / 2 if incoming else side * np.pi / 2
                keep = 1 if plan.left_hand else -1  # left of one's course, or right of it
                s = road.center - np.sin(course) * keep * road.half_width / 2
                profile = Profile(float(rng.uniform(3, 9))) if (go and through) or (
                    not incoming and rng.random() < .3) else Profile(0.0)
                if not incoming and not profile.speed and rng.random() < .6:
                    continue
                d = edge + side * float(rng.uniform(4, 8))
                for _ in range(int(rng.integers(0, 6))):
                    name = draw_kind(rng, _LANE_KINDS[:-1])
                    model = draw_model(rng, name if name != "trailer" else "truck", moving=True)
                    d += side * (model.size[0] / 2 + float(rng.uniform(1, 8)))
                    if abs(d) > plan.reach - 8:
                        break
                    draft.add(model, Motion(s, d, course, profile, float(rng.normal(0, .02))), .1)
                    d += side * model.size[0] / 2


def park(draft: Draft, lane: Lane, fullness: float) -> None:
    """Parked vehicles along a kerb."""
    rng, plan = draft.rng, draft.plan
    s = plan.start + float(rng.uniform(0, 8))
    while s < plan.end:
        name = draw_kind(rng, _PARKED_KINDS)
        model = draw_model(rng, name)
        s += model.size[0] / 2 + float(rng.uniform(.6, 1.6))
        with_traffic = (lane.center < 0) != plan.left_hand
        motion = Motion(s, lane.center + float(rng.normal(0, .12)),
                        0.0 if with_traffic else np.pi, turn=float(rng.normal(0, .025)))
        if rng.random() < fullness and plan.crossing_at(s, 6 + model.size[0] / 2) is None:
            draft.add(model, motion, .05)
        s += model.size[0] / 2
        if rng.random() < .1:
            s += float(rng.uniform(6, 30))


def people_on_pavements(draft: Draft, density: float) -> None:
    """Walkers alone and in groups, people who stand, and a few on cycles."""
    rng, plan = draft.rng, draft.plan
    for s0, s1, d0, d1 in plan.blocks():
        edge, side = (d0, 1) if d0 > 0 else (d1, -1)
        count = rng.poisson(density * (s1 - s0) / 26)
        for _ in range(int(count)):
            s = float(rng.uniform(s0 + 1, s1 - 1))
            d = edge + side * float(rng.uniform(.9, max(1.3, plan.pavement - .4)))
            walk = rng.random() < .72
            course = 0.0 if rng.random() < .5 else np.pi
            speed = float(rng.normal(1.25, .25)) if walk else 0.0
            for _ in range(1 + int(rng.geometric(.65)) if rng.random() < .4 else 1):
                model = draw_model(rng, "pedestrian", moving=walk)
                turn = float(rng.normal(0, .1)) if walk else float(rng.uniform(-np.pi, np.pi))
                draft.add(model, Motion(s, d, course, Profile(max(speed, 0.0)), turn, KERB_HEIGHT),
                          .05)
                s += float(rng.normal(0, .9))
                d += float(rng.normal(0, .45))
        if rng.random() < .25:
            model = draw_model(rng, "bicycle" if rng.random() < .6 else "motorcycle", moving=True)
            draft.add(model, Motion(float(rng.uniform(s0, s1)), edge + side * 1.2,
                                    0.0 if rng.random() < .5 else np.pi,
                                    Profile(float(rng.uniform(2, 5))), 0.0, KERB_HEIGHT), .1)


def people_crossing(draft: Draft, density: float) -> None:
    """People who cross the main road at crossings, or wherever it is free."""
    rng, plan = draft.rng, draft.plan
    places = [road.center + sign * (road.half_width + 1.5) for road in plan.crossings
              for sign in (-1, 1)]
    places += list(rng.uniform(plan.start + 60, plan.end - 60, 2))
    for place in places:
        for _ in range(int(rng.poisson(2.2 * density))):
            up = rng.random() < .5
            s, d = place + float(rng.normal(0, .8)), float(rng.uniform(plan.right, plan.left))
            draft.add(draw_model(rng, "pedestrian", moving=True),
                      Motion(s, d, np.pi / 2 if up else -np.pi / 2,
                             Profile(float(np.clip(rng.normal(1.3, .25), .5, 2.2)))), .15)


def line_side_streets(draft: Draft, people: float, fullness: float) -> None:
    """People on the pavements of the roads across, and vehicles parked at their kerbs."""
    rng, plan = draft.rng, draft.plan
    for road in plan.crossings:
        for side, there in ((1, road.left), (-1, road.right)):
            if not there:
                continue
            edge = plan.left if side > 0 else plan.right
            for kerb in (-1, 1):
                for _ in range(int(rng.poisson(people * 4))):
                    s = road.center + kerb * (road.half_width + float(rng.uniform(.6, 2.5)))
                    walk = float(np.clip(rng.normal(1.25, .25), .4, 2)) * (rng.random() < .7)
                    draft.add(draw_model(rng, "pedestrian", moving=walk > 0),
                              Motion(s, edge + side * float(rng.uniform(4, 65)),
                                     float(rng.choice([np.pi / 2, -np.pi / 2])), Profile(walk),
                                     float(rng.normal(0, .1)), KERB_HEIGHT), .05)
                if road.half_width < 4.5:
                    continue
                for d in np.arange(12, 70, 7.0):
                    model = draw_model(rng, draw_kind(rng, _PARKED_KINDS))
                    s = road.center + kerb * (road.half_width - 1.2)
                    if model.size[0] < 6.4 and rng.random() < fullness:
                        draft.add(model, Motion(s, edge + side * float(d), kerb * np.pi / 2,
                                                turn=float(rng.normal(0, .03))), .05)


def _pull(draft: Draft, motion: Motion, lane: Lane) -> None:
    """Put a tractor before a trailer that has been placed."""
    model = draft.actors[-1].model
    tractor = tractor_model(draft.rng, model)
    ahead = model.size[0] / 2 + tractor.size[0] / 2 - 1.6
    stretch = float(draft.plan.frame.stretch(motion.d))
    draft.add_joined(tractor, Motion(motion.s + lane.direction * ahead / stretch, motion.d,
                                     motion.course, motion.profile, motion.turn))
