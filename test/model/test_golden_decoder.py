"""Positions, decoder, heads and box coding against what the published code computed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from cmt_vectors import DTYPES, load, thin_config, thin_decoder

from aqr_perception.model.box_coder import decode_boxes, encode_boxes, top_boxes
from aqr_perception.model.config import DecoderConfig, cmt_r50
from aqr_perception.model.decoder import DecoderLayer, Queries
from aqr_perception.model.head import BRANCHES, Head
from aqr_perception.model.lidar_backbone import SharedConv
from aqr_perception.model.memory import select_sensors
from aqr_perception.model.position import (
    Cameras,
    bev_cell_centers,
    inverse_sigmoid,
    sine_embedding,
)
from aqr_perception.model.tokens import assemble
from aqr_perception.types import Batch

pytestmark = pytest.mark.parametrize("dtype", DTYPES)
HEADS = {"cmt_head_eval": (True, True), "cmt_image_head_eval": (True, False),
         "cmt_lidar_head_eval": (False, True)}
HEAD = "pts_bbox_head."


@pytest.fixture
def vector(shared_reference, request, dtype):
    return load(shared_reference / "golden", request.param, dtype)


def vectors(*names):
    return pytest.mark.parametrize("vector", names, indirect=True)


@vectors("pos2embed")
def test_sine_embedding(vector):
    for name in vector.about["outputs"]:
        source, width = name.split("_N")
        vector.check(sine_embedding(vector.input(source), int(width)), name)


@vectors("head_pos_embed")
def test_positions_of_tokens(vector):
    config, setting = thin_config(vector), vector.about["config"]
    positions = _positions(vector, config)
    matrices = vector.input("lidar2img")
    bev = setting["bev"]
    vector.check(bev_cell_centers(bev, bev, matrices), "coords_bev")
    vector.check(positions.bev(bev, bev, matrices), "bev_pos")
    cameras = Cameras(matrices, torch.ones(matrices.shape[:2], dtype=torch.bool))
    rows, columns = setting["feat_hw"]
    rays = positions.images(cameras, rows, columns).flatten(0, 1).unflatten(1, (rows, columns))
    vector.check(rays, "rv_pos")


@vectors("query_embed")
def test_positions_of_queries(vector):
    positions = _positions(vector, thin_config(vector))
    matrices = vector.input("lidar2img")
    cameras = Cameras(matrices, torch.ones(matrices.shape[:2], dtype=torch.bool))
    references = inverse_sigmoid(vector.input("ref")).sigmoid()
    vector.check(positions.queries(references, cameras), "query_pos")
    blind = Cameras(matrices, torch.zeros(matrices.shape[:2], dtype=torch.bool))
    vector.check(positions.queries(references, blind), "bev_query")


@vectors("decoder_layer_c256")
def test_decoder_layer(vector):
    layer = vector.fill(_layer(vector.constructor), f"{HEAD}transformer.decoder.layers.0.",
                        "decoder.layers.0.")
    query, key, query_pos, key_pos = (vector.input(name).transpose(0, 1) for name in
                                      ("query", "key", "query_pos", "key_pos"))
    mask = vector.input("self_attn_mask")
    for name, blocked in (("out_nomask", None), ("out_mask", mask)):
        ours, mass = layer(query, query_pos, key + key_pos, key, blocked=blocked)
        assert mass is None
        vector.check(ours.transpose(0, 1), name)
    placed = query + query_pos
    own = query + layer.self_attention(placed, placed, query, mask)
    vector.check(own.transpose(0, 1), "self_attn_mask_only")
    crossed = query + layer.cross_attention(placed, key + key_pos, key)
    vector.check(crossed.transpose(0, 1), "cross_attn_only")
    vector.check((query + layer.feedforward(query)).transpose(0, 1), "ffn_only")


@vectors("decoder", "cmt_transformer")
def test_layers_in_a_row(vector):
    built = vector.constructor.get("decoder", vector.constructor)
    count = built["num_layers"]
    layers = torch.nn.ModuleDict({
        "layers": torch.nn.ModuleList(_layer(built["transformerlayers"]) for _ in range(count)),
        "post_norm": torch.nn.LayerNorm(built["transformerlayers"]["attn_cfgs"][0]["embed_dims"])})
    nested = vector.about["vector"] == "cmt_transformer"
    vector.fill(layers, f"{HEAD}transformer." + ("" if nested else "decoder."), "decoder.")
    if nested:
        memory, keys, position = _memory_of_transformer(vector)
        vector.check(memory.tokens.transpose(0, 1), "memory")
        states = _run(layers, torch.zeros_like(position), position, keys, memory.tokens)
        vector.check(states, "outs_dec")
        return
    query, key, position, key_pos = (vector.input(name).transpose(0, 1) for name in
                                     ("query", "key", "query_pos", "key_pos"))
    mask = vector.input("self_attn_mask")
    for name, target, blocked in (("out", query, None), ("out_mask", query, mask),
                                  ("out_zero_target", torch.zeros_like(query), None)):
        states = _run(layers, target, position, key + key_pos, key, blocked)
        vector.check(states.transpose(1, 2), name)


@vectors("separate_task_head")
def test_branches_of_the_head(vector):
    built = vector.constructor
    states = vector.input("x")
    head = _head(built["in_channels"], built["groups"], built["head_conv"])
    vector.fill(head.branches, f"{HEAD}task_heads.0.", "decoder.head.branches.")
    last = head.branches(states[-1:].flatten(1, 2), len(states) - 1)
    for name, said in head.branches(states.flatten(1, 2), 0).items():
        all_layers = said.unflatten(1, states.shape[1:3])
        vector.check(all_layers, name)
        torch.testing.assert_close(last[name], all_layers[-1:].flatten(1, 2))


@vectors("box_assembly_decode")
def test_boxes_are_assembled_and_decoded(vector):
    setting = vector.about["config"]
    raw = {name: vector.input(name) for name in BRANCHES}
    layers = len(raw["center"])
    head = _head(8, layers, 4, detection_range=tuple(setting["pc_range"]))
    head.branches.forward = lambda states, first: {
        name: said.flatten(1, 2) for name, said in raw.items()}
    batch, count = raw["center"].shape[1:3]
    references = vector.params()["reference_points.weight"].to(vector.dtype)
    logits, boxes = head(torch.zeros(layers, batch, count, 8, dtype=vector.dtype),
                         references.expand(layers, batch, -1, -1))
    vector.check(logits, "asm_cls_logits")
    for ours, name in zip(boxes.split([2, 1, 3, 2, 2], dim=-1),
                          ("center", "height", "dim", "rot", "vel")):
        vector.check(ours, f"asm_{name}")
    _check_decoded(vector, logits, boxes, setting["max_num"], "dec{}_bboxes_gravity", "dec{}")


@vectors("normalize_bbox")
def test_code_of_boxes(vector):
    for size in (9, 7):
        vector.check(encode_boxes(vector.input(f"boxes{size}")), f"n{size}")
    for size in (10, 8):
        vector.check(decode_boxes(vector.input(f"norm{size}")), f"d{size}")


@vectors(*HEADS)
def test_whole_head(vector):
    has_image, has_lidar = HEADS[vector.about["vector"]]
    config = thin_config(vector, has_image, has_lidar)
    module = torch.nn.ModuleDict({"decoder": thin_decoder(config)})
    if has_lidar:
        shared = SharedConv(vector.constructor["in_channels"], config.decoder.channels, 3)
        lidar = torch.nn.ModuleDict({"shared": shared})
        module["tokenizer"] = torch.nn.ModuleDict({"lidar": lidar})
    params = vector.params()
    references = params.pop("reference_points.weight").to(vector.dtype)
    vector.fill(module, HEAD, "", params)
    batch, bev, images = _batch(vector, has_image, has_lidar)
    if has_lidar:
        bev = shared(bev)
    if "out::shared_conv_out" in vector.tensors:
        vector.check(bev, "shared_conv_out")
    selection = select_sensors(batch, has_lidar, has_image)
    memory = assemble(bev, images, tuple(range(images.shape[1])) if has_image else (),
                      selection.usable, config.decoder.channels)
    decoder = module["decoder"].train()  # all layers; nothing in it depends on the mode
    logits, boxes, _ = decoder(memory, Queries(references.expand(len(batch.images), -1, -1)),
                               batch, selection)
    vector.check(logits, "cls_logits")
    for ours, name in zip(boxes.split([2, 1, 3, 2, 2], dim=-1),
                          ("center", "height", "dim", "rot", "vel")):
        vector.check(ours, name)
    if "out::final0_bboxes" in vector.tensors:
        _check_decoded(vector, logits, boxes, vector.constructor["bbox_coder"]["max_num"],
                       "final{}_bboxes", "final{}", bottom=True)
    last, _, _ = decoder.eval()(memory, Queries(references.expand(len(batch.images), -1, -1)),
                                batch, selection)
    torch.testing.assert_close(last, logits[-1:])


def _check_decoded(vector, logits, boxes, count, boxes_name, stem, bottom=False):
    decoded, scores, labels, kept = top_boxes(logits[-1], boxes[-1], count)
    for frame in range(len(decoded)):
        rows = decoded[frame, kept[frame]]
        if bottom:
            rows = torch.cat([rows[:, :2], rows[:, 2:3] - rows[:, 5:6] / 2, rows[:, 3:]], dim=1)
        vector.check(rows, boxes_name.format(frame))
        vector.check(scores[frame, kept[frame]], stem.format(frame) + "_scores")
        vector.check(labels[frame, kept[frame]], stem.format(frame) + "_labels")


def _batch(vector, has_image, has_lidar):
    """What the decoder reads of a batch, and both maps."""
    bev = vector.input("pts_feat") if has_lidar else None
    if has_image:
        matrices = vector.input("lidar2img")
        frames, views = matrices.shape[:2]
        images = vector.input("img_feat").unflatten(0, (frames, views))
    else:
        frames, views, images = len(bev), 0, None
        matrices = torch.zeros(frames, 0, 4, 4, dtype=vector.dtype)
    batch = Batch(
        images=torch.zeros(frames, views, 3, 0, 0), image_from_lidar=matrices,
        camera_present=torch.ones(frames, views, dtype=torch.bool),
        points=torch.zeros(0, 5), point_frame=torch.zeros(0, dtype=torch.int64),
        lidar_present=torch.full((frames,), has_lidar), gains=torch.ones(frames, 1 + views),
        modulation=torch.ones(frames, 2), ages=torch.zeros(frames, 1 + views),
        fixed_from_model=torch.full((frames, 4, 4), torch.nan))
    return batch, bev, images


def _memory_of_transformer(vector):
    x, images = vector.input("x"), vector.input("x_img")
    frames = len(x)
    images = images.unflatten(0, (frames, -1))
    views = images.shape[1]
    memory = assemble(x, images, tuple(range(views)),
                      torch.ones(frames, 1 + views, dtype=torch.bool), x.shape[1])
    bev_pos = vector.input("bev_pos_embed").expand(frames, -1, -1)
    image_pos = vector.input("rv_pos_embed").unflatten(0, (frames, views)).flatten(1, 3)
    keys = memory.tokens + torch.cat([bev_pos, image_pos], dim=1)
    return memory, keys, vector.input("query_embed")


def _run(layers, target, position, keys, values, blocked=None):
    states = []
    for layer in layers["layers"]:
        target, _ = layer(target, position, keys, values, blocked=blocked)
        states.append(layers["post_norm"](target))
    return torch.stack(states)


def _layer(built):
    attention = built["attn_cfgs"][0]
    return DecoderLayer(DecoderConfig(attention["embed_dims"], attention["num_heads"], 1,
                                      built["ffn_cfgs"]["feedforward_channels"], 1, dropout=0.0))


def _head(channels, layers, hidden, **config):
    base = cmt_r50()
    decoder = replace(base.decoder, channels=channels, layers=layers, head_channels=hidden)
    return Head(replace(base, decoder=decoder, **config))


def _positions(vector, config):
    module = torch.nn.ModuleDict({"positions": thin_decoder(config).positions})
    return vector.fill(module, HEAD, "decoder.")["positions"]
