"""Which frames of training are spoiled, and how: it follows from the seed and the position alone.

Some faults come as matched pairs: positions 2i and 2i + 1 then take the same frame, augmented
alike, with faults that look alike in one frame (`simulation.faults.MATCHED_PAIRS`). They differ in
who is wrong and in nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aqr_perception.simulation.fault_labels import FaultLabels
from aqr_perception.simulation.faults import FAULTS, MATCHED_PAIRS, SEVERITIES, apply
from aqr_perception.types import Annotations, SensorFrame

HELD_OUT = ("camera_swapped", "camera_white", "lidar_empty")
"""Faults that training does not see unless told to, so that figures on them are of the unknown: one
of what pictures show, one of where, and one of the LiDAR."""

LONGEST_PAST = 5
"""Frames before that a fault may draw on: 2 s of old data at 2 Hz, seen from the frame before."""

REMOVING = frozenset(("lidar_empty", *(name for name, fault in FAULTS.items() if fault.flagged)))
"""Faults that may leave a sensor without any data."""


@dataclass(frozen=True)
class FaultSampling:
    """How often frames are spoiled, and by what.

    Attributes:
        share: Of the frames, 0 to 1; the others stay clean. A fault that shows old data does
            nothing to the first frame of a drive.
        matched: Share of the spoiled frames that come as matched pairs.
        persisting: Share of the spoiled frames whose frame before is spoiled alike; before the
            others all was well.
        ended: Share of them whose frame before alone is spoiled, so that all is well again; at most
            what `persisting` leaves.
        faults: Names to draw from.
        held_out: Names that are not drawn all the same.
        severities: To draw from.
    """

    share: float = 0.0
    matched: float = 0.25
    persisting: float = 0.5
    ended: float = 0.0
    faults: tuple[str, ...] = tuple(FAULTS)
    held_out: tuple[str, ...] = HELD_OUT
    severities: tuple[int, ...] = SEVERITIES

    def __post_init__(self) -> None:
        for name in ("share", "matched", "persisting", "ended"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"faults.{name} is {getattr(self, name)}; expected 0 to 1")
        if self.persisting + self.ended > 1.0:
            raise ValueError(f"faults.persisting is {self.persisting}, ended {self.ended}; "
                             "expected at most 1 together")
        for name in (*self.faults, *self.held_out):
            if name not in FAULTS:
                raise ValueError(f"there is no fault '{name}'; expected some of "
                                 f"{', '.join(FAULTS)}")
        if not self.severities or not set(self.severities) <= set(SEVERITIES):
            raise ValueError(f"faults.severities is {list(self.severities)}; expected some of 1, "
                             "2, 3")
        if self.share and not set(self.drawn) - REMOVING:
            raise ValueError("faults: none of those to draw from leaves every sensor some data; "
                             "expected one that does")

    @property
    def drawn(self) -> tuple[str, ...]:
        """Names that are drawn."""
        return tuple(name for name in self.faults if name not in self.held_out)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Matched pairs both of whose faults are drawn."""
        return tuple(pair for pair in MATCHED_PAIRS if set(pair) <= set(self.drawn))


@dataclass(frozen=True)
class Spoiling:
    """What happens to one position of training.

    Attributes:
        position: Whose frame and augmentation it takes: its own, or its twin's.
        fault: ``none``, or a name.
        severity: 0, or 1 to 3.
        persisting: The frame before is spoiled alike.
        ended: That one alone is.
    """

    position: int
    fault: str = "none"
    severity: int = 0
    persisting: bool = False
    ended: bool = False

    @property
    def past(self) -> int:
        """How many frames before the fault draws on, seen from the frame before."""
        return LONGEST_PAST if self.fault != "none" and FAULTS[self.fault].needs_history else 0


class FaultSampler:
    """Draws the spoiling of each position.

    Args:
        settings: How often and what.
        seed: Source of every draw.
        whole_every: In one position of so many, no fault takes all data of a sensor away
            (`Augmentation.whole_every`).
    """

    def __init__(self, settings: FaultSampling, seed: int, whole_every: int) -> None:
        self.settings = settings
        self.seed = seed
        self.whole_every = whole_every
        matched = settings.matched if settings.pairs else 0.0
        self._twins = settings.share * matched
        rest = settings.share * (1 - matched)
        self._alone = rest / (1 - self._twins) if rest else 0.0

    def draw(self, position: int) -> Spoiling:
        """What happens to a position."""
        settings = self.settings
        first, second = divmod(position, 2)
        rng = np.random.default_rng([self.seed, 2, first])
        if rng.random() < self._twins:
            names = settings.pairs[rng.integers(len(settings.pairs))]
            return self._spoiling(2 * first, names[second], rng)
        rng = np.random.default_rng([self.seed, 3, position])
        if rng.random() >= self._alone:
            return Spoiling(position)
        choices = [name for name in settings.drawn
                   if position % self.whole_every or name not in REMOVING]
        return self._spoiling(position, choices[rng.integers(len(choices))], rng)

    def _spoiling(self, position: int, fault: str, rng: np.random.Generator) -> Spoiling:
        severity = self.settings.severities[rng.integers(len(self.settings.severities))]
        when = rng.random()
        return Spoiling(position, fault, severity, bool(when < self.settings.persisting),
                        bool(when >= 1.0 - self.settings.ended))

    def spoil(self, how: Spoiling, frames: Sequence[SensorFrame], annotations: Annotations
              ) -> tuple[SensorFrame, FaultLabels, SensorFrame | None]:
        """Spoil the last of some frames, and the one before it if the fault persists, or that alone
        if it has ended.

        Args:
            how: What `draw` returned.
            frames: Consecutive frames, oldest first; none is changed.
            annotations: The truth about the last one.

        Returns:
            The frame, what is wrong with it, and the frame before; None where there is none.
        """
        def draws(past: int) -> np.random.Generator:
            # The same ones for both, so the same cameras are hit, unless chance hits each time.
            own = [past] if past and how.fault != "none" and FAULTS[how.fault].by_chance else []
            return np.random.default_rng([self.seed, 4, how.position, *own])

        fault = "none" if how.ended else how.fault
        frame, labels = apply(fault, how.severity, frames, draws(0), annotations)
        before = frames[-2] if len(frames) > 1 else None
        if before is not None and (how.persisting or how.ended):
            before, _ = apply(how.fault, how.severity, frames[:-1], draws(1))
        return frame, labels, before
