"""What every buffer offers, and the conversions of stamped data that other packages register."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.time import Time
from std_msgs.msg import Header


class TypeException(Exception):
    """Nothing has been registered for a type."""

    def __init__(self, errstr: str) -> None:
        super().__init__(errstr)
        self.errstr = errstr


class NotImplementedException(Exception):
    """A buffer lacks a method of the interface."""

    def __init__(self) -> None:
        self.errstr = "a BufferInterface needs lookup_transform, can_transform and their full forms"
        super().__init__(self.errstr)


class BufferInterface:
    """Looks up transforms, and applies them to whatever has a transformation registered.

    Types become known by the import of a package that registers them, such as tf2_geometry_msgs.
    """

    def __init__(self) -> None:
        self.registration = TransformRegistration()

    def transform(self, object_stamped: Any, target_frame: str,
                  timeout: Duration = Duration(),  # noqa: B008 -- never changed, as upstream
                  new_type: type | None = None) -> Any:
        """Express something stamped in another frame, at its own time.

        Args:
            object_stamped: Something with a header, of a registered type.
            target_frame: The frame.
            timeout: How long to wait for the transform.
            new_type: A type to convert the result to.

        Raises:
            TypeException: The type is not registered.
            TransformException: The transform cannot be had.
        """
        apply = self.registration.get(type(object_stamped))
        header = object_stamped.header
        moved = apply(object_stamped, self.lookup_transform(
            target_frame, header.frame_id, header.stamp, timeout))
        return moved if new_type is None else convert(moved, new_type)

    def transform_full(self, object_stamped: Any, target_frame: str, target_time: Time,
                       fixed_frame: str,
                       timeout: Duration = Duration(),  # noqa: B008
                       new_type: type | None = None) -> Any:
        """Express something stamped in another frame, at another time.

        Args:
            object_stamped: Something with a header, of a registered type.
            target_frame: The frame.
            target_time: The time.
            fixed_frame: The frame that stands still in between.
            timeout: How long to wait for the transform.
            new_type: A type to convert the result to.

        Raises:
            TypeException: The type is not registered.
            TransformException: The transform cannot be had.
        """
        apply = self.registration.get(type(object_stamped))
        header = object_stamped.header
        moved = apply(object_stamped, self.lookup_transform_full(
            target_frame, target_time, header.frame_id, header.stamp, fixed_frame, timeout))
        return moved if new_type is None else convert(moved, new_type)

    def lookup_transform(self, target_frame: str, source_frame: str, time: Time,
                         timeout: Duration = Duration()) -> TransformStamped:  # noqa: B008
        """The transform target_from_source; for a subclass to define."""
        raise NotImplementedException

    def lookup_transform_full(self, target_frame: str, target_time: Time, source_frame: str,
                              source_time: Time, fixed_frame: str,
                              timeout: Duration = Duration()  # noqa: B008
                              ) -> TransformStamped:
        """The transform between frames at two times; for a subclass to define."""
        raise NotImplementedException

    def can_transform(self, target_frame: str, source_frame: str, time: Time,
                      timeout: Duration = Duration()) -> Any:  # noqa: B008
        """Whether there is such a transform; for a subclass to define."""
        raise NotImplementedException

    def can_transform_full(self, target_frame: str, target_time: Time, source_frame: str,
                           source_time: Time, fixed_frame: str,
                           timeout: Duration = Duration()) -> Any:  # noqa: B008
        """Whether there is such a transform; for a subclass to define."""
        raise NotImplementedException


class TransformRegistration:
    """How to apply a transform, by type; one registry for all buffers."""

    _by_type: dict[type, Callable[[Any, TransformStamped], Any]] = {}  # noqa: RUF012 -- shared

    def add(self, key: type, callback: Callable[[Any, TransformStamped], Any]) -> None:
        """Register ``callback(object_stamped, transform)`` for a type."""
        self._by_type[key] = callback

    def get(self, key: type) -> Callable[[Any, TransformStamped], Any]:
        """What is registered for a type.

        Raises:
            TypeException: Nothing is.
        """
        return _registered(self._by_type, key)


class ConvertRegistration:
    """How to turn one type into another, directly or by way of a message; one registry for all."""

    _to_msg: dict[type, Callable[[Any], Any]] = {}  # noqa: RUF012 -- shared
    _from_msg: dict[type, Callable[[Any], Any]] = {}  # noqa: RUF012
    _direct: dict[tuple[type, type], Callable[[Any], Any]] = {}  # noqa: RUF012

    def add_to_msg(self, key: type, callback: Callable[[Any], Any]) -> None:
        """Register the way from a type to its message."""
        self._to_msg[key] = callback

    def add_from_msg(self, key: type, callback: Callable[[Any], Any]) -> None:
        """Register the way from a message to a type."""
        self._from_msg[key] = callback

    def add_convert(self, key: tuple[type, type], callback: Callable[[Any], Any]) -> None:
        """Register the direct way from the first type to the second."""
        self._direct[key] = callback

    def get_to_msg(self, key: type) -> Callable[[Any], Any]:
        """The way from a type to its message, or a TypeException."""
        return _registered(self._to_msg, key)

    def get_from_msg(self, key: type) -> Callable[[Any], Any]:
        """The way from a message to a type, or a TypeException."""
        return _registered(self._from_msg, key)

    def get_convert(self, key: tuple[type, type]) -> Callable[[Any], Any]:
        """The direct way from one type to another, or a TypeException."""
        return _registered(self._direct, key)


def convert(a: Any, b_type: type) -> Any:
    """Turn ``a`` into ``b_type``: directly if registered, as a copy if it is one, else by message.

    Raises:
        TypeException: No way is registered.
    """
    ways = ConvertRegistration()
    try:
        direct = ways.get_convert((type(a), b_type))
    except TypeException:
        if type(a) is b_type:
            return deepcopy(a)
        return ways.get_from_msg(b_type)(ways.get_to_msg(type(a))(a))
    return direct(a)


def Stamped(obj: Any, stamp: Any, frame_id: str) -> Any:
    """Give an object a header and return it."""
    obj.header = Header(frame_id=frame_id, stamp=stamp)
    return obj


def _registered(registry: dict[Any, Callable[..., Any]], key: Any) -> Callable[..., Any]:
    if key not in registry:
        raise TypeException(f"Type {key} is not loaded or supported: import the package that "
                            "registers it, such as tf2_geometry_msgs")
    return registry[key]
