"""Does the calibration fit? A number a camera over the last frames, and plain words."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np

from aqr_perception.runtime.edge_alignment import TURN_WORDS, EdgeSums, edge_sums
from aqr_perception.types import SensorFrame

WINDOW = 20
"""Frames that a number is taken over: a single one is noisy."""
ENOUGH_EDGES = 300
"""With fewer over the window, nothing is said of a camera."""
LEAST_RATIO = 1.04
"""Below it edges line up no better than by chance. With the right calibration, the cameras of four
simulated drives gave 1.12 and more, and 24 real pictures 1.07 and more, each by itself."""
LARGEST_GAIN = 1.15
"""A turned calibration that is better by more than this factor says that the present one is off.
With the right one, those drives gave 1.06 at most and the real pictures 1.12; turned by a degree to
the side, 1.33 and more, and 1.13 and more."""


@dataclass(frozen=True)
class Alignment:
    """How well the LiDAR's edges lie on a camera's.

    Attributes:
        ratio: Mean edge strength of the picture at the LiDAR's edges, over the same with the
            calibration turned by half a degree to two: above 1 they line up, 1 is chance. NaN
            where nothing can be said.
        share_worse: Share of those turns that fit worse, 0 to 1: 1 if none fits better, about 0.5
            if nothing is known.
        best_turn: The turn that fits best, see `edge_alignment.TURN_WORDS`.
        gain: How much better that one fits than the present calibration, as a factor.
        edges: Of the LiDAR that this was measured at.
    """

    ratio: float
    share_worse: float
    best_turn: str
    gain: float
    edges: int

    @property
    def known(self) -> bool:
        """Whether there was enough to measure at."""
        return self.edges >= ENOUGH_EDGES and self.ratio == self.ratio

    @property
    def problem(self) -> str:
        """In words what seems wrong; empty where nothing does, or nothing is known."""
        if not self.known:
            return ""
        if self.gain > LARGEST_GAIN:
            return f"seems off: points fit better {self.best_turn}"
        return "seems off: edges do not line up" if self.ratio < LEAST_RATIO else ""

    @property
    def words(self) -> str:
        """For a picture: the number, and what it means."""
        if not self.known:
            return f"edges: not known yet ({self.edges} of {ENOUGH_EDGES})"
        return (f"edges {self.ratio:.2f}, better than {self.share_worse:.0%} of turns: "
                f"{self.problem or 'fits'}")


@dataclass(frozen=True)
class CalibrationReport:
    """What the diagnostics say of the calibration.

    Attributes:
        alignments: By the cameras' names, over the last frames.
        took_ms: To measure and draw the last of them [ms].
    """

    alignments: Mapping[str, Alignment]
    took_ms: float


def alignment_of(sums: EdgeSums) -> Alignment:
    """Compare the calibration with the turned ones."""
    mean = sums.strength / np.maximum(sums.count, 1)
    present, turned = float(mean[0]), mean[1:]
    best = int(turned.argmax())
    edges = int(sums.count[0])
    if present <= 0 or not turned.all():  # a black picture, or nothing in it
        return Alignment(float("nan"), 0.5, TURN_WORDS[best], 1.0, edges)
    return Alignment(present / float(turned.mean()), float((turned < present).mean()),
                     TURN_WORDS[best], float(turned[best]) / present, edges)


class CalibrationCheck:
    """Measures frame by frame and keeps the last `WINDOW`; for one thread."""

    def __init__(self) -> None:
        self._frames: deque[Mapping[str, EdgeSums]] = deque(maxlen=WINDOW)

    def add(self, frame: SensorFrame) -> dict[str, Alignment]:
        """Measure a frame.

        Args:
            frame: Without a LiDAR or a camera, there is nothing of that camera in it.

        Returns:
            By the cameras' names, over the last frames; those seen in none are left out.
        """
        cloud = frame.lidar
        self._frames.append({} if cloud is None else {
            image.name: edge_sums(image, cloud) for image in frame.images if image is not None})
        found = {}
        for name in frame.camera_names:
            sums = [measured[name] for measured in self._frames if name in measured]
            if sums:
                found[name] = alignment_of(reduce(add, sums))
        return found
