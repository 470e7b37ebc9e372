"""The tree of frames over time, and the walk through it: names, nanoseconds and poses only."""

from __future__ import annotations

from collections.abc import Iterable

from . import frame_listing
from .exceptions import (
    ConnectivityException,
    ExtrapolationException,
    LookupException,
    TransformException,
)
from .frame_names import require_known, why_unknown
from .history import FrameHistory, StaticFrame
from .pose import IDENTITY, Pose, compose, inverse, normalized, with_sign_of_matrix

MAX_DEPTH = 1000  # links from a frame to its root; more are taken for a loop


class FrameTree:
    """Every frame's place in its parent, and from it the place of any in any other.

    Stamps are nanoseconds; zero asks for the latest that all links on the way share. Not for
    several threads at once.

    Attributes:
        frames: What is known of a frame, in the order of their first mention; None for a root.
    """

    def __init__(self, span: int) -> None:
        self._span = span
        self.frames: dict[str, FrameHistory | StaticFrame | None] = {}

    # ------------------------------------------------------------------ in

    def insert(self, child: str, parent: str, stamp: int, parent_from_child: Pose) -> bool:
        """Add a sample of a moving frame; one that was static begins anew.

        Returns:
            Whether the sample is recent enough to be of use.
        """
        history = self.frames.setdefault(child, None)
        self.frames.setdefault(parent, None)
        if not isinstance(history, FrameHistory):
            history = self.frames[child] = FrameHistory(self._span)
        return history.insert(stamp, (parent, parent_from_child))

    def insert_static(self, child: str, parent: str, parent_from_child: Pose) -> None:
        """Say for good where a frame is, whatever it was."""
        self.frames[child] = StaticFrame((parent, parent_from_child))
        self.frames.setdefault(parent, None)

    def clear(self) -> None:
        """Forget all samples of moving frames; names and static frames stay."""
        for history in self.frames.values():
            if history is not None:
                history.clear()

    # ------------------------------------------------------------------ out

    def lookup(self, target: str, source: str, stamp: int) -> tuple[int, Pose]:
        """The time and the transform target_from_source; a frame from itself need not exist.

        Raises:
            TransformException: There is none; the subclass and the message say why.
        """
        if target == source:
            history = self.frames.get(target)
            return (history.latest if stamp == 0 and history is not None else stamp), IDENTITY
        require_known(target, self.frames, "lookupTransform argument target_frame")
        require_known(source, self.frames, "lookupTransform argument source_frame")
        return self._walk(target, source, stamp)

    def lookup_full(self, target: str, target_stamp: int, source: str, source_stamp: int,
                    fixed: str) -> tuple[int, Pose]:
        """The same from one time to another, by way of a frame that stood still in between."""
        require_known(target, self.frames, "lookupTransform argument target_frame")
        require_known(source, self.frames, "lookupTransform argument source_frame")
        require_known(fixed, self.frames, "lookupTransform argument fixed_frame")
        _, fixed_from_source = self.lookup(fixed, source, source_stamp)
        stamp, target_from_fixed = self.lookup(target, fixed, target_stamp)
        return stamp, with_sign_of_matrix(
            compose(normalized(target_from_fixed), normalized(fixed_from_source)))

    def why_not(self, target: str, source: str, stamp: int) -> str | None:
        """What stands against ``lookup``, or None."""
        if target == source:
            return None
        return (why_unknown(target, self.frames, "canTransform argument target_frame")
                or why_unknown(source, self.frames, "canTransform argument source_frame")
                or self._obstacle(target, source, stamp))

    def why_not_full(self, target: str, target_stamp: int, source: str, source_stamp: int,
                     fixed: str) -> str | None:
        """What stands against ``lookup_full``, or None."""
        return (why_unknown(target, self.frames, "canTransform argument target_frame")
                or why_unknown(source, self.frames, "canTransform argument source_frame")
                or why_unknown(fixed, self.frames, "canTransform argument fixed_frame")
                or self._obstacle(target, fixed, target_stamp)
                or self._obstacle(fixed, source, source_stamp))

    def latest_common_time(self, target: str, source: str) -> int:
        """The earliest of the latest stamps on the way; zero where all of it is static.

        Raises:
            TransformException: Nothing connects the two.
        """
        if target == source:
            history = self.frames[target]
            return 0 if history is None else history.latest
        above_source = self._links_above(source, {target})
        if above_source and above_source[-1][0] == target:
            return _earliest(latest for _, latest in above_source)
        meeting = {parent for parent, _ in above_source} | {source}
        above_target = self._links_above(target, meeting)
        if not above_target or above_target[-1][0] not in meeting:
            raise _unconnected(target, source)
        common = above_target[-1][0]
        times = [latest for _, latest in above_target]
        if common != source:
            for parent, latest in above_source:
                times.append(latest)
                if parent == common:
                    break
        return _earliest(times)

    # ------------------------------------------------------------------ the walk

    def _obstacle(self, target: str, source: str, stamp: int) -> str | None:
        try:
            self._walk(target, source, stamp)
        except TransformException as reason:
            return str(reason)
        return None

    def _walk(self, target: str, source: str, stamp: int) -> tuple[int, Pose]:
        """Go up from the source, then from the target to where that ended, and compose.

        The way up from the source may end early, at the target, at a root, or where its data do:
        the target may still hang below that place. If it does not, the shortage is what is told.
        """
        if target == source:
            return stamp, IDENTITY
        if stamp == 0:
            stamp = self.latest_common_time(target, source)
        here, here_from_source, source_short = self._climb(source, {target}, stamp)
        if here == target:
            return stamp, here_from_source
        there, there_from_target, target_short = self._climb(target, {here, source}, stamp)
        if there == source:
            return stamp, inverse(there_from_target)
        if there == here:
            return stamp, compose(inverse(there_from_target), here_from_source)
        if source_short is None and target_short is None:
            raise _unconnected(target, source)
        # Of two shortages, tell of the one whose data reach further: the other's may never come.
        if target_short is None or (source_short is not None
                                    and source_short[1] >= target_short[1]):
            target_short = source_short
        assert target_short is not None
        raise ExtrapolationException(f"{target_short[0]}, when looking up transform from frame "
                                     f"[{source}] to frame [{target}]")

    def _climb(self, frame: str, ends: set[str],
               stamp: int) -> tuple[str, Pose, tuple[str, int] | None]:
        """Go up from a frame to one of the ends, to its root, or as far as there are data.

        Returns:
            The last frame, the transform last_from_first, and, where data ended, what is missing
            and the latest stamp that is there.
        """
        last_from_first = IDENTITY
        for _ in range(MAX_DEPTH + 1):
            history = self.frames[frame]
            if frame in ends or history is None:
                return frame, last_from_first, None
            try:
                parent, parent_from_frame = history.at(stamp)
            except ExtrapolationException as error:
                return frame, last_from_first, (str(error), history.latest)
            last_from_first = compose(parent_from_frame, last_from_first)
            frame = parent
        raise self._loop()

    def _links_above(self, frame: str, ends: set[str]) -> list[tuple[str, int]]:
        """The parents above a frame up to one of the ends, each with the link's latest stamp."""
        links: list[tuple[str, int]] = []
        while (history := self.frames[frame]) is not None and history.parent is not None:
            frame = history.parent
            links.append((frame, history.latest))
            if frame in ends:
                break
            if len(links) > MAX_DEPTH:
                raise self._loop()
        return links

    def _loop(self) -> LookupException:
        return LookupException("The tf tree is invalid because it contains a loop.\n"
                               + frame_listing.as_text(self.frames))


def _earliest(stamps: Iterable[int]) -> int:
    return min((stamp for stamp in stamps if stamp), default=0)


def _unconnected(target: str, source: str) -> ConnectivityException:
    return ConnectivityException(
        f"Could not find a connection between '{target}' and '{source}' because they are not part "
        "of the same tree.")
