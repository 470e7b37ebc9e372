"""Weights files: safetensors with the network's config inside, so that one file is all there is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from aqr_perception.model.config import DetectorConfig, from_dict, tiny, to_dict
from aqr_perception.model.detector import Detector

FORMAT = "aqr_perception/1"
SHIPPED = Path(__file__).parent / "weights" / "tiny.safetensors"
"""The weights that come with the package."""

LARGEST_FILE = 2 << 30
"""Bytes; a bigger file is not one of ours."""


def save(path: str | Path, detector: Detector, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a network.

    Args:
        path: Where to.
        detector: Its parameters and config.
        metadata: What else to remember (training command, seed, metrics), as JSON holds it.
    """
    tensors = {name: tensor.detach().cpu().contiguous()
               for name, tensor in detector.state_dict().items()}
    notes = {"trained": True, **(metadata or {})}
    save_file(tensors, str(path), {"format": FORMAT, "metadata": json.dumps(notes),
                                   "config": json.dumps(to_dict(detector.config))})


def load(path: str | Path, device: torch.device | str = "cpu") -> Detector:
    """Rebuild a network from its file alone, in evaluation mode.

    Raises:
        OSError: There is no such file.
        ValueError: It is not one of this package, is damaged, or holds other tensors than its
            config asks for.
    """
    path = Path(path)
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"{path}: is {path.stat().st_size} bytes; expected a weights file of at "
                         f"most {LARGEST_FILE}")
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            header = file.metadata() or {}
            config, notes = _read_header(path, header)
            detector = untrained(config)
            _check_shapes(path, detector, {name: tuple(file.get_slice(name).get_shape())
                                           for name in file.keys()})  # noqa: SIM118 - not a dict
            tensors = {name: file.get_tensor(name) for name in detector.state_dict()}
    except SafetensorError as error:
        raise ValueError(f"{path}: is not a weights file of this package ({error}); published CMT "
                         "files go through import-checkpoint first") from None
    detector.load_state_dict(tensors, assign=True)
    detector.metadata = notes
    return detector.to(device).eval()


def load_default(device: torch.device | str = "cpu") -> Detector:
    """The network that ships with the package.

    Where its weights are missing (a checkout before the first training), the ``tiny`` preset with
    random weights of seed 0; ``detector.trained`` is then False.
    """
    if SHIPPED.exists():
        return load(SHIPPED, device)
    return untrained(tiny()).to(device)


def untrained(config: DetectorConfig, seed: int = 0) -> Detector:
    """A network with random weights that follow from the seed, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        detector = Detector(config)
    detector.metadata = {"trained": False, "seed": seed}
    return detector.eval()


def _read_header(path: Path, header: Mapping[str, str]) -> tuple[DetectorConfig, dict[str, Any]]:
    if header.get("format") != FORMAT:
        raise ValueError(f"{path}: is a safetensors file without a network of this package "
                         f"(format is {header.get('format')!r}; expected '{FORMAT}')")
    try:
        config = json.loads(header["config"])
        notes = json.loads(header.get("metadata", "{}"))
    except (KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: its config cannot be read ({error})") from None
    return from_dict(DetectorConfig, config, f"{path}: config"), notes


def _check_shapes(path: Path, detector: Detector, shapes: Mapping[str, tuple[int, ...]]) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in detector.state_dict().items()}
    missing, unexpected = sorted(set(expected) - set(shapes)), sorted(set(shapes) - set(expected))
    if missing or unexpected:
        raise ValueError(f"{path}: does not fit its config; missing {_some(missing)}, unexpected "
                         f"{_some(unexpected)}")
    for name, shape in expected.items():
        if shapes[name] != shape:
            raise ValueError(f"{path}: {name} has shape {shapes[name]}; its config asks for "
                             f"{shape}")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more or "none"
