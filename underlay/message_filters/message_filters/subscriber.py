"""The filter at the beginning of a chain: a subscription."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile

from .simple_filter import SimpleFilter


class Subscriber(SimpleFilter):
    """Passes on what a topic brings.

    What this class does not define itself is looked up in the subscription.

    Attributes:
        node: The node that subscribes.
        topic: The topic, as it was given.
        sub: The rclpy subscription.
    """

    def __init__(self, node: Node, msg_type: type, topic: str,
                 qos_profile: QoSProfile | int = 10, **kwargs: Any) -> None:
        """Subscribe.

        Args:
            node: The node that subscribes.
            msg_type: The class of the messages.
            topic: Name of the topic.
            qos_profile: Quality of service, or the depth of a default one.
            **kwargs: Whatever else ``Node.create_subscription`` takes, such as
                ``callback_group``, ``event_callbacks`` or ``raw``.
        """
        super().__init__()
        self.node = node
        self.topic = topic
        self.sub = node.create_subscription(
            msg_type, topic, self.callback, qos_profile=qos_profile, **kwargs)

    def callback(self, msg: Any) -> None:
        """Take a message from the subscription."""
        self.signalMessage(msg)

    def getTopic(self) -> str:
        """The topic, as it was given."""
        return self.topic

    def __getattr__(self, key: str) -> Any:
        if key == "sub":  # not there yet, or subscribing failed: do not look it up in itself
            raise AttributeError(key)
        return getattr(self.sub, key)
