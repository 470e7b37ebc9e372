"""Files of an experiment that it goes on from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aqr_perception.model import checkpoint
from aqr_perception.recordings.json_file import read_json


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a file that appears whole or not at all, whoever else writes it."""
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(values, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def hold_to(path: Path, fixed: Mapping[str, Any]) -> None:
    """Write settings down, or compare them with those that are.

    Raises:
        ValueError: Others are.
    """
    if not path.exists():
        write_json(path, fixed)
        return
    compare(path.parent, "folder", read_json(path), fixed)


def compare(where: Path, kind: str, before: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
    """Compare settings of a run with those that it was done with, as JSON holds them.

    Args:
        where: What holds the run.
        kind: Whether that is a ``folder`` or a ``file``.
        before: Its settings.
        fixed: Those that it should have.

    Raises:
        ValueError: They differ.
    """
    fixed = json.loads(json.dumps(fixed))
    for name in sorted(fixed.keys() | before.keys()):
        if fixed.get(name) != before.get(name):
            raise ValueError(f"{where}: holds a run with {name} = {before.get(name)!r}, this one "
                             f"has {fixed.get(name)!r}; use another {kind}, or the same "
                             "settings")


def digest(path: Path | None) -> str:
    """Of a weights file; None: of the one that ships. ``random`` where there is none."""
    path = path or checkpoint.SHIPPED
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "random"
