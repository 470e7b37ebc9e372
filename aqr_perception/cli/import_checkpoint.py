"""Turn a published CMT checkpoint into a weights file of this package.

Reads mmdet3d-format files of CMT (ResNet-50 at 800×320, VoVNet-99 at 1600×640, camera-only and
LiDAR-only ones) and of its AQR variant. Nothing from the file is executed; a key that is missing or
unknown stops the import.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", type=Path, help="published checkpoint (.pth)")
    parser.add_argument("out", type=Path, help="weights file to write (.safetensors)")
    parser.add_argument("--preset", choices=("cmt_r50", "cmt_vov99"),
                        help="network of the checkpoint; told by its keys where left out")
    parser.add_argument("--aqr", choices=("off", "attention_bias", "weight_map"), default="off",
                        help="what becomes of the AQR variant's own parameters (default: off, they "
                             "are dropped and the network is plain CMT)")
    parser.add_argument("--absence", choices=("zeros", "left_out"), default="zeros",
                        help="how missing sensors look; published networks were trained with zeros")


def run(arguments: argparse.Namespace) -> int:
    """Import, and say what was left out."""
    from aqr_perception.model import checkpoint
    from aqr_perception.model.cmt_import import import_published, read_published
    from aqr_perception.model.config import PRESETS

    tensors = read_published(arguments.file)
    config = PRESETS[arguments.preset]() if arguments.preset else None
    try:
        network = import_published(tensors, config, arguments.aqr, arguments.absence)
    except ValueError as error:
        raise ValueError(f"{arguments.file}: {error}") from None
    checkpoint.save(arguments.out, network.detector, network.detector.metadata)
    parameters = sum(parameter.numel() for parameter in network.detector.parameters())
    print(f"{arguments.out}: {network.detector.config.name}, {parameters / 1e6:.2f} M parameters")
    for key in network.ignored:
        print(f"  left out {key}")
    return 0
