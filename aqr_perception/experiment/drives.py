"""Drives to train on and drives to measure on; none of them is both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from aqr_perception.simulation.cache import DriveFolder

TRAIN, HELD_OUT = "train", "held_out"


@dataclass(frozen=True)
class Drives:
    """Both sets.

    Attributes:
        train: To learn from.
        held_out: To measure on.
    """

    train: DriveFolder
    held_out: DriveFolder

    @staticmethod
    def open(folder: Path) -> Drives:
        """Open ``folder/train`` and ``folder/held_out``.

        Raises:
            OSError: One is not there.
            ValueError: One holds no drive, or a drive is in both.
        """
        for name, make in ((TRAIN, "--drives 500 --frames 4"), (HELD_OUT, "--held-out")):
            if not (folder / name).is_dir():
                raise FileNotFoundError(2, f"no such folder; make it with 'simulate "
                                        f"{folder / name} {make}'", str(folder / name))
        drives = Drives(DriveFolder(folder / TRAIN), DriveFolder(folder / HELD_OUT))
        both = _seeds(drives.train) & _seeds(drives.held_out)
        if both:
            raise ValueError(f"{folder}: the drive of seed {min(both)} is in {TRAIN} and in "
                             f"{HELD_OUT}; expected no drive in both")
        return drives


def digest(folder: Path) -> str:
    """Of what both sets hold: seeds, settings and lengths of their drives, from which all follows.

    Raises:
        OSError, ValueError: See `Drives.open`.
    """
    return _digest(folder, tuple(sorted(
        (str(path), path.stat().st_size, path.stat().st_mtime_ns)
        for name in (TRAIN, HELD_OUT) for path in (folder / name).glob("*"))))


@lru_cache(maxsize=4)
def _digest(folder: Path, files: tuple[tuple[str, int, int], ...]) -> str:
    """Of a folder while its files are these; each of a hundred jobs asks for it."""
    drives = Drives.open(folder)
    said = [[{"frames": drive.frames, **drive.info} for drive in part.drives]
            for part in (drives.train, drives.held_out)]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _seeds(drives: DriveFolder) -> set[int]:
    return {int(drive.info["seed"]) for drive in drives.drives if "seed" in drive.info}


def chosen_frames(lengths: Sequence[int], count: int) -> list[tuple[int, int]]:
    """Which frames to look at: the last ones of each drive, as many of each as of the others.

    The last ones have a past, which faults that show old data need; and fewer frames are a part of
    more frames.

    Args:
        lengths: Of the drives.
        count: How many; fewer where there are not so many.

    Returns:
        Number of the drive and of the frame in it, in order.
    """
    taken = [0] * len(lengths)
    left = min(count, sum(lengths))
    while left:
        for drive, length in enumerate(lengths):
            if left and taken[drive] < length:
                taken[drive] += 1
                left -= 1
    return [(drive, frame) for drive, length in enumerate(lengths)
            for frame in range(length - taken[drive], length)]
