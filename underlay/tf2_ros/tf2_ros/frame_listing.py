"""The frames of a buffer as text, in the two formats that tools of tf2 read."""

from __future__ import annotations

from collections.abc import Mapping

from .history import FrameHistory, StaticFrame, seconds

Frames = Mapping[str, FrameHistory | StaticFrame | None]

SHORTEST_SPAN_NS = 100_000  # a single sample counts as spread over this: 10 kHz


def as_text(frames: Frames) -> str:
    """One line a frame: its name and its parent, ``NO_PARENT`` after all of it is forgotten."""
    return "".join(f"Frame {name} exists with parent {history.parent or 'NO_PARENT'}.\n"
                   for name, history in frames.items() if history is not None)


def as_yaml(frames: Frames, authorities: Mapping[str, str]) -> str:
    """A mapping a frame, as the service ``tf2_frames`` answers and ``view_frames`` reads."""
    if not frames:
        return "[]"
    return "".join(_entry(name, history, authorities.get(name, "no recorded authority"))
                   for name, history in frames.items()
                   if history is not None and history.parent is not None)


def _entry(name: str, history: FrameHistory | StaticFrame, authority: str) -> str:
    span = history.latest - history.oldest
    rate = len(history) * 1e9 / max(span, SHORTEST_SPAN_NS)
    return (f"{name}: \n"
            f"  parent: '{history.parent}'\n"
            f"  broadcaster: '{authority}'\n"
            f"  rate: {rate:.3f}\n"
            f"  most_recent_transform: {seconds(history.latest)}\n"
            f"  oldest_transform: {seconds(history.oldest)}\n"
            f"  buffer_length: {span / 1e9:.3f}\n")
