"""Why a transform cannot be had."""


class TransformException(Exception):
    """The base of them all."""


class ConnectivityException(TransformException):
    """The frames are in trees that nothing connects."""


class LookupException(TransformException):
    """A frame has never been heard of, or the frames form a loop."""


class ExtrapolationException(TransformException):
    """The time lies outside what the buffer holds."""


class InvalidArgumentException(TransformException):
    """The name of a frame is one that cannot be."""


class TimeoutException(TransformException):
    """Something has taken too long."""
