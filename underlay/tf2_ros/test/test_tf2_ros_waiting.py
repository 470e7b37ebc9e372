"""Timeouts, futures, simulated time and the service. The genuine tf2_ros passes as well."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from importlib.util import find_spec

import pytest
import rclpy
import tf2_ros
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from tf2_msgs.srv import FrameGraph
from tf2_ros_samples import ZERO, at, sample, xyz_of


@pytest.fixture
def ros():
    rclpy.init()
    yield
    rclpy.try_shutdown()


def later(buffer: tf2_ros.Buffer, *transforms) -> threading.Thread:
    def publish() -> None:
        time.sleep(0.1)
        for transform in transforms:
            buffer.set_transform(transform, "test")

    thread = threading.Thread(target=publish)
    thread.start()
    return thread


def test_a_lookup_waits_for_its_transform():
    buffer = tf2_ros.Buffer()
    publisher = later(buffer, sample("map", "base", 1), sample("map", "base", 2, xyz=(2, 0, 0)))
    transform = buffer.lookup_transform("map", "base", at(1.5), timeout=Duration(seconds=10))
    assert xyz_of(transform) == pytest.approx((1, 0, 0))
    publisher.join()


def test_a_full_lookup_waits_for_both_times():
    buffer = tf2_ros.Buffer()
    buffer.set_transform(sample("map", "base", 1), "test")
    publisher = later(buffer, sample("map", "base", 2, xyz=(2, 0, 0)))
    transform = buffer.lookup_transform_full("base", at(2), "base", at(1), "map",
                                             timeout=Duration(seconds=10))
    assert xyz_of(transform) == pytest.approx((-2, 0, 0))
    publisher.join()


def test_the_arrival_ends_the_waiting_not_the_timeout():
    buffer, found = tf2_ros.Buffer(), []
    waiting = threading.Thread(daemon=True, target=lambda: found.append(
        buffer.can_transform("base", "lidar", ZERO, timeout=Duration(seconds=3600))))
    waiting.start()
    later(buffer, sample("map", "base", 1), sample("base", "lidar", 1)).join()
    waiting.join(30)
    assert found == [True]


def test_waiting_ends():
    buffer = tf2_ros.Buffer()
    began = time.monotonic()
    assert not buffer.can_transform("map", "base", ZERO, timeout=Duration(seconds=0.2))
    assert time.monotonic() - began >= 0.2
    with pytest.raises(tf2_ros.LookupException):
        buffer.lookup_transform("map", "base", ZERO, timeout=Duration(seconds=0.01))
    can, reason = buffer.can_transform("map", "base", ZERO, Duration(seconds=-1), True)
    assert not can
    assert "map" in reason


def test_a_future_is_done_once_the_transform_is_there():
    buffer = tf2_ros.Buffer()
    future = buffer.wait_for_transform_async("map", "base", at(1.5))
    between = buffer.wait_for_transform_full_async("base", at(2), "base", at(1), "map")
    buffer.set_transform(sample("map", "base", 1), "test")
    assert not future.done()
    buffer.set_transform(sample("map", "base", 2, xyz=(2, 0, 0)), "test")
    assert future.done()
    assert between.done()
    at_once = buffer.wait_for_transform_async("map", "base", at(1.5))
    assert at_once.done()
    if future.result() is not True:  # Humble's says only that it is there
        assert xyz_of(future.result()) == pytest.approx((1, 0, 0))
        assert xyz_of(between.result()) == pytest.approx((-2, 0, 0))
        assert at_once.result() == future.result()


def test_a_future_that_is_done_is_let_go():
    buffer = tf2_ros.Buffer()
    future = weakref.ref(buffer.wait_for_transform_async("map", "base", at(1)))
    for _ in range(2):
        buffer.set_transform(sample("map", "base", 1), "test")
    gc.collect()
    assert future() is None


def test_a_static_transform_fulfils_futures_too():
    buffer = tf2_ros.Buffer()
    future = buffer.wait_for_transform_async("base", "lidar", at(1))
    buffer.set_transform_static(sample("base", "lidar"), "test")
    assert future.done()


@pytest.mark.skipif(find_spec("tf2_py") is not None, reason="the genuine one fulfils it")
def test_a_cancelled_future_stays_so():
    buffer = tf2_ros.Buffer()
    future = buffer.wait_for_transform_async("map", "base", at(1))
    future.cancel()
    buffer.set_transform(sample("map", "base", 1), "test")
    assert future.cancelled()


def test_a_coroutine_may_wait(ros):
    node = rclpy.create_node("waiting")
    buffer = tf2_ros.Buffer()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    plain = executor.create_task(buffer.lookup_transform_async("map", "base", at(1)))
    full = executor.create_task(
        buffer.lookup_transform_full_async("base", at(1), "base", at(1), "map"))
    executor.spin_once(timeout_sec=0.1)
    assert not plain.done()
    buffer.set_transform(sample("map", "base", 1, xyz=(3, 0, 0)), "test")
    deadline = time.monotonic() + 10
    while not (plain.done() and full.done()) and time.monotonic() < deadline:
        executor.spin_once(timeout_sec=0.1)
    assert xyz_of(plain.result()) == (3, 0, 0)
    assert xyz_of(full.result()) == pytest.approx((0, 0, 0))
    node.destroy_node()


def test_a_clock_that_jumps_back_clears_the_buffer(ros):
    node = rclpy.create_node("simulated", parameter_overrides=[
        Parameter("use_sim_time", Parameter.Type.BOOL, True)])
    clock = node.create_publisher(Clock, "/clock", 10)
    buffer = tf2_ros.Buffer(node=node)
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def tick(seconds: float) -> None:
        deadline = time.monotonic() + 10
        while abs(node.get_clock().now().nanoseconds - seconds * 1e9) > 1:
            assert time.monotonic() < deadline
            clock.publish(Clock(clock=at(seconds).to_msg()))
            executor.spin_once(timeout_sec=0.05)

    tick(100)
    buffer.set_transform(sample("map", "base", 99), "test")
    buffer.set_transform_static(sample("base", "lidar"), "test")
    tick(101)
    tick(100.5)
    assert buffer.can_transform("map", "base", at(99)), "forward, and half a second back"
    tick(50)
    assert not buffer.can_transform("map", "base", at(99))
    buffer.set_transform(sample("map", "base", 49), "test")
    assert buffer.can_transform("map", "lidar", at(49)), "static frames stay"
    node.destroy_node()


def test_frames_are_listed_by_a_service(ros):
    node = rclpy.create_node("listing")
    buffer = tf2_ros.Buffer(node=node)
    buffer.set_transform_static(sample("base", "lidar"), "test")
    client = node.create_client(FrameGraph, "tf2_frames")
    assert client.wait_for_service(10)
    future = client.call_async(FrameGraph.Request())
    rclpy.spin_until_future_complete(node, future, timeout_sec=10)
    assert future.result().frame_yaml == buffer.all_frames_as_yaml()
    assert "lidar" in future.result().frame_yaml
    node.destroy_node()
