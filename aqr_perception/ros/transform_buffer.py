"""A tf2 buffer that follows a recording which starts again."""

from __future__ import annotations

from typing import Any

from tf2_ros import Buffer

from aqr_perception.ros.conversions import stamp_to_ns

RESTART_NS = 5_000_000_000
"""Stamps that go back this far [ns] are those of a new start, not of messages out of order."""


class RestartingBuffer(Buffer):
    """Forgets the moving transforms when the stamps of one of them go far back.

    tf2 itself does so only with simulated time; without, it refuses what is older than its cache,
    and a bag that is played in a loop or after another one would be left without motion.
    """

    def __init__(self) -> None:
        super().__init__()
        self._newest_ns: dict[str, int] = {}

    def set_transform(self, transform: Any, authority: str) -> None:
        """Add a moving transform, see `tf2_ros.Buffer.set_transform`."""
        stamp_ns = stamp_to_ns(transform.header.stamp)
        child = transform.child_frame_id
        if stamp_ns < self._newest_ns.get(child, 0) - RESTART_NS:
            self.clear()
            self._newest_ns.clear()
        self._newest_ns[child] = max(stamp_ns, self._newest_ns.get(child, 0))
        super().set_transform(transform, authority)
