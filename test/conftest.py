"""Where tests find real recordings and reference vectors; both may be absent, then tests skip."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def _folder(variable: str, default: Path, what: str) -> Path:
    folder = Path(os.environ.get(variable, default))
    if not folder.is_dir():
        pytest.skip(f"{what} are not on this machine (set {variable} to their folder)")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real sensor recordings."""
    return _folder("AQR_TEST_DATA", REPOSITORY.parent / "shared" / "data", "real recordings")


@pytest.fixture(scope="session")
def shared_reference() -> Path:
    """Folder of reference vectors of the published networks."""
    return _folder("AQR_TEST_REFERENCE", REPOSITORY.parent / "shared" / "reference",
                   "reference vectors")
