"""The filters on topics: what another process publishes comes out in sets."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import rclpy
from geometry_msgs.msg import PointStamped
from message_filters import ApproximateTimeSynchronizer, Subscriber, TimeSynchronizer
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data

PUBLISHER = """
import time, rclpy
from geometry_msgs.msg import PointStamped
rclpy.init()
node = rclpy.create_node("publisher")
topics = [node.create_publisher(PointStamped, name, 50) for name in ("left", "right")]
deadline = time.monotonic() + 20
while any(t.get_subscription_count() < 2 for t in topics) and time.monotonic() < deadline:
    time.sleep(0.01)
for k in range(20):
    for index, topic in enumerate(topics):
        message = PointStamped()
        message.header.stamp.sec = 1 + k
        message.header.stamp.nanosec = 30_000_000 * index if k % 2 else 0
        topic.publish(message)
    time.sleep(0.01)
time.sleep(1)
rclpy.shutdown()
"""


@pytest.fixture
def node():
    rclpy.init()
    node = rclpy.create_node("subscriber")
    yield node
    node.destroy_node()
    rclpy.shutdown()


def test_sets_of_two_topics_from_another_process(node):
    exact, approximate = [], []
    reliable = [Subscriber(node, PointStamped, name, qos_profile=50) for name in ("left", "right")]
    TimeSynchronizer(reliable, 10).registerCallback(
        lambda *msgs: exact.append([m.header.stamp.sec for m in msgs]))
    best_effort = [
        Subscriber(node, PointStamped, name, qos_profile_sensor_data,
                   callback_group=MutuallyExclusiveCallbackGroup()) for name in ("left", "right")]
    ApproximateTimeSynchronizer(best_effort, 10, 0.05).registerCallback(
        lambda *msgs: approximate.append([m.header.stamp.sec for m in msgs]))

    executor = SingleThreadedExecutor()
    executor.add_node(node)
    publisher = subprocess.Popen([sys.executable, "-c", PUBLISHER])
    try:
        deadline = time.monotonic() + 30
        while len(exact) < 10 or len(approximate) < 20:
            executor.spin_once(timeout_sec=0.1)
            assert time.monotonic() < deadline, f"{len(exact)} and {len(approximate)} sets"
    finally:
        publisher.kill()
        publisher.wait()
    assert exact == [[1 + k, 1 + k] for k in range(0, 20, 2)], "where the stamps are equal"
    assert approximate == [[1 + k, 1 + k] for k in range(20)], "where they are 30 ms apart too"


def test_a_subscriber_is_a_subscription_too(node):
    subscriber = Subscriber(node, PointStamped, "left")
    assert subscriber.getTopic() == subscriber.topic == "left"
    assert subscriber.topic_name == "/left", "looked up in the subscription"
    assert subscriber.qos_profile.depth == 10
    assert subscriber.sub in list(node.subscriptions)
    with pytest.raises(AttributeError):
        _ = subscriber.no_such_thing
