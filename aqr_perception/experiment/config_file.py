"""An experiment from its YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from aqr_perception.experiment.config import ExperimentConfig, RunConfig
from aqr_perception.model.config import Config, from_dict

LARGEST_FILE = 1 << 20
"""Bytes of a YAML file; ours has a few thousand."""


def load_config(path: str | Path) -> ExperimentConfig:
    """Read an experiment.

    Raises:
        OSError: There is no such file.
        ValueError: It is no YAML, or a field is unknown or does not fit.
    """
    path = Path(path)
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"{path}: is {path.stat().st_size} bytes; expected at most {LARGEST_FILE}")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is not YAML: {error}") from None
    return config_of(values, str(path))


def config_of(values: Mapping[str, Any], where: str = "experiment") -> ExperimentConfig:
    """An experiment from the content of a YAML file.

    Args:
        values: The file's mapping.
        where: What to call it in an error.

    Raises:
        ValueError: A field is unknown or does not fit.
    """
    runs = values.get("runs") if isinstance(values, Mapping) else None
    if not isinstance(runs, Mapping) or not runs:
        raise ValueError(f"{where}: has no runs; expected a mapping of at least one by name")
    for name, run in runs.items():  # once more below; here an error says which run it is of
        _labelled(RunConfig, run, f"{where}: runs.{name}")
    return _labelled(ExperimentConfig, values, where)


def _labelled(kind: type[Config], values: Any, where: str) -> Config:
    """`from_dict` whose errors all begin with where they are."""
    try:
        return from_dict(kind, values, where)
    except ValueError as error:
        message = str(error)
        raise ValueError(message if message.startswith(where) else f"{where}: {message}") from None
