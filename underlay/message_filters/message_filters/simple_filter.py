"""The base of every filter: something with an output that others listen to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class SimpleFilter:
    """A filter with one output.

    Attributes:
        callbacks: Who listens, by connection number: the function and its further arguments.
    """

    def __init__(self) -> None:
        self.callbacks: dict[int, tuple[Callable[..., Any], tuple[Any, ...]]] = {}

    def registerCallback(self, cb: Callable[..., Any], *args: Any) -> int:
        """Have ``cb`` called with each output of this filter, followed by ``args``.

        Returns:
            The number of the connection, its key in ``callbacks``.
        """
        number = len(self.callbacks)
        while number in self.callbacks:  # an earlier connection has been taken out
            number += 1
        self.callbacks[number] = (cb, args)
        return number

    def signalMessage(self, *msg: Any) -> None:
        """Hand an output, of one or more messages, to all who listen, in order of registration."""
        for callback, arguments in tuple(self.callbacks.values()):
            callback(*msg, *arguments)
