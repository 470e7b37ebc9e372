"""Recorded messages as bytes: what bags hold and `play` publishes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SerializedMessage:
    """One recorded message.

    Attributes:
        topic: Where it goes.
        message_type: As ``sensor_msgs/msg/Image``.
        stamp_ns: When it goes out, on the recording's clock [ns].
        data: CDR, with its encapsulation header.
    """

    topic: str
    message_type: str
    stamp_ns: int
    data: bytes
