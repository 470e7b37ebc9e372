"""Filters that take messages in and give them out later, or several at a time.

A stand-in for the upstream package of this name on machines without a ROS distribution. Its Python
names, signatures and results are those of the Kilted release (7.1); calls in the older spelling of
Humble and Jazzy work too.
"""

from .cache import Cache
from .chain import Chain
from .simple_filter import SimpleFilter
from .subscriber import Subscriber
from .synchronizers import ApproximateTimeSynchronizer, TimeSynchronizer
from .time_sequencer import TimeSequencer

__all__ = [
    "ApproximateTimeSynchronizer",
    "Cache",
    "Chain",
    "SimpleFilter",
    "Subscriber",
    "TimeSequencer",
    "TimeSynchronizer",
]
