"""One parameter of the node: its meaning and its range, and how it is declared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node


@dataclass(frozen=True)
class Spec:
    """One parameter.

    Attributes:
        name: As in ``ros2 param get``.
        default: Its type is the parameter's.
        description: What it means, with its unit.
        limits: Smallest and largest value of a number.
    """

    name: str
    default: Any
    description: str
    limits: tuple[float, float] | None = None

    def descriptor(self, read_only: bool) -> ParameterDescriptor:
        """The same as ROS states it."""
        descriptor = ParameterDescriptor(
            name=self.name, description=self.description, read_only=read_only)
        if self.limits and isinstance(self.default, int):
            low, high = self.limits
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high),
                                                     step=1)]
        elif self.limits:
            low, high = self.limits
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        return descriptor


def declare(node: Node, spec: Spec, read_only: bool) -> None:
    """Declare a parameter on a node.

    Raises:
        ValueError: The value that was given at the start is of another type or out of range.
    """
    try:
        node.declare_parameter(spec.name, spec.default, spec.descriptor(read_only))
    except ParameterException as error:
        limits = f" in {spec.limits[0]:g} to {spec.limits[1]:g}" if spec.limits else ""
        kind = {bool: "true or false", int: "an integer", float: "a number with a point, as 1.0,",
                str: 'a text (in quotes, as "y")', list: "a list of texts"}[type(spec.default)]
        raise ValueError(f"parameter {spec.name}: expected {kind}{limits} ({error})") from None
