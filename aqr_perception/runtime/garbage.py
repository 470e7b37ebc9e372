"""Python's collector of reference cycles, kept from holding up a frame.

torch and ROS leave 200,000 objects that live as long as the process. A full collection looks at all
of them, with Python's lock held: 0.1 s, once in a hundred frames, in which no message is taken and
no result goes out. Objects that are set aside are not looked at; what comes after them is collected
as ever, in a few milliseconds.
"""

from __future__ import annotations

import gc


def set_aside() -> None:
    """Collect once, and let the collector pass over all that is left; call it when ready to work.

    It holds for the whole process, until `take_back`.
    """
    gc.collect()
    gc.freeze()


def take_back() -> None:
    """Let the collector look at everything again, before what was set aside is let go of."""
    gc.unfreeze()
