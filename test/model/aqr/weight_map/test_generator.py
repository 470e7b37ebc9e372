from __future__ import annotations

import numpy as np
import pytest
import torch
from aqr_scenes import golden_scene, make_scene
from golden import Golden

from aqr_perception.model.aqr.config import GeneratorConfig
from aqr_perception.model.aqr.published import generator_state
from aqr_perception.model.aqr.weight_map.cells import odd_window, published_cells, window_tokens
from aqr_perception.model.aqr.weight_map.generator import WindowGenerator, build_generator

KINDS = [GeneratorConfig(kind, layers, heads=2, feedforward=32)
         for kind in ("local_window", "global", "mlp") for layers in (1, 2)]


@pytest.mark.parametrize("config", KINDS, ids=lambda c: f"{c.kind}-{c.layers}")
def test_starts_neutral_and_still_learns_in_every_part(config):
    torch.manual_seed(0)
    generator = build_generator(16, config)
    weights = generator(make_scene(), 0)
    assert weights.shape == (2, 12, 2)
    assert weights.abs().max() < 1e-4
    weights.sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in generator.parameters())


@pytest.mark.parametrize("config", KINDS, ids=lambda c: f"{c.kind}-{c.layers}")
def test_a_query_depends_on_its_own_frame_only(config):
    torch.manual_seed(0)
    generator = build_generator(16, config)
    torch.nn.init.normal_(generator.predictor.weight)
    both = generator(make_scene(denoising=3), 3)
    other = make_scene(denoising=3, seed=1)
    mixed = make_scene(denoising=3)
    mixed.memory.tokens[1] = other.memory.tokens[1]
    again = generator(mixed, 3)
    torch.testing.assert_close(again[0], both[0])
    assert (again[1] - both[1]).abs().max() > 1e-3


def test_window_attention_equals_a_dense_mask():
    torch.manual_seed(0)
    scene = make_scene()
    generator = WindowGenerator(16, GeneratorConfig(heads=2, feedforward=32))
    attention = generator.layers[0].attention
    query = scene.query_positions
    key, value = scene.memory.tokens + scene.memory.positions, scene.memory.tokens
    tokens = value.shape[1]
    cells = published_cells(scene.reference_points, scene.batch.image_from_lidar,
                            scene.detection_range, scene.image_size, (16, 16), (4, 10))
    index, real = window_tokens(cells, odd_window(5), odd_window(8), (16, 16), (4, 10))
    got = attention(query, key, value, (index, real))

    blocked = torch.ones(2, 12, tokens + 1, dtype=torch.bool)
    blocked.scatter_(2, torch.where(real, index, tokens), False)
    dense = torch.nn.MultiheadAttention(16, 2, batch_first=True)
    dense.load_state_dict({
        "in_proj_weight": attention.in_proj.weight, "in_proj_bias": attention.in_proj.bias,
        "out_proj.weight": attention.out_proj.weight, "out_proj.bias": attention.out_proj.bias})
    expected, _ = dense(query, key, value,
                        attn_mask=blocked[..., :tokens].repeat_interleave(2, dim=0))
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


def test_absent_sensors_are_not_looked_at():
    torch.manual_seed(0)
    present = torch.tensor([[True, False, True, True, True], [False, True, True, True, True]])
    for config in (KINDS[0], KINDS[4]):
        generator = build_generator(16, config)
        torch.nn.init.normal_(generator.predictor.weight)
        scene = make_scene(present=present)
        expected = generator(scene, 0)
        sensor = scene.memory.token_sensor
        scene.memory.tokens[0, sensor == 1] = 1e3
        scene.memory.tokens[1, sensor == 0] = -1e3
        torch.testing.assert_close(generator(scene, 0), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("name", "kind"), [("aqr_generator_flash", "global"),
                                            ("aqr_generator_mha", "local_window")])
def test_agrees_with_the_published_generator(shared_reference, name, kind, dtype):
    golden = Golden.read(shared_reference, name)
    made = golden.about["constructor"]
    layer = made["encoder_config"]["transformerlayers"]
    config = GeneratorConfig(
        kind, made["encoder_config"]["num_layers"], layer["attn_cfgs"][0]["num_heads"],
        layer["feedforward_channels"], made["window_sizes"][1], made["window_sizes"][0])
    generator = WindowGenerator(made["embed_dims"], config).to(dtype)
    generator.load_state_dict(generator_state(golden.params("", dtype)))
    scene = golden_scene(
        golden, golden("ref", dtype), golden("query_embed", dtype).transpose(0, 1),
        golden("memory", dtype).transpose(0, 1), golden("pos_embed", dtype).transpose(0, 1),
        tuple(made["bev_feature_shape"]), made["pers_feature_shape"], tuple(made["pc_range"]))
    lidar, camera = generator(scene, 0, published=True).tanh().unbind(-1)
    golden.check("lidar_weights", lidar)
    golden.check("camera_weights", camera)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_published_cells_and_windows_agree(shared_reference, dtype):
    golden = Golden.read(shared_reference, "aqr_projection_masks")
    config = golden.about["config"]
    bev_shape, (views, *image_shape) = config["bev_feature_shape"], config["pers_feature_shape"]
    cells = published_cells(golden("ref", dtype), golden("lidar2img", dtype),
                            tuple(config["pc_range"]), tuple(config["img_hw"]), tuple(bev_shape),
                            tuple(image_shape))
    golden.check("pts_bev", cells.bev)
    golden.check("pts_pers", cells.camera[:, 0])
    camera_side, lidar_side = config["window_sizes"]
    index, real = window_tokens(cells, odd_window(lidar_side), odd_window(camera_side),
                                tuple(bev_shape), tuple(image_shape))
    tokens = int(np.prod(bev_shape)) + views * int(np.prod(image_shape))
    blocked = torch.ones(*index.shape[:2], tokens + 1, dtype=torch.bool)
    blocked.scatter_(2, torch.where(real, index, tokens), False)
    golden.check("mask_open_count", real.sum(-1))
    golden.check("mask_blocked_packed",
                 torch.from_numpy(np.packbits(blocked[..., :tokens].numpy(), axis=-1)))
