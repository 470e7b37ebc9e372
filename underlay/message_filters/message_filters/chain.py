"""Filters in a row that look like one."""

from __future__ import annotations

from typing import Any

from .simple_filter import SimpleFilter


class Chain(SimpleFilter):
    """Feeds filters one from the other and gives out what the last of them does.

    A filter in it needs ``add(msg)``, as Cache has. An empty chain passes everything on.
    """

    def __init__(self, message_filter: SimpleFilter | None = None) -> None:
        super().__init__()
        self.incoming_connection: int | None = None
        self._links: list[Any] = []
        self._way_out = 0  # the connection of the last link to this chain's output
        if message_filter is not None:
            self.connectInput(message_filter)

    def connectInput(self, message_filter: SimpleFilter) -> None:
        """Take the output of a filter as this chain's input.

        Raises:
            RuntimeError: There is one already.
        """
        if self.incoming_connection is not None:
            raise RuntimeError("Already connected: a chain has one input")
        self.incoming_connection = message_filter.registerCallback(self.add)

    def add(self, message: Any) -> None:
        """Feed a message to the first filter."""
        if self._links:
            self._links[0].add(message)
        else:
            self.signalMessage(message)

    def addFilter(self, message_filter: Any) -> None:
        """Put a filter at the end."""
        if self._links:
            last = self._links[-1]
            del last.callbacks[self._way_out]
            last.registerCallback(message_filter.add)
        self._links.append(message_filter)
        self._way_out = message_filter.registerCallback(self.signalMessage)

    def getFilter(self, index: int) -> Any:
        """The filter that was added as number ``index``, from zero.

        Raises:
            KeyError: There are not so many.
        """
        if not 0 <= index < len(self._links):
            raise KeyError(index)
        return self._links[index]
