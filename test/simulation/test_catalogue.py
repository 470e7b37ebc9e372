from __future__ import annotations

import numpy as np
import pytest

from aqr_perception.simulation.catalogue import draw_model, draw_size
from aqr_perception.simulation.materials import Material
from aqr_perception.types import CLASS_NAMES

SLIM = ("pedestrian",)  # a body need not reach the sides of its box


@pytest.mark.parametrize("name", CLASS_NAMES)
@pytest.mark.parametrize("moving", [False, True])
def test_a_mesh_fills_its_box_and_stays_inside(name: str, moving: bool):
    for seed in range(6):
        model = draw_model(np.random.default_rng(seed), name, moving)
        low, high = model.mesh.bounds()
        assert model.label == CLASS_NAMES.index(name)
        assert np.abs(low + high).max() < 1e-4
        assert (high - low <= model.size + 1e-4).all()
        assert np.isfinite(model.mesh.triangles).all()
        if name not in SLIM:
            assert high - low == pytest.approx(model.size, abs=1e-4)
        else:
            assert high[2] - low[2] == pytest.approx(model.size[2], abs=1e-4)


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_sizes_are_around_those_of_nuscenes(name: str):
    means = {"car": (4.63, 1.97, 1.74), "truck": (6.93, 2.51, 2.84), "bus": (10.5, 2.94, 3.47),
             "trailer": (12.29, 2.90, 3.87), "construction_vehicle": (6.37, 2.85, 3.19),
             "pedestrian": (.73, .67, 1.77), "motorcycle": (2.11, .77, 1.47),
             "bicycle": (1.70, .60, 1.28), "traffic_cone": (.41, .41, 1.07),
             "barrier": (.50, 2.53, .98)}
    rng = np.random.default_rng(0)
    sizes = np.stack([draw_size(rng, name) for _ in range(200)])
    assert sizes.mean(0) == pytest.approx(means[name], rel=.14)
    assert (sizes > 0).all()
    assert (sizes.std(0) > .02).all()


def test_shapes_can_be_told_apart():
    rng = np.random.default_rng(0)
    car = draw_model(rng, "car").mesh
    assert {Material.PAINT, Material.GLASS, Material.RUBBER, Material.RETRO} <= set(
        car.material.tolist())
    # The cabin is narrower than the body and does not reach the front.
    roof = car.triangles[(car.triangles[..., 2] > .9 * car.bounds()[1][2]).all(1)].reshape(-1, 3)
    assert roof[:, 0].max() < .35 * (car.bounds()[1][0] - car.bounds()[0][0])
    rider = draw_model(np.random.default_rng(1), "bicycle", moving=True)
    bare = [draw_model(np.random.default_rng(k), "bicycle") for k in range(30)]
    assert Material.CLOTH in rider.mesh.material
    assert min(model.size[2] for model in bare) < rider.size[2]
    assert any(Material.CLOTH not in model.mesh.material for model in bare)
    cone = draw_model(rng, "traffic_cone").mesh
    top = cone.triangles[(cone.triangles[..., 2] > .4 * cone.bounds()[1][2]).all(1)]
    assert np.ptp(top[..., 0]) < .5 * np.ptp(cone.triangles[..., 0])
