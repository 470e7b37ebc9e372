"""The stamp of a message, or the time of its arrival where that is asked for."""

from __future__ import annotations

from typing import Any

from rclpy.clock import ROSClock
from rclpy.logging import get_logger
from rclpy.time import Time


def has_stamp(msg: Any) -> bool:
    """Whether a message has a ``header`` with a ``stamp``."""
    return hasattr(msg, "header") and hasattr(msg.header, "stamp")


def header_time(msg: Any) -> Time:
    """The stamp in the header; a message that carries an rclpy time there keeps it.

    Raises:
        ValueError: The stamp is negative, which an rclpy time cannot be.
    """
    stamp = msg.header.stamp
    return stamp if hasattr(stamp, "nanoseconds") else Time.from_msg(stamp)


def arrival_time() -> Time:
    """Now, by a ROS clock of its own: system time, whatever ``use_sim_time`` says."""
    return ROSClock().now()


def warn_headerless(logger: str) -> None:
    """Say why a message without a stamp is dropped."""
    get_logger(logger).warning(
        "Dropped a message that has no header.stamp. Give the filter allow_headerless=True to "
        "have such messages stamped with the time of their arrival.")
