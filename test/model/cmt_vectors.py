"""Vectors of the published networks, and their parameters under our names.

Everything that depends on a vector's shapes comes from its JSON and tensors, so that another set
can stand in for this one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from aqr_perception.model.aqr.routing import Router
from aqr_perception.model.cmt_import import fitted, our_name
from aqr_perception.model.config import DecoderConfig, DetectorConfig, ImageConfig, LidarConfig
from aqr_perception.model.decoder import Decoder

DTYPES = (torch.float64, torch.float32)


@dataclass(frozen=True)
class Vector:
    """One piece: its JSON, and its tensors in one precision."""

    about: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    dtype: torch.dtype

    @property
    def constructor(self):
        return self.about["constructor"]

    def input(self, name):
        tensor = self.tensors[f"in::{name}"]
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    def check(self, ours, name):
        """Compare with an output: float64 to 1e-9, float32 to 1e-4, integers exactly."""
        reference = self.tensors[f"out::{name}"]
        if not reference.is_floating_point():
            assert torch.equal(ours, reference.to(ours.dtype)), name
            return
        assert ours.dtype == self.dtype
        if self.dtype == torch.float64:
            reference = self.tensors[f"out64::{name}"]
            torch.testing.assert_close(ours, reference, rtol=1e-9, atol=1e-9)
        else:
            torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-4)

    def fill(self, module, published_prefix, our_prefix, params=None):
        """Load the parameters into a module; every one of them must find its place."""
        expected = module.state_dict()
        state = {}
        for key, tensor in (params or self.params()).items():
            name = our_name(published_prefix + key)
            assert name is not None, key
            if name.startswith(our_prefix):
                name = name.removeprefix(our_prefix)
                state[name] = fitted(published_prefix + key, tensor, expected[name].shape)
        missing = {name for name in expected if not name.endswith("num_batches_tracked")}
        assert missing == set(state)
        module.load_state_dict(state, strict=False)
        return module.to(self.dtype).eval()

    def params(self):
        return {key.removeprefix("param::"): tensor for key, tensor in self.tensors.items()
                if key.startswith("param::")}


def load(folder: Path, name: str, dtype: torch.dtype) -> Vector:
    """Read a vector; skip where this set does not hold it."""
    path = folder / f"{name}.safetensors"
    if not path.exists():
        pytest.skip(f"no vector {name} in {folder}")
    about = json.loads(path.with_suffix(".json").read_text())
    return Vector(about, load_file(str(path)), dtype)


def thin_config(vector: Vector, has_image: bool = True, has_lidar: bool = True) -> DetectorConfig:
    """The network that a vector of a head (or of a part of one) belongs to."""
    constructor, setting = vector.about.get("constructor", {}), vector.about.get("config", {})
    channels = constructor.get("hidden_dim") or setting["hidden_dim"]
    height, width = setting.get("img_hw", (96, 160))
    decoder = constructor.get("transformer", {}).get("decoder")
    feedforward, layers, heads = 128, 6, 8
    if decoder:
        layers = decoder["num_layers"]
        feedforward = decoder["transformerlayers"]["ffn_cfgs"]["feedforward_channels"]
        heads = decoder["transformerlayers"]["attn_cfgs"][0]["num_heads"]
    image = ImageConfig("resnet50", width, height, (8, 32, 64, 128, 256)) if has_image else None
    lidar = LidarConfig("voxels", (0.1, 0.1, 0.2), (41, 128, 128), (4, 4, 4, 4, 4), (8, 8), (1, 1),
                        constructor.get("in_channels", 32) // 2, 8) if has_lidar else None
    limits = setting.get("pc_range") or constructor.get("bbox_coder", {}).get("pc_range")
    return DetectorConfig(
        "thin", image, lidar,
        DecoderConfig(channels, heads, layers, feedforward, constructor.get("num_query", 20),
                      depth_bins=constructor.get("depth_num") or setting.get("depth_num", 8),
                      dropout=0.0),
        detection_range=tuple(limits or (-54.0, -54.0, -5.0, 54.0, 54.0, 3.0)))


def thin_decoder(config: DetectorConfig) -> Decoder:
    """A decoder that routes nothing."""
    return Decoder(config, Router())


NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
PAIR = ("weight", "bias")


def published_keys(config: DetectorConfig) -> list[str]:
    """The keys of a published checkpoint of this network, which may be a thin one."""
    assert config.lidar is not None
    assert config.image is not None
    trunk = _resnet_keys() if config.image.backbone == "resnet50" else _vovnet_keys()
    return [*trunk, *_neck_keys(), *_lidar_keys(config.lidar.trunk_layers),
            *_head_keys(config.decoder.layers)]


def _conv_norm(conv, norm):
    return [f"{conv}.weight", *(f"{norm}.{name}" for name in NORM)]


def _resnet_keys():
    keys = _conv_norm("img_backbone.conv1", "img_backbone.bn1")
    for layer, count in {1: 3, 2: 4, 3: 6, 4: 3}.items():
        for block in range(count):
            stem = f"img_backbone.layer{layer}.{block}"
            for conv in (1, 2, 3):
                keys += _conv_norm(f"{stem}.conv{conv}", f"{stem}.bn{conv}")
            if block == 0:
                keys += _conv_norm(f"{stem}.downsample.0", f"{stem}.downsample.1")
    return keys


def _vovnet_keys():
    keys = []
    for number in (1, 2, 3):
        stem = f"img_backbone.stem.stem_{number}"
        keys += _conv_norm(f"{stem}/conv", f"{stem}/norm")
    for stage, count in {2: 1, 3: 3, 4: 9, 5: 3}.items():
        for block in range(1, count + 1):
            name = f"OSA{stage}_{block}"
            stem = f"img_backbone.stage{stage}.{name}"
            for layer in range(5):
                part = f"{stem}.layers.{layer}.{name}_{layer}"
                keys += _conv_norm(f"{part}/conv", f"{part}/norm")
            part = f"{stem}.concat.{name}_concat"
            keys += _conv_norm(f"{part}/conv", f"{part}/norm")
            keys += [f"{stem}.ese.fc.{name}" for name in PAIR]
    return keys


def _neck_keys():
    return [f"img_neck.{part}.conv.{name}" for part in
            ("lateral_convs.0", "lateral_convs.1", "fpn_convs.0") for name in PAIR]


def _lidar_keys(trunk_layers):
    stem, keys = "pts_middle_encoder.", []
    for part in ("conv_input", "conv_out"):
        keys += _conv_norm(f"{stem}{part}.0", f"{stem}{part}.1")
    for layer in range(1, 5):
        of = f"{stem}encoder_layers.encoder_layer{layer}."
        for block in range(2):
            for conv in (1, 2):
                keys += _conv_norm(f"{of}{block}.conv{conv}", f"{of}{block}.bn{conv}")
        if layer < 4:
            keys += _conv_norm(f"{of}2.0", f"{of}2.1")
    for block, extra in enumerate(trunk_layers):
        for conv in range(1 + extra):
            stem = f"pts_backbone.blocks.{block}."
            keys += _conv_norm(f"{stem}{3 * conv}", f"{stem}{3 * conv + 1}")
        keys += _conv_norm(f"pts_neck.deblocks.{block}.0", f"pts_neck.deblocks.{block}.1")
    return keys


def _head_keys(layers):
    head = "pts_bbox_head."
    keys = [*_conv_norm(f"{head}shared_conv.conv", f"{head}shared_conv.bn"),
            f"{head}reference_points.weight"]
    keys += [f"{head}{name}.{i}.{part}" for name in ("bev_embedding", "rv_embedding")
             for i in (0, 2) for part in PAIR]
    for layer in range(layers):
        of = f"{head}transformer.decoder.layers.{layer}."
        for kind in range(2):
            keys += [f"{of}attentions.{kind}.attn.{name}" for name in
                     ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")]
        keys += [f"{of}ffns.0.layers.{part}.{name}" for part in ("0.0", "1") for name in PAIR]
        keys += [f"{of}norms.{i}.{name}" for i in range(3) for name in PAIR]
    keys += [f"{head}transformer.decoder.post_norm.{name}" for name in PAIR]
    for name in ("center", "height", "dim", "rot", "vel", "cls_logits"):
        keys += [f"{head}task_heads.0.{name}.{part}" for part in
                 ("0.weight", "1.weight", "1.bias", "3.weight", "3.bias")]
    return keys


def published_state(config: DetectorConfig, state: dict[str, torch.Tensor], layout: int = 2
                    ) -> dict[str, torch.Tensor]:
    """A network's state as a published checkpoint holds it.

    Args:
        config: Of the network.
        state: Its own state.
        layout: Of sparse weights: spconv 2 or 1.
    """
    published = {}
    for key in published_keys(config):
        tensor = state[our_name(key)]
        if ".task_heads." in key:
            tensor = tensor.flatten(0, 1)
            tensor = tensor[..., None] if tensor.ndim == 2 else tensor
        if tensor.ndim == 5 and layout == 1:
            tensor = tensor.permute(1, 2, 3, 4, 0)
        published[key] = tensor.detach().clone()
    return published
