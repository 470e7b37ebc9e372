"""Publishes transforms of frames that stay where they are."""

from __future__ import annotations

from collections.abc import Iterable

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile
from tf2_msgs.msg import TFMessage

from .transform_broadcaster import as_list


class StaticTransformBroadcaster:
    """Publishes on ``/tf_static``, for those who subscribe later too.

    A late subscriber gets the last message only, so each message holds all transforms that have
    been sent, of every child frame the newest.

    Attributes:
        pub_tf: The publisher.
        net_message: What is published.
    """

    def __init__(self, node: Node, qos: QoSProfile | int | None = None) -> None:
        """Create the publisher.

        Args:
            node: The node that publishes.
            qos: Quality of service, or the depth of a default one; transient local, one deep, if
                not given.
        """
        if qos is None:
            qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL,
                             history=HistoryPolicy.KEEP_LAST)
        self.pub_tf = node.create_publisher(TFMessage, "/tf_static", qos)
        self.net_message = TFMessage()

    def sendTransform(self, transform: TransformStamped | Iterable[TransformStamped]) -> None:
        """Publish one transform or several, along with those of other frames sent before."""
        latest = {known.child_frame_id: known for known in self.net_message.transforms}
        latest.update((new.child_frame_id, new) for new in as_list(transform))
        self.net_message.transforms = list(latest.values())
        self.pub_tf.publish(self.net_message)
