from __future__ import annotations

import numpy as np
import pytest

from aqr_perception.geometry.boxes import Boxes3D, points_in_boxes
from aqr_perception.simulation.world import EGO_MIDDLE, EGO_SIZE, draw_world
from aqr_perception.types import CLASS_NAMES

LONG_ENOUGH = 6.0


@pytest.mark.parametrize("seed", range(4))
def test_nobody_drives_into_the_car_or_sinks_into_the_ground(seed: int):
    world = draw_world(np.random.default_rng(seed), LONG_ENOUGH)
    assert len(world.actors) > 20
    assert [actor.track_id for actor in world.actors] == list(range(len(world.actors)))
    for t in np.linspace(0, LONG_ENOUGH, 7):
        foot, yaw, _ = world.ego.at(world.plan, float(t))
        forward = np.array([np.cos(yaw), np.sin(yaw), 0.0])
        center = foot + EGO_MIDDLE * forward
        center[2] += EGO_SIZE[2] / 2
        own = Boxes3D(center[None], EGO_SIZE[None], np.array([yaw]), np.zeros((1, 2)))
        poses = [world.world_from_actor(actor, float(t))[0] for actor in world.actors]
        centers = np.stack([pose[:3, 3] for pose in poses])
        assert not points_in_boxes(centers, own, .5).any()
        ground = world.plan.terrain.height(centers[:, :2])
        heights = np.array([actor.model.size[2] for actor in world.actors])
        lift = centers[:, 2] - heights / 2 - ground
        assert lift == pytest.approx(np.round(lift / .15) * .15, abs=1e-6)  # road or pavement


def test_all_ten_classes_occur():
    found = {CLASS_NAMES[actor.model.label] for seed in range(5)
             for actor in draw_world(np.random.default_rng(seed), 2.0).actors}
    assert found == set(CLASS_NAMES)


def test_scenery_starts_with_the_ground():
    world = draw_world(np.random.default_rng(0), 2.0)
    mesh = world.scenery
    ground = mesh.triangles[:100]
    assert (mesh.material[:100] == 0).all()
    height = world.plan.terrain.height(ground[..., :2].astype(np.float64))
    assert np.abs(ground[..., 2] - height).max() < 1e-4
