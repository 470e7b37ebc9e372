"""Broadcasters in one process and listeners in another. The genuine tf2_ros passes as well."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import rclpy
import tf2_ros
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage
from tf2_ros_samples import ZERO, at, sample, xyz_of

BROADCASTER = """
import sys, time, rclpy, tf2_ros
from tf2_ros_samples import sample
rclpy.init()
node = rclpy.create_node("broadcaster")
fixed, moving = tf2_ros.StaticTransformBroadcaster(node), tf2_ros.TransformBroadcaster(node)
fixed.sendTransform(sample("base", "lidar", xyz=(0, 0, 2)))
fixed.sendTransform([sample("base", "left", xyz=(0, 1, 1)),
                     sample("base", "right", xyz=(0, -1, 1))])
for k in range(100_000):
    moving.sendTransform([sample("map", "odom", 1 + k / 100, xyz=(5, 0, 0)),
                          sample("odom", "base", 1 + k / 100, xyz=(k / 100, 0, 0))])
    time.sleep(0.01)
"""


@pytest.fixture
def node():
    rclpy.init()
    node = rclpy.create_node("listener")
    yield node
    node.destroy_node()
    rclpy.try_shutdown()


@pytest.fixture
def broadcaster():
    places = [str(Path(__file__).parent), str(Path(tf2_ros.__file__).parent.parent),
              os.environ.get("PYTHONPATH", "")]
    process = subprocess.Popen([sys.executable, "-c", BROADCASTER],
                               env={**os.environ, "PYTHONPATH": os.pathsep.join(places)})
    yield process
    process.kill()
    process.wait()


def spin_until(node, condition, seconds: float = 30.0) -> None:
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    deadline = time.monotonic() + seconds
    while not condition():
        executor.spin_once(timeout_sec=0.1)
        assert time.monotonic() < deadline, "nothing came"
    executor.remove_node(node)


def test_moving_and_static_frames_of_another_process(node, broadcaster):
    buffer = tf2_ros.Buffer()
    listener = tf2_ros.TransformListener(buffer, node)
    spin_until(node, lambda: all(
        buffer.can_transform("map", frame, ZERO) for frame in ("lidar", "left", "right")))
    latest = buffer.get_latest_common_time("map", "base").nanoseconds / 1e9
    spin_until(node, lambda: buffer.can_transform("map", "base", at(latest + 0.5)))
    halfway = latest + 0.105
    transform = buffer.lookup_transform("map", "left", at(halfway))
    assert xyz_of(transform) == pytest.approx((5 + halfway - 1, 1, 1), abs=1e-6)
    listener.unregister()


def test_a_late_listener_gets_all_static_frames(node, broadcaster):
    early, late = tf2_ros.Buffer(), tf2_ros.Buffer()
    listeners = [tf2_ros.TransformListener(early, node)]
    spin_until(node, lambda: early.can_transform("map", "right", ZERO))
    listeners.append(tf2_ros.TransformListener(late, node))
    spin_until(node, lambda: all(
        late.can_transform("base", frame, ZERO) for frame in ("lidar", "left", "right")))
    assert xyz_of(late.lookup_transform("lidar", "left", ZERO)) == pytest.approx((0, 1, -1))


def test_a_listener_with_a_thread_of_its_own(node, broadcaster):
    buffer = tf2_ros.Buffer()
    listener = tf2_ros.TransformListener(buffer, node, spin_thread=True)
    transform = buffer.lookup_transform("map", "lidar", ZERO, timeout=Duration(seconds=30))
    assert xyz_of(transform)[1:] == pytest.approx((0, 2))
    assert listener.dedicated_listener_thread.is_alive()
    listener.executor.shutdown()
    listener.dedicated_listener_thread.join(10)
    assert not listener.dedicated_listener_thread.is_alive()


def test_other_topics(node):
    if find_spec("tf2_py") and "tf_topic" not in tf2_ros.TransformListener.__init__.__kwdefaults__:
        pytest.skip("came with Jazzy")
    buffer = tf2_ros.Buffer()
    tf2_ros.TransformListener(buffer, node, tf_topic="moving", tf_static_topic="fixed")
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    publishers = [node.create_publisher(TFMessage, "moving", 10),
                  node.create_publisher(TFMessage, "fixed", latched)]
    messages = [TFMessage(transforms=[sample("map", "base", 1)]),
                TFMessage(transforms=[sample("base", "lidar")])]

    def both_are_there() -> bool:
        for publisher, message in zip(publishers, messages):
            publisher.publish(message)
        return buffer.can_transform("map", "lidar", at(1))

    spin_until(node, both_are_there)


@pytest.mark.skipif(find_spec("tf2_py") is not None,
                    reason="the genuine broadcaster keeps the first of a frame up to Kilted")
def test_a_static_frame_that_is_sent_again_replaces_the_first(node):
    broadcaster = tf2_ros.StaticTransformBroadcaster(node)
    broadcaster.sendTransform((sample("base", "left"), sample("base", "lidar", xyz=(1, 0, 0))))
    broadcaster.sendTransform(sample("base", "left", xyz=(2, 0, 0)))
    buffer = tf2_ros.Buffer()
    tf2_ros.TransformListener(buffer, node)
    spin_until(node, lambda: buffer.can_transform("left", "lidar", ZERO))
    assert xyz_of(buffer.lookup_transform("left", "lidar", ZERO)) == (-1, 0, 0)
