"""Where things are and go."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
VENV = Path(os.environ.get("AQR_VENV") or REPOSITORY / ".venv").absolute()
UNDERLAY = Path(os.environ.get("AQR_UNDERLAY") or REPOSITORY / ".underlay").absolute()

PYTHON = VENV / "bin" / "python"
PREFIX = UNDERLAY / "install"
STAMPS = UNDERLAY / "stamps"
LOG = UNDERLAY / "bootstrap.log"
REQUIREMENTS = REPOSITORY / "requirements"
OWN_PLACES = (str(REPOSITORY), str(VENV), str(UNDERLAY))
