from __future__ import annotations

import pytest
import torch
from aqr_scenes import make_scene
from golden import Golden

from aqr_perception.model.aqr import build_router
from aqr_perception.model.aqr.attention_bias import even_window, scaled, window_bias
from aqr_perception.model.aqr.config import AqrConfig, AttentionBiasConfig, GeneratorConfig
from aqr_perception.model.aqr.weight_map.cells import Cells

SMALL = GeneratorConfig(heads=2, feedforward=32)


def router(**changes):
    torch.manual_seed(0)
    config = AttentionBiasConfig(generator=SMALL, **changes)
    return build_router(16, 2, AqrConfig(mode="attention_bias", attention_bias=config))


def dense(window, tokens: int):
    matrix = window.bias.new_zeros(*window.index.shape[:2], tokens)
    return matrix.scatter_add(2, window.index, window.bias)


def test_even_windows_reach_further_right_and_down():
    assert even_window(5) == [-2, -1, 0, 1, 2]
    assert even_window(4) == [-1, 0, 1, 2]


def test_window_by_hand():
    cells = Cells(bev=torch.tensor([[[0, 1]]]), camera=torch.tensor([[[[1, 2, 0]]]]),
                  visible=torch.ones(1, 1, 1, dtype=torch.bool))
    config = AttentionBiasConfig(window=3, gaussian=True, gaussian_sigma=1.0)
    got = dense(window_bias(torch.tensor([[[2.0, -1.0]]]), cells, (2, 3), (3, 2), config), 6 + 12)
    near, far = torch.exp(torch.tensor(-0.5)), torch.exp(torch.tensor(-1.0))
    lidar = 2 * torch.tensor([[near, 1.0, near], [far, near, far]])
    second_camera = -torch.tensor([[0.0, 0.0], [near, far], [1.0, near]])
    expected = torch.cat([lidar.flatten(), torch.zeros(6), second_camera.flatten()])
    torch.testing.assert_close(got[0, 0], expected)


def test_starts_without_any_bias_but_learns():
    scene = make_scene()
    made = router()
    _, routing = made.route(0, scene.query_positions, scene.reference_points, made.start(scene))
    assert routing.window.bias.abs().max() < 1e-4
    (routing.window.bias * torch.rand_like(routing.window.bias)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in made.parameters())


def test_a_scale_outside_its_range_does_not_learn():
    weights = torch.full((1, 1, 2), 0.3)
    for scale, learns in ((2.0, True), (9.0, False), (0.1, False)):
        parameter = torch.tensor(scale, requires_grad=True)
        scaled(weights, parameter, AttentionBiasConfig()).sum().backward()
        assert (parameter.grad != 0) == learns


def test_modulation_takes_the_say_away_by_modality():
    scene = make_scene()
    scene.batch.modulation[0, 0], scene.batch.modulation[1, 1] = 0.0, 0.5
    made = router(reference=True)
    full = made.start(make_scene()).routing.window
    window = made.start(scene).routing.window
    lidar = window.index < 16 * 16
    torch.testing.assert_close(window.bias[0], full.bias[0].masked_fill(lidar[0], 0.0))
    torch.testing.assert_close(window.bias[1],
                               torch.where(lidar[1], full.bias[1], full.bias[1] / 2))


def test_the_published_variant_looks_at_the_corner_for_unseen_queries_and_ours_does_not():
    scene = make_scene()
    scene.reference_points[:, :, 2] = 400.0  # far above every picture
    for published in (True, False):
        window = router(reference=published).start(scene).routing.window
        cameras = (window.index >= 16 * 16) & window.real
        assert cameras.any() == published


@pytest.mark.parametrize("local", [True, False])
def test_report_states_what_the_tokens_get(local):
    scene = make_scene()
    made = router(local=local, reference=True)
    state = made.start(scene)
    if local:
        matrix = dense(state.routing.window, scene.memory.tokens.shape[1])
    else:
        matrix = state.routing.query_bias[:, :, scene.memory.token_sensor]
    factor = matrix.exp().mean(1)
    change = (factor - 1).abs()[..., None] * scene.memory.tokens.abs()
    report = made.finish(state).report
    cells = 16 * 16
    for modality, part in enumerate((slice(0, cells), slice(cells, None))):
        whole = scene.memory.tokens[:, part].abs().sum((1, 2))
        torch.testing.assert_close(report.relative_change[:, modality],
                                   change[:, part].sum((1, 2)) / whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_agrees_with_the_published_code(shared_reference, dtype):
    golden = Golden.read(shared_reference, "aqr_attention_bias")
    made = golden.about["constructor"]
    bev, (views, *image) = (made["common"][f"{name}_feature_shape"] for name in ("bev", "pers"))
    tokens = bev[0] * bev[1] + views * image[0] * image[1]
    weights = torch.stack([golden(f"{name}_weights", dtype) for name in ("lidar", "camera")], -1)
    cell = golden("pts_idx", dtype).long()
    place = golden("pts_pers", dtype).long()
    cells = Cells(torch.stack([cell // bev[1], cell % bev[1]], -1), place[:, None],
                  torch.ones_like(place[:, None, :, 0], dtype=torch.bool))
    lidar = torch.arange(tokens) < bev[0] * bev[1]
    for name, settings in {**made["projects"], **made["bias"]}.items():
        config = AttentionBiasConfig(
            window=settings["window_size"], scale=settings.get("bias_scale", 2.5),
            learnable_scale=settings.get("learnable_scale", not name.startswith("bias_")),
            max_scale=settings.get("max_scale", 5.0), local=settings.get("use_local_bias", True),
            gaussian=settings.get("use_gaussian_window", False),
            gaussian_sigma=settings.get("gaussian_sigma", 2.5))
        bias = scaled(weights, torch.tensor(config.scale, dtype=dtype), config)
        if config.local:
            got = dense(window_bias(bias, cells, tuple(bev), tuple(image), config), tokens)
        else:
            got = torch.where(lidar, bias[..., :1], bias[..., 1:])
        golden.check(name, got)
