"""Notices from stamps alone that a recording starts again. Pure: time is an argument."""

from __future__ import annotations

MILLISECOND = 1_000_000
IDLE_NS = 50 * MILLISECOND
"""When no stamp was newer than all before for this long, an old one begins a new round."""
FAR_BACK_NS = 5_000 * MILLISECOND
"""A stamp this far back does so at once."""
NOT_AGAIN_NS = 1_000 * MILLISECOND
"""But not sooner than this after the last start: two clocks on one topic do not count each time."""


class RestartWatch:
    """Follows the stamps of several sensors.

    A message that overtook another, that came twice, or a sensor that sends the same picture for
    ever is no new start: meanwhile the stamps of others go on. When a recording begins again, none
    does.

    Args:
        sensors: How many.
    """

    def __init__(self, sensors: int) -> None:
        self._newest: list[int | None] = [None] * sensors
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
        newest = self._newest[sensor]
        if newest is None or stamp_ns > newest:
            self._newest[sensor] = stamp_ns
            self._progress_ns = now_ns
            return False
        idle = now_ns - self._progress_ns >= IDLE_NS
        far = newest - stamp_ns > FAR_BACK_NS and (
            self._started_ns is None or now_ns - self._started_ns >= NOT_AGAIN_NS)
        if not idle and not far:
            return False
        self._newest = [None] * len(self._newest)
        self._newest[sensor] = stamp_ns
        self._progress_ns = self._started_ns = now_ns
        return True
