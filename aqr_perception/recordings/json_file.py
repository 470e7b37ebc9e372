"""JSON objects from files that somebody else wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LARGEST_JSON = 64 << 20
"""Bytes; the truth of one frame is some thousands."""


def read_json(path: Path) -> Mapping[str, Any]:
    """Read a JSON object of bounded size.

    Raises:
        OSError: There is no such file.
        ValueError: It is too large, no JSON, or no object.
    """
    size = path.stat().st_size
    if size > LARGEST_JSON:
        raise ValueError(f"{path}: is {size} bytes; expected JSON of at most {LARGEST_JSON}")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # also bytes that are no UTF-8
        raise ValueError(f"{path}: is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise ValueError(f"{path}: holds a {type(document).__name__}; expected an object")
    return document
