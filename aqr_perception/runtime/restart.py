"""Notices from stamps alone that a recording starts again. Pure: time is an argument.

A message that came twice or was overtaken also has an old stamp, however late it comes. It is told
from a new round so:

- A round begins when for a while no sensor's stamp went on, and then one is clearly older than its
  sensor's newest: near the first one of the round (the recording begins again) or so far back that
  no message can be that late (somebody went back in it).
- The stamp of the newest message once more is a duplicate. Only where no sensor has shown a second
  stamp, it is a round: a recording of a single frame has no other.
- A stamp very far back begins a round at once: it is of another recording, or of another clock.
- So do a few messages of one sensor that go on among themselves, later than a message can be behind
  its newest: its clock was set back, or a stamp ahead of its time went before.
"""

from __future__ import annotations

MILLISECOND = 1_000_000
IDLE_NS = 50 * MILLISECOND
"""No stamp was newer than all before for this long."""
CLEARLY_NS = 40 * MILLISECOND
"""Further back than this is clearly older: longer than a sweep's or an exposure's jitter, shorter
than the period of a camera at 20 Hz."""
BEGINNING_NS = 300 * MILLISECOND
"""So much of the beginning may be lost."""
LATEST_NS = 1_000 * MILLISECOND
"""No message is later than this."""
FAR_BACK_NS = 5_000 * MILLISECOND
"""A stamp this far back begins a round at once."""
FOLLOWING = 4
"""So many messages of a sensor that go on behind its newest stamp begin a round."""
NOT_AGAIN_NS = 1_000 * MILLISECOND
"""But not sooner than this after the last start: two clocks on one topic do not count each time."""


class RestartWatch:
    """Follows the stamps of several sensors; the rule is the module's.

    Args:
        sensors: How many.
    """

    def __init__(self, sensors: int) -> None:
        self._first: list[int | None] = [None] * sensors
        self._newest: list[int | None] = [None] * sensors
        self._behind: list[tuple[int, int]] = [(0, 0)] * sensors
        """How many messages went on behind the newest, and the stamp of the last of them."""
        self._progress_ns = 0
        self._started_ns: int | None = None

    def starts_again(self, sensor: int, stamp_ns: int, now_ns: int) -> bool:
        """Take a message's stamp.

        Args:
            sensor: Whose it is.
            stamp_ns: The stamp.
            now_ns: When it came, by a clock that never goes back.

        Returns:
            Whether what came before belongs to an earlier round and is to be forgotten.
        """
        first, newest = self._first[sensor], self._newest[sensor]
        if first is None or newest is None or stamp_ns > newest:
            self._first[sensor] = stamp_ns if first is None else first
            self._newest[sensor] = stamp_ns
            self._behind[sensor] = (0, 0)
            self._progress_ns = now_ns
            return False
        idle = now_ns - self._progress_ns >= IDLE_NS
        far = newest - stamp_ns > FAR_BACK_NS and (
            self._started_ns is None or now_ns - self._started_ns >= NOT_AGAIN_NS)
        goes_on = self._goes_on_behind(sensor, stamp_ns, newest)
        if not far and not goes_on and not (
                idle and self._is_of_new_round(stamp_ns, first, newest)):
            return False
        self._first = [None] * len(self._first)
        self._newest = [None] * len(self._newest)
        self._behind = [(0, 0)] * len(self._behind)
        self._first[sensor] = self._newest[sensor] = stamp_ns
        self._progress_ns = self._started_ns = now_ns
        return True

    def _is_of_new_round(self, stamp_ns: int, first_ns: int, newest_ns: int) -> bool:
        """Whether an old stamp of a sensor can be no duplicate and no late one."""
        if newest_ns - stamp_ns > CLEARLY_NS:
            return stamp_ns - first_ns <= BEGINNING_NS or newest_ns - stamp_ns > LATEST_NS
        return self._first == self._newest  # a single frame

    def _goes_on_behind(self, sensor: int, stamp_ns: int, newest_ns: int) -> bool:
        """Take an old stamp; whether enough of them followed each other, and none is just late."""
        count, last_ns = self._behind[sensor]
        if stamp_ns < last_ns:
            count = 0
        if newest_ns - stamp_ns > LATEST_NS and stamp_ns != last_ns:
            self._behind[sensor] = count + 1, stamp_ns
        return self._behind[sensor][0] >= FOLLOWING
