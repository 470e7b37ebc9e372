"""What goes out of a recording, and how playing is ended."""

import itertools
import threading
import time

import pytest
import rclpy
from live_rig import Context

from aqr_perception.ros.play import Player, ReadAhead, play_source
from aqr_perception.ros.recorded import SerializedMessage

TOPICS = {"/clock": "rosgraph_msgs/msg/Clock", "/points": "sensor_msgs/msg/PointCloud2",
          "/radar": "radar_msgs/msg/RadarScan"}


@pytest.fixture
def node():
    context = Context()
    yield context.add(rclpy.create_node("player", context=context.context,
                                        use_global_arguments=False))
    context.close()


def messages():
    for k in itertools.count():
        yield SerializedMessage(k * 100_000_000, "/points", TOPICS["/points"], bytes(1000))
        time.sleep(0.05)


def test_a_recorded_clock_is_left_out_where_another_is_published(node):
    player = Player(node, TOPICS, "auto", threading.Event(), publish_clock=True)
    assert player.left_out == ["/radar (radar_msgs/msg/RadarScan): its package is not installed",
                               "/clock: the recording's own; --clock publishes another"]
    player.play([], 1.0)
    assert node.count_publishers("/clock") == 1
    assert "/clock" not in Player(node, TOPICS, "auto", threading.Event()).left_out[-1]


def test_a_stop_ends_the_wait_for_a_slow_disk(node):
    stop = threading.Event()
    player = Player(node, TOPICS, "auto", stop)
    threading.Timer(0.3, stop.set).start()
    started = time.monotonic()
    play_source(player, messages, 1.0, False, stop, wait_s=60.0)
    assert time.monotonic() - started < 5.0
    assert player.report.messages["/points"] == 0


def test_a_stop_ends_taking_what_is_not_read_yet():
    stop = threading.Event()
    ahead = ReadAhead(messages(), stop, limit_bytes=5000)
    assert ahead.wait_filled() is None
    threading.Timer(0.3, stop.set).start()
    assert 5 <= len(list(ahead)) < 60
    ahead.close()
