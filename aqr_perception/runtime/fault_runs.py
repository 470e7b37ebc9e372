"""Detectors side by side on the same drive: one sees it as it is, the others under faults.

A frame is read once; every fault is applied to it in turn. Each setting has a detector of its own,
since what a detector remembers of the frame before is what that setting showed it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from aqr_perception.simulation.faults import FAULTS, MULTICORRUPT, SEVERITIES, apply
from aqr_perception.types import Annotations, Controls, SensorFrame

HISTORY_S = 2.5
"""How far back frames are kept [s]: the oldest data that a fault shows is 2 s old."""
GROUPS = {"multicorrupt": MULTICORRUPT}
"""Names that stand for several faults."""

Result = TypeVar("Result", covariant=True)


class Detects(Protocol[Result]):
    """What is needed of a detector; `runtime.pipeline.DetectionPipeline` is one."""

    def __call__(self, frame: SensorFrame, controls: Controls, /) -> Result:
        """Look at one frame."""

    def reset(self) -> None:
        """Forget earlier frames."""


@dataclass(frozen=True)
class Setting:
    """What a detector is shown.

    Attributes:
        fault: Of `simulation.faults`, or ``none``.
        severity: 1 to 3; 0 without a fault.
    """

    fault: str = "none"
    severity: int = 0


CLEAN = Setting()


def settings_of(names: Sequence[str], severities: Sequence[int]) -> list[Setting]:
    """Every fault at every severity.

    Args:
        names: Faults, or ``multicorrupt`` for its ten; none for all that there are.
        severities: Of 1 to 3; each once.

    Raises:
        ValueError: There is no such fault or severity.
    """
    wrong = [value for value in severities if value not in SEVERITIES]
    if wrong or not severities:
        raise ValueError(f"severity is {wrong[0] if wrong else 'not given'}; expected some of "
                         f"{', '.join(map(str, SEVERITIES))}")
    faults: list[str] = []
    for name in names or FAULTS:
        if name not in FAULTS and name not in GROUPS:
            raise ValueError(f"fault is '{name}'; expected some of {', '.join(GROUPS)}, "
                             f"{', '.join(FAULTS)}")
        faults += GROUPS.get(name, (name,))
    return [Setting(fault, severity) for fault in dict.fromkeys(faults)
            for severity in sorted(set(severities))]


class FaultRuns(Generic[Result]):
    """Shows the frames of drives to one detector a setting.

    What a fault draws follows from the seed and the frame's number alone: it is the same for all
    faults and severities, so that twins (`simulation.faults.MATCHED_PAIRS`) differ in who is wrong
    and in nothing else.

    Args:
        make: Makes a detector; called once a setting.
        settings: What to show.
        controls: Of every frame.
        see: What the detectors are shown of a frame, after the fault; all of it unless told.
        seed: Of the draws.
    """

    def __init__(self, make: Callable[[], Detects[Result]], settings: Sequence[Setting],
                 controls: Controls,
                 see: Callable[[SensorFrame], SensorFrame] = lambda frame: frame,
                 seed: int = 0) -> None:
        self._detectors = {setting: make() for setting in settings}
        self._controls = controls
        self._see = see
        self._seed = seed
        self._keeps = any(FAULTS[setting.fault].needs_history for setting in settings
                          if setting != CLEAN)
        self._past: list[SensorFrame] = []

    def start_drive(self) -> None:
        """The next frame follows none."""
        self._past.clear()
        for detector in self._detectors.values():
            detector.reset()

    def pass_by(self, frame: SensorFrame) -> None:
        """Let a frame go that is not looked at; later frames may still show what it holds."""
        if self._keeps:
            self._past = [*self._recent(frame), frame]

    def __call__(self, frame: SensorFrame, truth: Annotations, number: int
                 ) -> Iterator[tuple[Setting, Result]]:
        """Look at the next frame under every setting.

        Args:
            frame: As it was recorded.
            truth: About it; faults of objects use it.
            number: Of the frame in its source, for the draws.
        """
        frames = [*self._recent(frame), frame]
        for setting, detector in self._detectors.items():
            shown = frame
            if setting != CLEAN:
                rng = np.random.default_rng([self._seed, number])
                shown, _ = apply(setting.fault, setting.severity, frames, rng, truth)
            yield setting, detector(self._see(shown), self._controls)
        self.pass_by(frame)

    def _recent(self, frame: SensorFrame) -> list[SensorFrame]:
        """What is kept and lies before a frame, but not too far: a recording may jump."""
        return [past for past in self._past
                if 0 < frame.stamp_ns - past.stamp_ns <= HISTORY_S * 1e9]
