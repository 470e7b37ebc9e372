"""A drawn world: the streets, what stands on them, who moves, and the way of the car."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry import rigid
from aqr_perception.simulation import buildings, frontage, traffic
from aqr_perception.simulation.draft import Actor, Draft
from aqr_perception.simulation.ground import (
    Ground,
    SurfacePainter,
    finish,
    ground_mesh,
    paint_roads,
)
from aqr_perception.simulation.mesh import Mesh
from aqr_perception.simulation.motion import Motion, Profile, box_pose, car_pose
from aqr_perception.simulation.roadmap import RoadMap, draw_roadmap
from aqr_perception.simulation.roadworks import roadworks
from aqr_perception.simulation.weather import Weather, draw_weather

EGO_SIZE = np.array([4.08, 1.73, 1.56])
EGO_MIDDLE = 1.37
"""From the rear axle to the middle of the car that carries the sensors [m]."""


@dataclass(frozen=True)
class World:
    """Everything there is.

    Attributes:
        plan: The streets.
        ground: What covers them.
        scenery: Triangles that are no annotated object; the ground's come first.
        actors: Annotated objects.
        ego: Way of the sensors' car.
        weather: Light and air.
    """

    plan: RoadMap
    ground: Ground
    scenery: Mesh
    actors: tuple[Actor, ...]
    ego: Motion
    weather: Weather

    def world_from_ego(self, t: float) -> rigid.Matrix:
        """Pose of the car at time t [s]."""
        return car_pose(self.ego, self.plan, t)

    def world_from_actor(self, actor: Actor, t: float
                         ) -> tuple[rigid.Matrix, NDArray[np.float64]]:
        """Pose of an actor's box centre, and its velocity (2,), in the world."""
        return box_pose(actor.motion, self.plan, float(actor.model.size[2]), t)


def draw_world(rng: np.random.Generator, duration: float) -> World:
    """A world for a drive of ``duration`` seconds."""
    profile = traffic.draw_profile(rng)
    length = max(20.0, profile.at(duration)[0])
    plan = draw_roadmap(rng, length)
    weather = draw_weather(rng)
    painter = SurfacePainter.blank(plan)
    paint_roads(painter, rng)
    draft = Draft(plan, rng, painter, np.linspace(-.1, duration + .1, 12))
    ahead = [lane for lane in plan.lanes if lane.direction > 0]
    own = ahead[int(rng.integers(len(ahead)))]
    ego = Motion(0.0, own.center + float(rng.normal(0, .15)), 0.0, profile,
                 float(rng.normal(0, .01)))
    draft.occupy(Motion(EGO_MIDDLE, ego.d, 0.0, profile), EGO_SIZE, 1.0)
    _fill(draft, own.center, profile, length)
    mesh = Mesh.joined([ground_mesh(plan, rng), draft.things.build()])
    return World(plan, finish(painter, rng, weather.wetness), mesh, tuple(draft.actors), ego,
                 weather)


def _fill(draft: Draft, own: float, profile: Profile, length: float) -> None:
    """Everything on and beside the road."""
    rng, plan = draft.rng, draft.plan
    closed = _works(draft, own, length) if rng.random() < .55 else None
    stands = profile.speed < .1 and not profile.final
    oncoming = profile if stands and rng.random() < .6 else traffic.draw_profile(rng)
    busy = float(rng.uniform(.05, .55))
    for lane in plan.lanes:
        if lane.direction == 0:
            traffic.park(draft, lane, float(rng.uniform(.05, .6)))
        elif lane.center != closed:
            speed = profile if lane.direction > 0 else oncoming
            traffic.fill_lane(draft, lane, speed, busy * float(rng.uniform(.5, 1.2)))
    people = float(rng.gamma(2.0, .95))
    traffic.fill_crossings(draft, stands and oncoming.speed < .1)
    traffic.people_crossing(draft, people * .4)
    traffic.people_on_pavements(draft, people * .55)
    traffic.line_side_streets(draft, people, float(rng.uniform(0, .6)))
    frontage.line_streets(draft, green=float(rng.random()), town=float(rng.random()))
    frontage.skyline(draft)
    if rng.random() < .08:
        buildings.bridge(draft.things, rng, plan, float(rng.uniform(-40, length + 60)))


def _works(draft: Draft, own: float, length: float) -> float | None:
    """Roadworks on an outer lane or beside one; returns the middle of the lane they close."""
    rng, plan = draft.rng, draft.plan
    into = 1 if rng.random() < .5 else -1
    lane = plan.lanes[-1 if into > 0 else 0]
    line = lane.center - into * lane.width / 2
    s = float(rng.uniform(-85, length + 60))
    if lane.center == own:  # beside the road then
        roadworks(draft, s, lane.center + into * (lane.width / 2 + .6),
                           float(rng.uniform(10, 50)), into, plan.pavement)
        return None
    roadworks(draft, s, line + into * .2, float(rng.uniform(12, 60)), into, lane.width)
    return lane.center
