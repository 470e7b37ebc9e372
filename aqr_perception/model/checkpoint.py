"""Weights files: safetensors with the network's config inside, so that one file is all there is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from aqr_perception.model.config import DetectorConfig, from_dict, tiny, to_dict
from aqr_perception.model.detector import Detector

FORMAT = "aqr_perception/1"
SHIPPED = Path(__file__).parent / "weights" / "tiny.safetensors"
"""The weights that come with the package."""

LARGEST_FILE = 2 << 30
"""Bytes; a bigger file is not one of ours."""
KINDS = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64", torch.bool: "BOOL"}
"""How safetensors calls what a network holds."""


def save(path: str | Path, detector: Detector, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a network.

    Args:
        path: Where to.
        detector: Its parameters and config.
        metadata: What else to remember (training command, seed, metrics), as JSON holds it.

    Raises:
        OSError: It cannot be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous()
               for name, tensor in detector.state_dict().items()}
    notes = {"trained": True, **(metadata or {})}
    try:
        save_file(tensors, str(path), {"format": FORMAT, "metadata": json.dumps(notes),
                                       "config": json.dumps(to_dict(detector.config))})
    except SafetensorError as error:
        raise OSError(f"{path}: cannot be written ({error})") from None


def load(path: str | Path, device: torch.device | str = "cpu") -> Detector:
    """Rebuild a network from its file alone, in evaluation mode.

    Raises:
        OSError: There is no such file.
        ValueError: It is not one of this package, is damaged, or holds other tensors than its
            config asks for.
    """
    path = Path(path)
    path.open("rb").close()  # says in words of its own what is wrong with a path
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"{path}: is {path.stat().st_size} bytes; expected a weights file of at "
                         f"most {LARGEST_FILE}")
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            header = file.metadata() or {}
            config, notes = _read_header(path, header)
            with torch.device("meta"):  # a few bytes can ask for more than the memory holds
                asked = Detector(config).state_dict()
            _check_tensors(path, asked, {name: file.get_slice(name)
                                         for name in file.keys()})  # noqa: SIM118 - not a dict
            detector = untrained(config)
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


def _check_tensors(path: Path, asked: Mapping[str, Tensor], found: Mapping[str, Any]) -> None:
    """Hold the tensors of a file, not read yet, to what its config asks for."""
    expected = {name: (tuple(tensor.shape), KINDS[tensor.dtype]) for name, tensor in asked.items()}
    shapes = {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in found.items()}
    missing, unexpected = sorted(set(expected) - set(shapes)), sorted(set(shapes) - set(expected))
    if missing or unexpected:
        raise ValueError(f"{path}: does not fit its config; missing {_some(missing)}, unexpected "
                         f"{_some(unexpected)}")
    for name, (shape, kind) in expected.items():
        if shapes[name] != (shape, kind):
            raise ValueError(f"{path}: {name} has shape {shapes[name][0]}, {shapes[name][1]}; its "
                             f"config asks for {shape}, {kind}")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more or "none"
