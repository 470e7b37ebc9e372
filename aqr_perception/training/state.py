"""The whole state of a run on disk, as tensors and JSON: a run goes on as if it had not stopped."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

FORMAT = "aqr_perception training state 1"


def save_state(path: Path, model: torch.nn.Module, average: torch.nn.Module | None,
               optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, step: int,
               settings: dict[str, Any]) -> None:
    """Write weights, their average, Adam's moments, loss scale, random states and step number.

    The file appears whole or not at all: it is written beside its place and renamed.

    Args:
        path: A ``.safetensors`` file.
        model: The network in training.
        average: Its moving average, if there is one.
        optimizer: AdamW over the network's parameters.
        scaler: Of the loss, in half precision on a GPU.
        step: Number of the next step.
        settings: What the run was started with; a run with others cannot resume from it.

    Raises:
        OSError: It cannot be written.
    """
    tensors: dict[str, Tensor] = {f"model.{key}": value for key, value
                                  in model.state_dict().items()}
    if average is not None:
        tensors |= {f"average.{key}": value for key, value in average.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": torch.as_tensor(value)
                    for key, value in moments.items()}
    tensors["random"] = torch.get_rng_state()
    if torch.cuda.is_initialized():  # dropout on a GPU goes on from its own
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    metadata = {"format": FORMAT, "step": str(step), "settings": json.dumps(settings),
                "scaler": json.dumps(scaler.state_dict())}
    partial = path.with_suffix(".partial")
    try:
        save_file({key: value.detach().cpu().contiguous().clone()
                   for key, value in tensors.items()}, partial, metadata)
    except SafetensorError as error:
        raise OSError(f"{path}: cannot be written ({error})") from None
    os.replace(partial, path)


def load_state(path: Path, model: torch.nn.Module, average: torch.nn.Module | None,
               optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler,
               settings: dict[str, Any]) -> int:
    """Read what `save_state` wrote.

    Returns:
        The number of the next step.

    Raises:
        OSError: It cannot be read.
        ValueError: The file is damaged, not such a state, or belongs to a run with other settings.
    """
    tensors, metadata = _read(path, settings)
    model.load_state_dict(_below(tensors, "model."))
    if average is not None:
        average.load_state_dict(_below(tensors, "average."))
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in _below(tensors, "optimizer.").items():
        index, name = key.split(".", 1)
        moments.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": moments,
                               "param_groups": optimizer.state_dict()["param_groups"]})
    if scaling := json.loads(metadata.get("scaler", "{}")):
        scaler.load_state_dict(scaling)
    torch.set_rng_state(tensors["random"])
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"])
    return int(metadata["step"])


def _read(path: Path, settings: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a state that belongs to a run with these settings, and its metadata."""
    path.open("rb").close()  # says in words of its own what is wrong with a path
    try:
        return _read_safetensors(path, settings)
    except SafetensorError as error:
        raise ValueError(f"{path}: is damaged ({error}); remove it to start again, or take another "
                         "folder") from None


def _read_safetensors(path: Path, settings: dict[str, Any]
                      ) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise ValueError(f"{path}: is not the state of a training run; expected "
                             f"'{FORMAT}' in its metadata")
        saved = json.loads(metadata["settings"])
        for name in sorted(saved.keys() | settings.keys()):
            if saved.get(name) != settings.get(name):
                raise ValueError(f"{path}: belongs to a run with {name} = {saved.get(name)!r}, "
                                 f"this one has {settings.get(name)!r}; use another folder, or "
                                 "the same settings")
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    return tensors, metadata


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix):]: value for key, value in tensors.items() if key.startswith(prefix)}
