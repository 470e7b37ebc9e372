from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from aqr_scenes import make_scene

from aqr_perception.model.aqr import build_router
from aqr_perception.model.aqr.config import (
    AqrConfig,
    GeneratorConfig,
    ModulatorConfig,
    RendererConfig,
    WeightMapConfig,
)
from aqr_perception.model.aqr.weight_map.router import bounded

BEV = 16 * 16
CAR, PEDESTRIAN = 0, 8


def router(reference: bool = False, **modulator):
    torch.manual_seed(0)
    clamp = 2.5
    config = WeightMapConfig(GeneratorConfig(heads=2, feedforward=32),
                             RendererConfig(max_weight_clamp=clamp),
                             ModulatorConfig(**{"residual_weight": 0.6, **modulator}), reference)
    made = build_router(16, 2, AqrConfig(mode="weight_map", weight_map=config)).eval()
    with torch.no_grad():
        made.generator.predictor.bias.copy_(torch.tensor([0.7, -0.9]))
    return made


def factors(made, scene, predicted=None):
    """Factor on each token in the first and in the second layer."""
    if predicted is not None:
        scene = replace(scene, predict=lambda layer, target: predicted)
    state = made.start(scene)
    target = torch.zeros_like(scene.query_positions)
    changed = [made.route(layer, target, scene.reference_points, state)[0].tokens
               for layer in range(2)]
    sound = scene.memory.tokens.abs() > 1e-3
    ratio = torch.where(sound, torch.stack(changed) / scene.memory.tokens, torch.nan)
    return ratio.nanmedian(-1).values


def answers(label: int, length: float):
    logits = torch.full((2, 12, 10), -5.0)
    logits[..., label] = 3.0
    boxes = torch.zeros(2, 12, 10)
    boxes[..., 2:4] = torch.tensor([length, 0.5]).log()
    return logits, boxes


def test_bounds_and_neutral_point():
    raw = torch.tensor([-50.0, 0.0, 50.0])
    torch.testing.assert_close(bounded(raw, 2.5), torch.tensor([0.0, 1.0, 2.5]))


def test_no_factor_passes_the_theoretical_maximum_or_falls_below_the_residual():
    made = router()
    with torch.no_grad():
        made.generator.predictor.bias.copy_(torch.tensor([50.0, -50.0]))
    factor = factors(made, make_scene(queries=300))[0]
    assert factor[:, :BEV].nan_to_num(0).max() <= 1.6 + 1e-5
    assert factor[:, :BEV].nan_to_num(0).max() > 1.5
    assert factor[:, BEV:].nan_to_num(2).min() >= 0.6 - 1e-5
    assert factor[:, BEV:].nan_to_num(2).min() < 0.7


@pytest.mark.parametrize(("switch", "kept"), [("lidar", slice(0, BEV)),
                                              ("camera", slice(BEV, None))])
def test_a_modality_can_be_left_alone(switch, kept):
    scene = make_scene()
    made = router(**{switch: False})
    changed, _ = made.route(0, scene.query_positions, scene.reference_points, made.start(scene))
    assert torch.equal(changed.tokens[:, kept], scene.memory.tokens[:, kept])
    assert not torch.equal(changed.tokens, scene.memory.tokens)


def test_the_class_of_the_layer_before_decides_how_much_stays():
    scene = make_scene()
    made = router(class_residual_weight={"pedestrian": 0.9})
    car, pedestrian = (factors(made, scene, answers(label, 4.0)) - 1 for label in
                       (CAR, PEDESTRIAN))
    torch.testing.assert_close(car[0], pedestrian[0], equal_nan=True)  # nothing predicted yet
    torch.testing.assert_close(car[1], car[0], equal_nan=True)
    known = ~car[1].isnan()
    share = pedestrian[1][known].abs().sum() / car[1][known].abs().sum()
    assert 0.25 < share < 0.45  # 0.1 / 0.4, more where no query is near and 0.6 stays


def test_small_objects_have_half_the_say():
    scene = make_scene()
    made = router(size_adaptive=True)
    large, small = (factors(made, scene, answers(CAR, length)) - 1 for length in (2.1, 1.9))
    torch.testing.assert_close(small[1] * 2, large[1], rtol=1e-3, atol=1e-5, equal_nan=True)
    torch.testing.assert_close(small[0], large[0], equal_nan=True)


def test_denoising_queries_are_rendered_only_as_published():
    plain, noisy = make_scene(), make_scene(denoising=0)
    extra = torch.rand(2, 5, 3, generator=torch.Generator().manual_seed(1))
    noisy = replace(noisy, denoising=5,
                    reference_points=torch.cat([extra, noisy.reference_points], 1),
                    query_positions=torch.cat([torch.randn(2, 5, 16), noisy.query_positions], 1))
    torch.testing.assert_close(factors(router(), noisy), factors(router(), plain), equal_nan=True)
    leaked = factors(router(True), noisy) - factors(router(True), plain)
    assert leaked.abs().nan_to_num().max() > 0.01


def test_no_gradient_passes_through_the_published_maps():
    scene = make_scene()
    for reference in (False, True):
        made = router(reference)
        changed, _ = made.route(0, scene.query_positions, scene.reference_points,
                                made.start(scene))
        assert changed.tokens.requires_grad != reference


def test_published_gain_is_the_map_plus_the_residual():
    made = router(True)
    scene = make_scene()
    state = made.start(scene)
    far = state.factor.min()
    assert far == pytest.approx(0.6)  # where no query is: the feature shrinks
    assert state.factor.max() > 0.61


def test_refined_queries_are_rendered_where_they_are():
    made, scene = router(), make_scene()
    there = scene.reference_points.flip(0)
    state = made.start(scene)
    target = torch.zeros_like(scene.query_positions)
    made.route(0, target, scene.reference_points, state)
    before = state.factor
    made.route(1, target, there, state)
    assert (state.factor - before).abs().max() > 0.01
