"""One short drive, rendered once, for all tests that need an ordinary one."""

from __future__ import annotations

import pytest

from aqr_perception.simulation.drive import DriveSettings, Frame, simulate_drive
from aqr_perception.simulation.rig import load_rig

SEED = 5
FRAMES = 3


@pytest.fixture(scope="session")
def drive() -> list[Frame]:
    """Three frames at 2 Hz, pictures of 176×64."""
    return list(simulate_drive(SEED, FRAMES, load_rig().resized(176, 64), DriveSettings()))
