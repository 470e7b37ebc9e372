"""Makes ``test/data/thin_*.safetensors``: thin CMT networks and what they give, in float64.

They were made once, when every piece agreed with vectors of the published code to 1e-9, and hold
the numbers where those vectors are not at hand:

    python test/model/make_vectors.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from cmt_vectors import published_state
from rig import make_frame
from safetensors.torch import save_file
from thin_networks import thin_cmt

from aqr_perception.model.config import DetectorConfig, ImageConfig
from aqr_perception.model.detector import Detector
from aqr_perception.model.inputs import prepare
from aqr_perception.types import Batch, Controls, Mounting

DATA = Path(__file__).resolve().parent.parent / "data"
VOVNET = ImageConfig("vovnet99", 64, 32, (4, 4, 8, 8, 12, 16, 16), inner_channels=(4, 4, 6, 6))


def network(name: str) -> DetectorConfig:
    """The thin network of that name."""
    config = thin_cmt()
    return config if name == "thin_r50" else replace(config, image=VOVNET)


def inputs(config: DetectorConfig) -> Batch:
    """Two frames; the second lacks a camera."""
    frames = [make_frame(5), make_frame(6, points=300)]
    frames[1] = replace(frames[1], images=(*frames[1].images[:2], None, frames[1].images[3]))
    batch = prepare(frames, config, Mounting(), Controls())
    return Batch(**{name: tensor.double() if tensor.is_floating_point() else tensor
                    for name, tensor in vars(batch).items()})


@torch.inference_mode()
def results(detector: Detector, batch: Batch) -> dict[str, torch.Tensor]:
    """What is compared: the maps of both trunks, and classes and boxes of all layers."""
    found = {}
    branches = detector.tokenizer.lidar, detector.tokenizer.image
    for name, branch in zip(("bev", "image"), branches):
        branch.register_forward_hook(
            lambda module, given, out, name=name: found.update({name: out}))
    output = detector.decoder.train() and detector(batch)
    return {**found, "logits": output.logits, "boxes": output.boxes}


def random_network(config: DetectorConfig) -> Detector:
    """Random weights and statistics, dropout off."""
    config = replace(config, decoder=replace(config.decoder, dropout=0.0))
    torch.manual_seed(7)
    detector = Detector(config).eval()
    for name, tensor in detector.state_dict().items():
        if "running_mean" in name or name.endswith(".bias"):
            tensor.normal_(0, 0.1)
        elif "running_var" in name:
            tensor.uniform_(0.5, 1.5)
    return detector.double()  # weights are float32 numbers, as they are stored


def main() -> None:
    """Write both files."""
    DATA.mkdir(exist_ok=True)
    for name in ("thin_r50", "thin_vov99"):
        config = network(name)
        detector = random_network(config)
        state = published_state(config, detector.state_dict())
        outputs = results(detector, inputs(config))
        save_file({**{f"param::{key}": tensor.float() if tensor.is_floating_point() else tensor
                      for key, tensor in state.items()},
                   **{f"out64::{key}": tensor.contiguous() for key, tensor in outputs.items()}},
                  str(DATA / f"{name}.safetensors"))


if __name__ == "__main__":
    main()
