"""The network on a device that is not the host, without having one: PyTorch's meta device.

Nothing is computed there, but every tensor knows where it lies, so that one that was left on the
host shows. What needs numbers (which sensors there are, which cells hold points) is done before.
"""

from __future__ import annotations

import contextlib
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from rig import make_frame
from thin_networks import thin_cmt, thin_tiny
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from aqr_perception.model.aqr.config import AqrConfig
from aqr_perception.model.aqr.output import AqrOutput
from aqr_perception.model.box_coder import top_boxes
from aqr_perception.model.checkpoint import untrained
from aqr_perception.model.inputs import prepare
from aqr_perception.model.tokens import as_known
from aqr_perception.types import Controls, Mounting

META = torch.device("meta")
MOVES = ("aten._to_copy.", "aten.to.", "aten.copy_.")


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of two devices; single numbers may lie on the host."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if not str(operation).startswith(MOVES):
            devices = {leaf.device.type for leaf in tree_leaves((args, kwargs or {}))
                       if isinstance(leaf, Tensor) and leaf.ndim}
            assert len(devices) <= 1, f"{operation} on {devices}"
        return operation(*args, **(kwargs or {}))


def moved(values):
    """A dataclass with its tensors on the meta device."""
    return replace(values, **{part.name: value.to(META) for part in fields(values)
                              if isinstance(value := getattr(values, part.name), Tensor)})


def run(config, missing, detector=None):
    """Two frames, all but the trunk of the LiDAR: what the decoder says, its boxes, the report."""
    detector = (detector or untrained(config)).eval()
    frame = make_frame()
    frame = replace(frame, fixed_from_lidar=np.eye(4), images=tuple(
        None if view in missing else image for view, image in enumerate(frame.images)))
    batch = prepare([frame], config, Mounting(), Controls())
    with torch.no_grad():
        batch, selection, _ = as_known(batch, config)
        memory = detector.tokenizer(batch, selection)
        detector, batch, memory = detector.to(META), moved(batch), moved(memory)
        selection = replace(selection, usable=selection.usable.to(META))
        history = None
        with OneDevice():
            for _ in range(2):
                images = detector.tokenizer.image(batch.images.flatten(0, 1))
                heat = detector.heat(memory) if detector.heat else None
                look = detector.decoder.look(memory, batch, selection, history)
                queries = detector.place(heat, batch, look.trusted)
                logits, boxes, report = detector.decoder(memory, queries, batch, selection, history,
                                                         look)
                best = top_boxes(logits[-1], boxes[-1], 10)
                if isinstance(report, AqrOutput):
                    history = report.history
    return [images, logits, *best], report


@pytest.fixture(autouse=True)
def no_autocast(monkeypatch):
    """It does not know the meta device, and is off where a frame's geometry is computed."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)


@pytest.mark.parametrize("missing", [(), (1,)])
@pytest.mark.parametrize("mode", ["off", "gate", "weight_map", "attention_bias"])
@pytest.mark.parametrize("thin", [thin_cmt, thin_tiny])
def test_nothing_is_left_on_the_host(thin, mode, missing):
    given, report = run(replace(thin(), aqr=AqrConfig(mode=mode)), missing)
    assert {tensor.device for tensor in given} == {META}
    assert isinstance(report, AqrOutput) is (mode != "off")


def test_what_is_left_there_shows():
    detector = untrained(thin_tiny())
    embed = detector.decoder.positions.queries
    detector.decoder.positions.queries = lambda places, directions: embed(
        places, torch.zeros(1, 20, 3))
    with pytest.raises(AssertionError, match=r"on {'(cpu|meta)', '(cpu|meta)'}"):
        run(thin_tiny(), (), detector)
