"""What a frame makes of numbers on the host, and asks the device for: a GPU waits for each."""

from __future__ import annotations

import traceback
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from rig import make_frame
from thin_networks import thin_cmt, thin_tiny
from torch.utils._python_dispatch import TorchDispatchMode

from aqr_perception.model import constants
from aqr_perception.model.aqr.config import AqrConfig
from aqr_perception.model.aqr.output import AqrOutput
from aqr_perception.model.box_coder import top_boxes
from aqr_perception.model.checkpoint import untrained
from aqr_perception.model.inputs import prepare
from aqr_perception.types import Controls, Mounting

FROM_HOST = "aten.lift_fresh.default"
"""What `torch.tensor` and a list of numbers in brackets do."""

ASKED = ("aten.item", "aten._local_scalar_dense", "aten.is_nonzero", "aten.nonzero", "aten.unique",
         "aten.bincount", "aten.linalg_inv.", "aten.equal", "aten.masked_select")
"""What waits for the device: its numbers decide what comes next."""

ON_HOST = ("select_sensors", "_scattered", "_images", "<lambda>")
"""Functions that look at what they have fetched together, once a frame."""

ON_CPU = ("spared",)
"""Spares work on a CPU; on a GPU it asks nothing."""

SIZES = ("forward", "_occupied")
"""Functions of the pillars, which cannot know how many there are."""


class Watch(TorchDispatchMode):
    """Counts both, by function of the package."""

    def __init__(self) -> None:
        super().__init__()
        self.from_host: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = str(operation)
        masked = name.startswith("aten.index.") and any(
            isinstance(index, torch.Tensor) and index.dtype == torch.bool for index in args[1])
        if name == FROM_HOST or masked or name.startswith(ASKED):
            ours = [entry for entry in traceback.extract_stack()
                    if "/aqr_perception/" in entry.filename]
            (self.from_host if name == FROM_HOST else self.asked)[ours[-1].name] += 1
        return operation(*args, **(kwargs or {}))


def watched(config, missing: tuple[int, ...] = ()) -> Watch:
    """The third of three frames, of which the first two made what is kept."""
    detector = untrained(config)
    history = None
    frame = make_frame()
    frame = replace(frame, fixed_from_lidar=np.eye(4), images=tuple(
        None if view in missing else image for view, image in enumerate(frame.images)))
    for _ in range(3):
        batch = prepare([frame], config, Mounting(), Controls())
        with torch.inference_mode(), Watch() as watch:
            output = detector(batch, history=history)
            top_boxes(output.logits[-1], output.boxes[-1], 10)
        history = output.aqr.history if isinstance(output.aqr, AqrOutput) else None
    return watch


@pytest.mark.parametrize("config", [
    thin_tiny(), thin_cmt(), thin_cmt(absence="zeros"),
    *(replace(thin_cmt(), aqr=AqrConfig(mode=mode))
      for mode in ("gate", "weight_map", "attention_bias")),
    replace(thin_tiny(), aqr=AqrConfig(mode="gate"))],
    ids=lambda config: f"{config.name}-{config.aqr.mode}-{config.decoder.absence}")
@pytest.mark.parametrize("missing", [(), (1,)])
def test_no_number_comes_from_the_host(config, missing):
    assert not watched(config, missing).from_host


@pytest.mark.parametrize("mode", ["off", "gate"])
def test_only_the_choice_of_sensors_and_the_number_of_pillars_are_asked_for(mode):
    asked = watched(replace(thin_tiny(), aqr=AqrConfig(mode=mode))).asked
    assert set(asked) <= {*ON_HOST, *ON_CPU, *SIZES}
    assert sum(asked[name] for name in SIZES) == 3


def test_what_is_kept_is_made_once_and_may_be_trained_with():
    like = torch.zeros(1, dtype=torch.float64)
    with torch.inference_mode():
        first = constants.constant((1.5, -2.5), like)
        picked = constants.picked(torch.arange(3), 0, (2, 0))
    assert constants.constant([1.5, -2.5], like) is first
    assert first.dtype == torch.float64
    assert picked.tolist() == [2, 0]
    factor = torch.ones(2, dtype=torch.float64, requires_grad=True)
    (factor * first).sum().backward()  # an inference tensor would refuse
    assert factor.grad.tolist() == [1.5, -2.5]
    assert constants.constant((1.5, -2.5), like.float()).dtype == torch.float32


def test_all_entries_in_order_are_no_copy():
    whole = torch.arange(6).view(2, 3)
    assert constants.picked(whole, 1, (0, 1, 2)) is whole
    assert constants.picked(whole, -1, (1,)).tolist() == [[1], [4]]
