"""Whole thin networks against numbers that lie in the repository, see `make_vectors`."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from make_vectors import DATA, inputs, network, results
from safetensors.torch import load_file

from aqr_perception.model.cmt_import import import_published
from aqr_perception.types import Batch


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", ["thin_r50", "thin_vov99"])
def test_a_published_file_gives_these_numbers(name, dtype):
    tensors = load_file(str(DATA / f"{name}.safetensors"))
    state = {key.removeprefix("param::"): tensor for key, tensor in tensors.items()
             if key.startswith("param::")}
    config = network(name)
    config = replace(config, decoder=replace(config.decoder, dropout=0.0))
    detector = import_published(state, config, absence="left_out").detector.to(dtype)
    batch = inputs(config)
    batch = Batch(**{name: tensor.to(dtype) if tensor.dtype == torch.float64 else tensor
                     for name, tensor in vars(batch).items()})
    for name, ours in results(detector, batch).items():
        wanted = tensors[f"out64::{name}"]
        tolerance = 1e-9 if dtype == torch.float64 else 1e-3  # rounding over a hundred layers
        torch.testing.assert_close(ours.double(), wanted, rtol=tolerance, atol=tolerance)
