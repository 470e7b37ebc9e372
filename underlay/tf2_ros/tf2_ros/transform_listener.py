"""Fills a buffer from the topics."""

from __future__ import annotations

import threading

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import (
    ExternalShutdownException,
    ShutdownException,
    SingleThreadedExecutor,
)
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile
from tf2_msgs.msg import TFMessage

from .buffer import Buffer

DEFAULT_TF_TOPIC = "/tf"
DEFAULT_STATIC_TF_TOPIC = "/tf_static"


class TransformListener:
    """Hands the transforms of ``/tf`` and ``/tf_static`` to a buffer.

    Attributes:
        buffer: The buffer.
        node: The node that subscribes.
        group: The callback group of both subscriptions, reentrant, so that a callback of the node
            may wait for a transform where the executor has several threads.
        executor: With ``spin_thread``, what spins the node.
        dedicated_listener_thread: With ``spin_thread``, the thread that does.
    """

    def __init__(self, buffer: Buffer, node: Node, *, spin_thread: bool = False,
                 qos: QoSProfile | int | None = None, static_qos: QoSProfile | int | None = None,
                 tf_topic: str = DEFAULT_TF_TOPIC,
                 tf_static_topic: str = DEFAULT_STATIC_TF_TOPIC,
                 static_only: bool = False) -> None:
        """Subscribe.

        Args:
            buffer: Where the transforms go.
            node: The node that subscribes.
            spin_thread: Spin the node, all of it, in a thread of the listener's own.
            qos: Quality of service for moving frames, or the depth of a default one; volatile,
                100 deep, if not given.
            static_qos: The same for static frames; transient local, 100 deep, if not given.
            tf_topic: Where moving frames are published.
            tf_static_topic: Where static frames are published.
            static_only: Leave out the moving frames.
        """
        self.buffer = buffer
        self.node = node
        self.group = ReentrantCallbackGroup()
        if not static_only:
            self.tf_sub = node.create_subscription(
                TFMessage, tf_topic, self.callback,
                _qos(DurabilityPolicy.VOLATILE) if qos is None else qos,
                callback_group=self.group)
        self.tf_static_sub = node.create_subscription(
            TFMessage, tf_static_topic, self.static_callback,
            _qos(DurabilityPolicy.TRANSIENT_LOCAL) if static_qos is None else static_qos,
            callback_group=self.group)
        if spin_thread:
            self.executor = SingleThreadedExecutor(context=node.context)
            self.dedicated_listener_thread = threading.Thread(
                target=_spin, args=(self.executor, node), daemon=True)
            self.dedicated_listener_thread.start()

    def __del__(self) -> None:
        if hasattr(self, "dedicated_listener_thread"):
            self.executor.shutdown()
            if self.dedicated_listener_thread is not threading.current_thread():
                self.dedicated_listener_thread.join()
        if hasattr(self, "tf_static_sub"):
            self.unregister()

    def unregister(self) -> None:
        """Stop listening."""
        if hasattr(self, "tf_sub"):
            self.node.destroy_subscription(self.tf_sub)
        self.node.destroy_subscription(self.tf_static_sub)

    def callback(self, data: TFMessage) -> None:
        """Take moving frames."""
        for transform in data.transforms:
            self.buffer.set_transform(transform, "default_authority")

    def static_callback(self, data: TFMessage) -> None:
        """Take static frames."""
        for transform in data.transforms:
            self.buffer.set_transform_static(transform, "default_authority")


def _qos(durability: DurabilityPolicy) -> QoSProfile:
    return QoSProfile(depth=100, durability=durability, history=HistoryPolicy.KEEP_LAST)


def _spin(executor: SingleThreadedExecutor, node: Node) -> None:
    executor.add_node(node)
    try:
        executor.spin()
    except (ExternalShutdownException, ShutdownException):
        pass  # the program ends, and the listener with it
    finally:
        executor.remove_node(node)
