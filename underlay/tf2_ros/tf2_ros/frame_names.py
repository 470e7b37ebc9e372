"""Names of frames: what tf2 takes for one, and what it says of the others."""

from __future__ import annotations

from collections.abc import Container

from .exceptions import InvalidArgumentException, LookupException


def without_slash(name: str) -> str:
    """The name less one leading slash, as publishers of old wrote it."""
    return name[1:] if name.startswith("/") else name


def require_known(name: str, known: Container[str], purpose: str) -> None:
    """Refuse the name of a frame that a lookup cannot use.

    Args:
        name: The name.
        known: The frames that there are.
        purpose: What it was passed to, for the message.

    Raises:
        TypeError: The name is no string.
        InvalidArgumentException: It is empty or starts with a slash.
        LookupException: There is no such frame.
    """
    if name in known:
        return
    fault = _fault(name)
    if fault is not None:
        raise InvalidArgumentException(
            f'Invalid argument "{name}" passed to {purpose} - {fault}')
    raise LookupException(f'"{name}" passed to {purpose} does not exist. ')


def why_unknown(name: str, known: Container[str], purpose: str) -> str | None:
    """The same as a text, for those who only ask whether a transform can be had.

    Returns:
        What is wrong, or None.

    Raises:
        TypeError: The name is no string.
    """
    if name in known:
        return None
    fault = _fault(name) or "frame does not exist"
    return f'Invalid frame ID "{name}" passed to {purpose} - {fault}'


def _fault(name: str) -> str | None:
    if not isinstance(name, str):
        raise TypeError(f"the name of a frame is a str, not {type(name).__name__}")
    if not name:
        return "in tf2 frame_ids cannot be empty"
    if name.startswith("/"):
        return "in tf2 frame_ids cannot start with a '/'"
    return None
