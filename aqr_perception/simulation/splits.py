"""Which seeds are for what. Training never sees the held-out ones; they are fixed for good."""

from __future__ import annotations

VALIDATION = range(900_000, 900_010)
"""Drives to choose settings with."""
HELD_OUT = range(1_000_000, 1_000_020)
"""Drives that every published figure is measured on."""
HELD_OUT_FRAMES = 10
"""Frames of each of them: 200 in all."""
SWEEPS = 4
"""Sweeps in each of their clouds, and in those of training."""
TRAIN = range(0, VALIDATION.start)
"""Every seed below is free for training."""


def training_seeds(first: int, count: int) -> range:
    """Seeds for training.

    Raises:
        ValueError: They are none, below 0, or reach into those that are kept apart.
    """
    if count < 1 or first < TRAIN.start or first + count > TRAIN.stop:
        raise ValueError(f"seeds {first} to {first + count - 1}; expected at least one, between 0 "
                         f"and {TRAIN.stop - 1}: those above are kept for validation and for the "
                         "published figures")
    return range(first, first + count)
