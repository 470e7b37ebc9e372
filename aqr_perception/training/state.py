"""The whole state of a run on disk, as tensors and JSON: a run goes on as if it had not stopped."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

FORMAT = "aqr_perception training state 1"


def save_state(path: Path, model: torch.nn.Module, average: torch.nn.Module | None,
               optimizer: torch.optim.Optimizer, step: int, settings: dict[str, Any]) -> None:
    """Write weights, their average, Adam's moments, the random state and the step number.

    The file appears whole or not at all: it is written beside its place and renamed.

    Args:
        path: A ``.safetensors`` file.
        model: The network in training.
        average: Its moving average, if there is one.
        optimizer: AdamW over the network's parameters.
        step: Number of the next step.
        settings: What the run was started with; a run with others cannot resume from it.
    """
    tensors: dict[str, Tensor] = {f"model.{key}": value for key, value
                                  in model.state_dict().items()}
    if average is not None:
        tensors |= {f"average.{key}": value for key, value in average.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": torch.as_tensor(value)
                    for key, value in moments.items()}
    tensors["random"] = torch.get_rng_state()
    metadata = {"format": FORMAT, "step": str(step), "settings": json.dumps(settings)}
    partial = path.with_suffix(".partial")
    save_file({key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()},
              partial, metadata)
    os.replace(partial, path)


def load_state(path: Path, model: torch.nn.Module, average: torch.nn.Module | None,
               optimizer: torch.optim.Optimizer, settings: dict[str, Any]) -> int:
    """Read what `save_state` wrote.

    Returns:
        The number of the next step.

    Raises:
        ValueError: The file is not such a state, or belongs to a run with other settings.
    """
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
    model.load_state_dict(_below(tensors, "model."))
    if average is not None:
        average.load_state_dict(_below(tensors, "average."))
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in _below(tensors, "optimizer.").items():
        index, name = key.split(".", 1)
        moments.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": moments,
                               "param_groups": optimizer.state_dict()["param_groups"]})
    torch.set_rng_state(tensors["random"])
    return int(metadata["step"])


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix):]: value for key, value in tensors.items() if key.startswith(prefix)}
