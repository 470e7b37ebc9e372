"""What the C library keeps of freed memory."""

from __future__ import annotations

import ctypes


def return_freed_memory() -> None:
    """Give freed memory back to the system; does nothing where the C library is not glibc.

    Each step's clouds have sizes of their own, so the freed blocks of one step do not fit the next,
    and glibc's heap grows by tens of MiB a step on a CPU.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
