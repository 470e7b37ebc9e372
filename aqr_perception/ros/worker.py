"""One thread that works on the newest item, so that callbacks never wait for the network."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class NewestWorker(Generic[Item]):
    """Runs a function on items, one at a time; an item that waits is replaced by a newer one.

    Args:
        work: Called in the worker's thread. What it raises goes to ``failed``; the thread lives on.
        failed: Told of an exception of ``work``.
        name: Of the thread.
    """

    def __init__(self, work: Callable[[Item], None], failed: Callable[[Exception], None],
                 name: str) -> None:
        self._work = work
        self._failed = failed
        self._wake = threading.Condition()
        self._waiting: Item | None = None
        self._stopped = False
        self._passed_over = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def passed_over(self) -> int:
        """Items that a newer one replaced before their turn."""
        return self._passed_over

    def submit(self, item: Item) -> None:
        """Hand over an item; returns at once. After `stop` it is let fall."""
        with self._wake:
            if self._stopped:
                return
            if self._waiting is not None:
                self._passed_over += 1
            self._waiting = item
            self._wake.notify()

    def stop(self, timeout_s: float) -> bool:
        """Finish the item at work, let fall what waits, and end the thread.

        Returns:
            Whether it ended in time.
        """
        with self._wake:
            self._stopped = True
            self._waiting = None
            self._wake.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._stopped or self._waiting is not None)
                if self._stopped:
                    return
                item, self._waiting = self._waiting, None
            assert item is not None
            try:
                self._work(item)
            except Exception as error:  # the thread must outlive a bad frame; it is reported
                self._failed(error)
            del item  # a set of six images is not kept alive while waiting for the next
