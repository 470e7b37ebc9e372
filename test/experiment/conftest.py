from __future__ import annotations

from pathlib import Path

import pytest
from training_frames import make_drive, small_config

from aqr_perception.model.checkpoint import save, untrained
from aqr_perception.simulation.cache import drive_path, write_drive


@pytest.fixture(scope="session")
def drives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up drives to learn from and to measure on, and thin weights beside them."""
    folder = tmp_path_factory.mktemp("experiment")
    for name, seeds in (("train", (0, 1)), ("held_out", (1_000_000, 1_000_001))):
        for seed in seeds:
            write_drive(drive_path(folder / name, seed), make_drive(seed, 4), {"seed": seed})
    save(folder / "weights.safetensors", untrained(small_config()), {"trained": False})
    return folder
