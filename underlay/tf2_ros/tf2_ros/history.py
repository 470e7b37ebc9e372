"""What is known of one frame: its parent and its place there, over time or for good."""

from __future__ import annotations

from bisect import bisect_right

from .exceptions import ExtrapolationException
from .pose import Pose, interpolate

Sample = tuple[str, Pose]
"""The parent of a frame, and the transform parent_from_frame."""


def seconds(stamp: int) -> str:
    """Nanoseconds as the text of seconds that messages carry."""
    whole, rest = divmod(stamp, 10**9)
    return f"{whole + 1e-9 * rest:.6f}"


class FrameHistory:
    """The samples of a moving frame, as far back from the latest as the span.

    Stamps are nanoseconds. Zero asks for the latest.

    Attributes:
        samples: The samples by rising stamp; of equal stamps the one that came last is the last.
    """

    def __init__(self, span: int) -> None:
        self._span = span
        self._stamps: list[int] = []
        self.samples: list[Sample] = []

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def latest(self) -> int:
        """The last stamp, or zero."""
        return self._stamps[-1] if self._stamps else 0

    @property
    def oldest(self) -> int:
        """The first stamp, or zero."""
        return self._stamps[0] if self._stamps else 0

    @property
    def parent(self) -> str | None:
        """The parent as of the last stamp."""
        return self.samples[-1][0] if self.samples else None

    def clear(self) -> None:
        """Forget all."""
        self._stamps.clear()
        self.samples.clear()

    def insert(self, stamp: int, sample: Sample) -> bool:
        """Add a sample, unless the very same is there.

        What is too old is forgotten before, not after: the oldest sample may lie further back than
        the span by one step, and stays usable until the next one comes.

        Returns:
            Whether the stamp is recent enough to be of use.
        """
        stamps, samples = self._stamps, self.samples
        if stamps:
            horizon = stamps[-1] - self._span
            if stamps[0] < horizon:
                stale = 1
                while stamps[stale] < horizon:
                    stale += 1
                del stamps[:stale], samples[:stale]
            if stamp < horizon:
                return False
        place = bisect_right(stamps, stamp)
        equal = place
        while equal and stamps[equal - 1] == stamp:
            equal -= 1
        if sample not in samples[equal:place]:
            stamps.insert(place, stamp)
            samples.insert(place, sample)
        return True

    def at(self, stamp: int) -> Sample:
        """The sample at a stamp, interpolated where its neighbours have one parent.

        Raises:
            ExtrapolationException: The stamp is before the first, after the last, or not that of
                the only sample.
        """
        stamps, samples = self._stamps, self.samples
        if not stamps:
            raise ExtrapolationException(
                f"Lookup would require extrapolation at time {seconds(stamp)}, but the buffer is "
                "empty")
        if stamp == 0 or stamp == stamps[-1]:
            return samples[-1]
        if stamp == stamps[0]:
            return samples[0]
        if len(stamps) == 1:
            raise ExtrapolationException(
                f"Lookup would require extrapolation at time {seconds(stamp)}, but only time "
                f"{seconds(stamps[0])} is in the buffer")
        if stamp > stamps[-1]:
            raise ExtrapolationException(
                f"Lookup would require extrapolation into the future.  Requested time "
                f"{seconds(stamp)} but the latest data is at time {seconds(stamps[-1])}")
        if stamp < stamps[0]:
            raise ExtrapolationException(
                f"Lookup would require extrapolation into the past.  Requested time "
                f"{seconds(stamp)} but the earliest data is at time {seconds(stamps[0])}")
        after = bisect_right(stamps, stamp)
        before = after - 1
        older, newer = samples[before], samples[after]
        if older[0] != newer[0]:
            return older
        ratio = (stamp - stamps[before]) / (stamps[after] - stamps[before])
        return older[0], interpolate(older[1], newer[1], ratio)


class StaticFrame:
    """The one sample of a frame that does not move; it is good for every stamp."""

    latest = oldest = 0

    def __init__(self, sample: Sample) -> None:
        self._sample = sample

    def __len__(self) -> int:
        return 1

    @property
    def parent(self) -> str:
        """The parent."""
        return self._sample[0]

    def clear(self) -> None:
        """Forget nothing: what is static outlives a jump of the clock."""

    def at(self, stamp: int) -> Sample:
        """The sample."""
        return self._sample
