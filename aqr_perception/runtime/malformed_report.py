"""What malformed messages cost: counted, in words, and against bounds. Pure."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

FLAT_MIB = 64.0
"""Memory may be higher by this at the end: what is free is not always given back."""
LONGEST_REASON = 110
REASONS = 15
"""So many are printed, the most frequent ones."""


@dataclass
class MalformedReport:
    """What malformed messages cost.

    Attributes:
        sent: How many, one a set.
        refused: Those that were not taken, or that their sensor was left out of its frame for.
        lost: Sets that gave no frame, though their cloud has a stamp.
        others: Frames in which another sensor was missing.
        reasons: How often each was given; see `pattern_of`.
        before_mib: Memory after the warm-up.
        after_mib: Memory at the end.
        same: Whether a good set gives the same detections as before.
    """

    sent: int = 0
    refused: int = 0
    lost: int = 0
    others: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    before_mib: float = 0.0
    after_mib: float = 0.0
    same: bool = False

    @property
    def grown_mib(self) -> float:
        """How much memory grew [MiB]."""
        return self.after_mib - self.before_mib


def figures(report: MalformedReport) -> dict[str, Any]:
    """The report as JSON holds it."""
    # Not asdict: it takes a Counter apart and counts the pairs.
    return {**vars(report), "reasons": dict(report.reasons)}


def pattern_of(reason: str) -> str:
    """A reason without what differs from message to message: sensor, numbers, what is quoted."""
    found = re.sub(r"^[^:' ]+: ", "", reason)
    found = re.sub(r"'[^']*'", "'…'", found)
    found = re.sub(r"[-+]?(\d[\d.,]*(e[-+]?\d+)?|\bnan\b|\binf\b)", "#", found)
    found = re.sub(r"#(, #)+", "#", found)
    return found if len(found) <= LONGEST_REASON else found[:LONGEST_REASON - 1] + "…"


def lines(report: MalformedReport) -> list[str]:
    """The report in words."""
    said = [f"{report.sent} malformed messages, one a set: {report.refused} refused, "
            f"{report.sent - report.refused} of use all the same; {report.lost} sets lost, "
            f"{report.others} frames without another sensor"]
    said += [f"{count:8d}  {reason}" for reason, count in report.reasons.most_common(REASONS)]
    if len(report.reasons) > REASONS:
        said.append(f"          and {len(report.reasons) - REASONS} other reasons")
    said.append(f"memory: {report.before_mib:.1f} MiB after the warm-up, {report.after_mib:.1f} at "
                f"the end ({report.grown_mib:+.1f})")
    if report.same:
        said.append("a good set gives the same detections as before")
    return said


def broken(report: MalformedReport) -> list[str]:
    """The bounds that do not hold, each in words."""
    found = []
    if report.lost:
        found.append(f"sets lost: {report.lost}")
    if report.others:
        found.append(f"frames without another sensor than the malformed one: {report.others}")
    if report.grown_mib > FLAT_MIB:
        found.append(f"memory grew by {report.grown_mib:.1f} MiB; at most {FLAT_MIB:g}")
    if not report.same:
        found.append("a good set does not give the same detections as before")
    return found
