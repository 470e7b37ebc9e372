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
