from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import flat_plan

from aqr_perception.simulation.roadmap import RoadFrame, Terrain, draw_roadmap

CURVATURES = [0.0, 1 / 200, -1 / 160]


@given(st.floats(-110, 250), st.floats(-90, 90), st.sampled_from(CURVATURES))
def test_there_and_back(s: float, d: float, curvature: float):
    frame = RoadFrame(curvature)
    back = frame.road(*frame.world([s, d]))
    assert np.allclose(back, (s, d), atol=1e-6)


def test_an_arc_is_a_circle():
    frame = RoadFrame(1 / 50)
    s = np.linspace(0, 80, 30)
    points = frame.world(np.stack([s, np.full(30, 10.0)], 1))
    assert np.allclose(np.linalg.norm(points - [0, 50], axis=1), 40)
    assert frame.world([0.0, 10.0]) == pytest.approx([0, 10])
    assert float(frame.heading(50 * np.pi / 2)) == pytest.approx(np.pi / 2)
    assert float(frame.stretch(10.0)) == pytest.approx(.8)


@pytest.mark.parametrize("curvature", CURVATURES)
def test_a_place_is_on_the_ground(curvature: float):
    rng = np.random.default_rng(0)
    plan = flat_plan(curvature)
    hilly = Terrain.drawn(rng)
    from dataclasses import replace
    plan = replace(plan, terrain=hilly)
    for s, d in rng.uniform(-80, 80, (10, 2)):
        place = plan.place(s, d, .2)
        xy = plan.frame.world([s, d])
        assert np.allclose(place, [*xy, float(hilly.height(xy)) + .2], atol=1e-9)


def test_slope_is_the_gradient_of_height():
    terrain, h = Terrain.drawn(np.random.default_rng(1)), 1e-4
    for x, y in ((3.0, 7.0), (-40.0, 12.0)):
        slope = [(float(terrain.height([x + h, y])) - float(terrain.height([x - h, y]))) / (2 * h),
                 (float(terrain.height([x, y + h])) - float(terrain.height([x, y - h]))) / (2 * h)]
        assert np.allclose(terrain.slope([x, y]), slope, atol=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_a_drawn_map_is_consistent(seed: int):
    plan = draw_roadmap(np.random.default_rng(seed), 60.0)
    edges = [(lane.center - lane.width / 2, lane.center + lane.width / 2) for lane in plan.lanes]
    assert edges[0][0] == pytest.approx(plan.right)
    assert edges[-1][1] == pytest.approx(plan.left)
    assert all(b[0] - a[1] > -1e-9 for a, b in pairwise(edges))
    assert any(lane.direction > 0 for lane in plan.lanes)
    ways = [lane.direction for lane in plan.lanes if lane.direction]
    assert ways == sorted(ways, reverse=not plan.left_hand)
    for s0, s1, d0, d1 in plan.blocks():
        assert s1 > s0
        assert d0 >= plan.left or d1 <= plan.right
        for road in plan.crossings:  # a block does not reach into a road on its side
            if road.left if d0 > 0 else road.right:
                assert s1 <= road.center - road.half_width + 1e-9 or (
                    s0 >= road.center + road.half_width - 1e-9)
