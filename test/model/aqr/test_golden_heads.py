"""The published heads with AQR in them, whole."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from aqr_scenes import make_batch, token_sensor
from cmt_vectors import DTYPES, load, thin_config

from aqr_perception.model.aqr import build_router
from aqr_perception.model.aqr.config import (
    AqrConfig,
    AttentionBiasConfig,
    GeneratorConfig,
    ModulatorConfig,
    RendererConfig,
    WeightMapConfig,
)
from aqr_perception.model.aqr.published import generator_state
from aqr_perception.model.aqr.routing import Scene
from aqr_perception.model.aqr.weight_map import published
from aqr_perception.model.decoder import Decoder, Queries
from aqr_perception.model.memory import Memory, select_sensors
from aqr_perception.model.position import Cameras, PositionEmbedding


@pytest.fixture(params=DTYPES, ids=["double", "single"])
def vector_of(shared_reference, request):
    return lambda name: load(shared_reference / "golden", name, request.param)


def sub_state(vector, prefix):
    return {key.removeprefix(prefix): value.to(vector.dtype)
            for key, value in vector.params().items() if key.startswith(prefix)}


def memory_of(bev, images, views) -> Memory:
    """Tokens of (B, C, H, W) and (B·V, C, H, W) maps, without positions."""
    count = len(bev)
    shown = images.unflatten(0, (count, views)).permute(0, 1, 3, 4, 2).flatten(1, 3)
    tokens = torch.cat([bev.flatten(2).transpose(1, 2), shown], dim=1)
    sensors = token_sensor(bev.shape[2:], views, images.shape[2:])
    present = torch.ones(count, 1 + views, dtype=torch.bool)
    return Memory(tokens, tokens[:, :0], sensors, present, tuple(bev.shape[2:]),
                  tuple(range(views)), tuple(images.shape[2:]))


def generator_of(made) -> GeneratorConfig:
    layer = made["encoder_config"]["transformerlayers"]
    kind = layer["attn_cfgs"][0]["type"]
    return GeneratorConfig(
        kind="global" if "Flash" in kind else "local_window",
        layers=made["encoder_config"]["num_layers"], heads=layer["attn_cfgs"][0]["num_heads"],
        feedforward=layer["feedforward_channels"], lidar_window=made["window_sizes"][1],
        camera_window=made["window_sizes"][0])


def test_feature_modulation(vector_of):
    vector = vector_of("aqr_head_modulation")
    made = vector.constructor
    renderer, modulator = made["renderer_config"], made["modulator_config"]
    aqr = AqrConfig(mode="weight_map", weight_map=WeightMapConfig(
        generator_of(made["aqr_config"]),
        RendererConfig(renderer["render_method"], renderer["gaussian_sigma"],
                       max_weight_clamp=renderer["max_weight_clamp"]),
        ModulatorConfig(modulator["modulation_type"], modulator["residual_weight"]),
        reference=True))
    config = thin_config(vector)
    positions = PositionEmbedding(config).to(vector.dtype)
    positions.load_state_dict(
        {f"ground.{name}": value for name, value in sub_state(vector, "bev_embedding.").items()}
        | {f"rays.{name}": value for name, value in sub_state(vector, "rv_embedding.").items()})
    router = build_router(made["hidden_dim"], 1, aqr).to(vector.dtype).eval()
    router.generator.load_state_dict(generator_state(sub_state(vector, "aqr_weight_generator.")))

    matrices = vector.input("lidar2img")
    count, views = matrices.shape[:2]
    image_size = tuple(vector.about["config"]["img_hw"])
    x, x_img = vector.input("x"), vector.input("x_img")
    cameras = Cameras(matrices, torch.ones(count, views, dtype=torch.bool))
    memory = memory_of(x, x_img, views)
    keys = torch.cat([positions.bev(*x.shape[2:], x).expand(count, -1, -1),
                      positions.images(cameras, *x_img.shape[2:]).flatten(1, 2)], dim=1)
    references = sub_state(vector, "reference_points.")["weight"].expand(count, -1, -1)
    scene = Scene(replace(memory, positions=keys), references,
                  positions.queries(references, cameras), 0,
                  make_batch(matrices, image_size), image_size, config.detection_range,
                  predict=lambda layer, target: pytest.fail("nothing to predict"))

    state = router.start(scene)
    changed, _ = router.route(0, scene.query_positions, references, state)
    vector.check(state.weights[..., 0], "lidar_weights")
    vector.check(state.weights[..., 1], "camera_weights")
    kernel = sub_state(vector, "weight_renderer.")["gaussian_kernel"]
    map_bev = published.render_bev(aqr.weight_map.renderer, state.weights[..., 0],
                                   state.cells.bev, *x.shape[2:], kernel=kernel)
    map_pers = published.render_cameras(
        aqr.weight_map.renderer, state.weights[..., 1], state.cells.camera[:, 0], views,
        *x_img.shape[2:], kernel=kernel)
    vector.check(map_bev, "map_bev")
    vector.check(map_pers, "map_pers")
    modulate = published.PublishedModulator(modulator["modulation_type"], normalize=False,
                                            residual_weight=modulator["residual_weight"])
    x_modulated = x * modulate.gain(map_bev[:, None])
    x_img_modulated = x_img * modulate.gain(map_pers).flatten(0, 1)[:, None]
    vector.check(x_modulated, "x_modulated")
    vector.check(x_img_modulated, "x_img_modulated")
    # The router computes the kernel anew; the published one was rounded to single precision.
    torch.testing.assert_close(changed.bev.permute(0, 3, 1, 2), x_modulated, rtol=0, atol=1e-6)
    torch.testing.assert_close(changed.images.permute(0, 1, 4, 2, 3).flatten(0, 1),
                               x_img_modulated, rtol=0, atol=1e-6)


def test_attention_bias_in_the_whole_head(vector_of):
    vector = vector_of("aqr_head_bias_eval")
    made, bias = vector.constructor, vector.constructor["attention_bias_config"]
    config = replace(thin_config(vector), aqr=AqrConfig(
        mode="attention_bias", attention_bias=AttentionBiasConfig(
            generator_of(made["aqr_config"]), window=bias["window_size"],
            scale=bias["bias_scale"], reference=True)))
    decoder = Decoder(config, build_router(config.decoder.channels, config.decoder.layers,
                                           config.aqr))
    params = {key: value for key, value in vector.params().items()
              if not key.startswith(("shared_conv.", "reference_points.", "weight_renderer.",
                                     "aqr_weight_generator.", "feature_modulator.",
                                     "attention_bias_generator."))}
    generator = generator_state(sub_state(vector, "aqr_weight_generator."))
    scale = sub_state(vector, "attention_bias_generator.")["bias_scale"]
    decoder.router.to(vector.dtype)
    decoder.router.generator.load_state_dict(generator)
    decoder.router.bias_scale.data = scale.reshape(())
    router, decoder.router = decoder.router, torch.nn.Identity()  # filled already
    vector.fill(decoder, "pts_bbox_head.", "decoder.", params)
    decoder.router = router

    conv = sub_state(vector, "shared_conv.")
    bev = torch.nn.functional.conv2d(vector.input("pts_feat"), conv["conv.weight"], padding=1)
    bev = torch.nn.functional.batch_norm(
        bev, conv["bn.running_mean"], conv["bn.running_var"], conv["bn.weight"],
        conv["bn.bias"]).relu()
    matrices = vector.input("lidar2img")
    count, views = matrices.shape[:2]
    batch = make_batch(matrices, tuple(vector.about["config"]["img_hw"]))
    memory = memory_of(bev, vector.input("img_feat"), views)
    references = sub_state(vector, "reference_points.")["weight"].expand(count, -1, -1)
    decoder.train()  # every layer's answer, as published; this network has no dropout
    logits, boxes, output = decoder(memory, Queries(references), batch,
                                    select_sensors(batch, True, True))

    scene = _scene(decoder, memory, references, batch)
    window = decoder.router.start(scene).routing.window
    dense = window.bias.new_zeros(*window.index.shape[:2], memory.tokens.shape[1])
    vector.check(dense.scatter_add(2, window.index, window.bias), "attention_bias")
    vector.check(logits, "cls_logits")
    split = boxes.split([2, 1, 3, 2, 2], dim=-1)
    for name, part in zip(("center", "height", "dim", "rot", "vel"), split):
        vector.check(part, name)
    assert torch.isfinite(output.report.mass).all()


def _scene(decoder, memory, references, batch) -> Scene:
    """What the decoder hands to its router."""
    seen = []
    start = decoder.router.start
    decoder.router.start = lambda scene, look=None: seen.append(scene) or start(scene)
    decoder(memory, Queries(references), batch, select_sensors(batch, True, True))
    decoder.router.start = start
    return seen[0]
