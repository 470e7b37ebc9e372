"""Lookups whose answer is known in closed form. The genuine tf2_ros passes as well."""

from __future__ import annotations

import threading
from math import cos, radians, sin, sqrt

import pytest
import tf2_ros
from builtin_interfaces.msg import Time as TimeMsg
from rclpy.duration import Duration
from tf2_ros_samples import ZERO, at, quaternion_of, sample, seconds_of, xyz_of

THIRD_TURN = (-0.5, 0.5, -0.5, 0.5)  # optical_from_camera and back are third turns


@pytest.fixture
def buffer() -> tf2_ros.Buffer:
    return tf2_ros.Buffer()


def put(buffer: tf2_ros.Buffer, *args, **kwargs) -> None:
    buffer.set_transform(sample(*args, **kwargs), "test")


def put_static(buffer: tf2_ros.Buffer, *args, **kwargs) -> None:
    buffer.set_transform_static(sample(*args, **kwargs), "test")


# ---------------------------------------------------------------------------- geometry

def test_source_coordinates_are_taken_to_the_target(buffer):
    put_static(buffer, "map", "base", xyz=(1, 2, 3), yaw=90)
    forth = buffer.lookup_transform("map", "base", at(5))
    assert xyz_of(forth) == pytest.approx((1, 2, 3))
    assert quaternion_of(forth) == pytest.approx((0, 0, sqrt(0.5), sqrt(0.5)))
    assert (forth.header.frame_id, forth.child_frame_id) == ("map", "base")
    back = buffer.lookup_transform("base", "map", at(5))
    assert xyz_of(back) == pytest.approx((-2, 1, -3)), "-R^T t"
    assert quaternion_of(back) == pytest.approx((0, 0, -sqrt(0.5), sqrt(0.5)))


def test_links_are_composed_across_the_common_parent(buffer):
    put_static(buffer, "base", "lidar", xyz=(1, 0, 2), yaw=90)
    put_static(buffer, "base", "camera", xyz=(2, 0, 1), yaw=0)
    put_static(buffer, "camera", "optical", quaternion=THIRD_TURN)
    # A point 1 m ahead of the lidar is at base (1, 1, 2), camera (-1, 1, 1), and optically
    # right = -y, down = -z, ahead = x.
    transform = buffer.lookup_transform("optical", "lidar", ZERO)
    assert xyz_of(transform) == pytest.approx((0, -1, -1)), "the lidar itself: camera (-1, 0, 1)"
    x, y, z, w = quaternion_of(transform)
    first_column = (w * w + x * x - y * y - z * z, 2 * (x * y + w * z), 2 * (x * z - w * y))
    assert first_column == pytest.approx((-1, 0, 0)), "the lidar's x is the camera's y"


def test_a_frame_in_itself_is_the_identity_even_if_unknown(buffer):
    transform = buffer.lookup_transform("nowhere", "nowhere", at(3))
    assert quaternion_of(transform) == (0, 0, 0, 1)
    assert seconds_of(transform) == 3


def test_translation_is_interpolated_in_a_line_and_rotation_along_the_arc(buffer):
    put(buffer, "map", "base", 10, xyz=(0, 0, 0), yaw=0)
    put(buffer, "map", "base", 20, xyz=(10, -20, 5), yaw=120)
    transform = buffer.lookup_transform("map", "base", at(12.5))
    assert xyz_of(transform) == pytest.approx((2.5, -5, 1.25))
    assert quaternion_of(transform) == pytest.approx(
        (0, 0, sin(radians(15)), cos(radians(15)))), "30 of 120 degrees"
    assert seconds_of(transform) == 12.5


def test_interpolation_takes_the_shorter_way(buffer):
    put(buffer, "map", "base", 10, yaw=0)
    put(buffer, "map", "base", 20, quaternion=(0, 0, -sin(radians(30)), -cos(radians(30))))
    z, w = quaternion_of(buffer.lookup_transform("map", "base", at(15)))[2:]
    assert abs(z * cos(radians(15)) - w * sin(radians(15))) < 1e-12, "30 degrees, sign aside"


def test_no_interpolation_across_a_change_of_parent(buffer):
    put(buffer, "a", "base", 10, xyz=(1, 0, 0))
    put(buffer, "b", "base", 20, xyz=(5, 0, 0))
    assert xyz_of(buffer.lookup_transform("a", "base", at(19.9))) == (1, 0, 0)
    with pytest.raises(tf2_ros.TransformException):
        buffer.lookup_transform("b", "base", at(19.9))
    assert xyz_of(buffer.lookup_transform("b", "base", at(20))) == (5, 0, 0)


# ---------------------------------------------------------------------------- time

def test_zero_is_the_latest_time_that_all_links_share(buffer):
    for k in range(5):
        put(buffer, "map", "odom", k, xyz=(k, 0, 0))
    for k in range(4):
        put(buffer, "odom", "base", k + 0.5, xyz=(0, k, 0))
    put_static(buffer, "base", "lidar", xyz=(0, 0, 1))
    transform = buffer.lookup_transform("map", "lidar", ZERO)
    assert seconds_of(transform) == 3.5
    assert xyz_of(transform) == pytest.approx((3.5, 3, 1))
    assert buffer.get_latest_common_time("map", "lidar") == at(3.5)
    assert buffer.get_latest_common_time("lidar", "base") == ZERO, "static: any time"


def test_links_off_the_way_do_not_hold_the_latest_time_back(buffer):
    put(buffer, "map", "base", 1)
    for k in range(6):
        put(buffer, "base", "arm", k)
        put(buffer, "base", "head", k - 0.5 if k else 0)
    assert seconds_of(buffer.lookup_transform("arm", "head", ZERO)) == 4.5
    assert seconds_of(buffer.lookup_transform("arm", "base", ZERO)) == 5
    assert seconds_of(buffer.lookup_transform("base", "arm", ZERO)) == 5
    assert seconds_of(buffer.lookup_transform("arm", "map", ZERO)) == 1


def test_static_frames_are_good_for_all_time(buffer):
    put_static(buffer, "base", "lidar", 1000, xyz=(1, 0, 0))
    for seconds in (1, 1000, 2e9):
        assert xyz_of(buffer.lookup_transform("base", "lidar", at(seconds))) == (1, 0, 0)
    put_static(buffer, "base", "lidar", 5, xyz=(2, 0, 0))
    assert xyz_of(buffer.lookup_transform("base", "lidar", ZERO)) == (2, 0, 0), "the last counts"


def test_stamps_of_messages_are_times_as_well(buffer):
    put(buffer, "map", "base", 1, xyz=(1, 0, 0))
    put(buffer, "map", "base", 2, xyz=(2, 0, 0))
    transform = buffer.lookup_transform("map", "base", TimeMsg(sec=1, nanosec=500_000_000))
    assert xyz_of(transform) == pytest.approx((1.5, 0, 0))
    with pytest.raises(TypeError):
        buffer.lookup_transform("map", "base", 1.5)


def test_two_times_through_a_fixed_frame(buffer):
    # The vehicle drives 10 m/s along x and turns left by 90 degrees a second.
    for k in range(3):
        put(buffer, "odom", "base", 1 + k, xyz=(10 * k, 0, 0), yaw=90 * k)
    transform = buffer.lookup_transform_full("base", at(2), "base", at(1), "odom")
    # Where it was at 1 s is 10 m back along the x of odom, which at 2 s is its left, y.
    assert xyz_of(transform) == pytest.approx((0, 10, 0))
    assert quaternion_of(transform) == pytest.approx((0, 0, -sqrt(0.5), sqrt(0.5)))
    assert seconds_of(transform) == 2, "the target's time"
    # At 3 s it looks back to where it was at 2 s.
    transform = buffer.lookup_transform_full("base", at(3), "base", at(2), "odom")
    assert xyz_of(transform) == pytest.approx((10, 0, 0))
    assert buffer.can_transform_full("base", at(2), "base", at(1), "odom")
    assert not buffer.can_transform_full("base", at(2), "base", at(0.5), "odom")
    with pytest.raises(tf2_ros.LookupException):
        buffer.lookup_transform_full("base", at(2), "base", at(1), "nowhere")


def test_samples_may_come_in_any_order(buffer):
    for k in (3, 0, 2, 1):
        put(buffer, "map", "base", 1 + k, xyz=(k * k, 0, 0))
    assert [xyz_of(buffer.lookup_transform("map", "base", at(1.5 + k)))[0] for k in range(3)] == (
        pytest.approx([0.5, 2.5, 6.5]))


def test_what_is_older_than_the_cache_time_is_forgotten():
    buffer = tf2_ros.Buffer(cache_time=Duration(seconds=2))
    for k in range(7):
        put(buffer, "map", "base", 1 + k / 2)
    # At 4 s the horizon is 2 s; it was 1.5 s when 4 s came, which is when pruning was done.
    assert buffer.can_transform("map", "base", at(1.5))
    put(buffer, "map", "base", 4.25)
    assert not buffer.can_transform("map", "base", at(1.9))
    assert buffer.can_transform("map", "base", at(2))


def test_ten_seconds_are_kept_by_default(buffer):
    for k in range(13):
        put(buffer, "map", "base", 1 + k)
    put(buffer, "map", "base", 13)
    assert not buffer.can_transform("map", "base", at(2.9))
    assert buffer.can_transform("map", "base", at(3))


def test_data_from_before_the_cache_are_ignored(buffer):
    put(buffer, "map", "base", 100, xyz=(1, 0, 0))
    put(buffer, "map", "base", 89.9, xyz=(2, 0, 0))
    put(buffer, "map", "base", 90, xyz=(3, 0, 0))
    assert not buffer.can_transform("map", "base", at(89.9))
    assert xyz_of(buffer.lookup_transform("map", "base", at(90))) == (3, 0, 0)


def test_clearing_leaves_static_frames_and_names(buffer):
    put(buffer, "map", "base", 1)
    put_static(buffer, "base", "lidar")
    buffer.clear()
    assert not buffer.can_transform("map", "base", ZERO)
    assert buffer.can_transform("base", "lidar", ZERO)
    put(buffer, "map", "base", 0.5)
    assert buffer.can_transform("map", "lidar", ZERO), "earlier data are welcome again"


# ---------------------------------------------------------------------------- errors

@pytest.fixture
def driven(buffer) -> tf2_ros.Buffer:
    for k in range(5):
        put(buffer, "map", "base", 10 + k)
    put(buffer, "map", "once", 12)
    put_static(buffer, "base", "lidar")
    put_static(buffer, "island", "palm")
    return buffer


@pytest.mark.parametrize(("arguments", "error", "words"), [
    (("map", "lidar", at(15)), tf2_ros.ExtrapolationException,
     ["into the future", "15.000000", "latest data is at time 14.000000",
      "from frame [lidar] to frame [map]"]),
    (("lidar", "map", at(9)), tf2_ros.ExtrapolationException,
     ["into the past", "9.000000", "earliest data is at time 10.000000",
      "from frame [map] to frame [lidar]"]),
    (("map", "once", at(11)), tf2_ros.ExtrapolationException,
     ["11.000000", "only time 12.000000 is in the buffer"]),
    (("map", "palm", at(12)), tf2_ros.ConnectivityException,
     ["'map'", "'palm'", "not part of the same tree"]),
    (("map", "palm", ZERO), tf2_ros.ConnectivityException, ["'map'", "'palm'"]),
    (("map", "nowhere", ZERO), tf2_ros.LookupException,
     ['"nowhere"', "argument source_frame does not exist"]),
    (("nowhere", "map", ZERO), tf2_ros.LookupException, ['"nowhere"', "argument target_frame"]),
    (("", "map", ZERO), tf2_ros.InvalidArgumentException, ["cannot be empty"]),
    (("/map", "base", ZERO), tf2_ros.InvalidArgumentException, ["cannot start with a '/'"]),
])
def test_what_cannot_be_had_is_told(driven, arguments, error, words):
    with pytest.raises(error) as raised:
        driven.lookup_transform(*arguments)
    assert isinstance(raised.value, tf2_ros.TransformException)
    can, reason = driven.can_transform(*arguments, return_debug_tuple=True)
    assert not can
    for word in words:
        assert word in str(raised.value)
        assert word.replace("argument", "").split()[-1] in reason


def test_of_two_shortages_the_one_with_the_later_data_is_told(buffer):
    for k in range(3):
        put(buffer, "map", "slow", 1 + k)
        put(buffer, "map", "fast", 5 + k)
    for target, source in (("slow", "fast"), ("fast", "slow")):
        with pytest.raises(tf2_ros.ExtrapolationException, match=r"latest data is at time 7\."):
            buffer.lookup_transform(target, source, at(9))


def test_a_loop_is_told(buffer):
    put(buffer, "a", "b", 1)
    put(buffer, "b", "c", 1)
    put(buffer, "c", "a", 1)
    put(buffer, "other", "thing", 1)
    with pytest.raises(tf2_ros.LookupException, match="contains a loop"):
        buffer.lookup_transform("thing", "a", at(1))


# ---------------------------------------------------------------------------- input

def test_a_leading_slash_is_taken_off_published_names(buffer):
    put_static(buffer, "/map", "/base")
    assert buffer.can_transform("map", "base", ZERO)
    assert buffer._getFrameStrings() == ["base", "map"]


@pytest.mark.parametrize("broken", [
    sample("map", "map"), sample("/map", "map"), sample("", "base"), sample("map", ""),
    sample("map", "base", xyz=(float("nan"), 0, 0)),
    sample("map", "base", quaternion=(0, 0, 0, 0.99)),
    sample("map", "base", quaternion=(0, 0, 0, float("nan"))),
    sample("map", "base", quaternion=(1e-300, 0, 0, 0)),
])
def test_nonsense_is_left_out(buffer, broken):
    buffer.set_transform(broken, "test")
    buffer.set_transform_static(broken, "test")
    assert buffer._getFrameStrings() == []


def test_a_quaternion_a_little_off_unit_length_is_taken(buffer):
    put_static(buffer, "map", "base", xyz=(1, 0, 0), quaternion=[0.4985] * 4)
    assert buffer.can_transform("map", "base", ZERO)
    between = buffer.lookup_transform_full("map", ZERO, "base", ZERO, "base")
    assert [abs(value) for value in quaternion_of(between)] == pytest.approx([0.5] * 4)
    assert xyz_of(between) == pytest.approx((1, 0, 0))


def test_repeated_samples_count_once_and_the_later_of_two_wins(buffer):
    put(buffer, "map", "base", 1, xyz=(1, 0, 0))
    put(buffer, "map", "base", 1, xyz=(1, 0, 0))
    assert "rate: 10000.000" in buffer.all_frames_as_yaml(), "one sample"
    put(buffer, "map", "base", 1, xyz=(2, 0, 0))
    assert xyz_of(buffer.lookup_transform("map", "base", ZERO)) == (2, 0, 0)
    put(buffer, "map", "base", 3, xyz=(4, 0, 0))
    assert xyz_of(buffer.lookup_transform("map", "base", at(2))) == (3, 0, 0)
    assert xyz_of(buffer.lookup_transform("map", "base", at(1))) == (1, 0, 0), "save at the end"


def test_a_frame_may_turn_static_and_back(buffer):
    put(buffer, "map", "base", 1, xyz=(1, 0, 0))
    put_static(buffer, "map", "base", xyz=(2, 0, 0))
    assert xyz_of(buffer.lookup_transform("map", "base", at(50))) == (2, 0, 0)
    put(buffer, "map", "base", 3, xyz=(3, 0, 0))
    assert not buffer.can_transform("map", "base", at(50))


# ---------------------------------------------------------------------------- listings

def test_listings(buffer):
    for k in range(5):
        buffer.set_transform(sample("map", "base", 1 + k / 10), "driver")
    put_static(buffer, "base", "lidar")
    assert buffer.all_frames_as_string() == (
        "Frame base exists with parent map.\nFrame lidar exists with parent base.\n")
    assert buffer.all_frames_as_yaml() == (
        "base: \n  parent: 'map'\n  broadcaster: 'driver'\n  rate: 12.500\n"
        "  most_recent_transform: 1.400000\n  oldest_transform: 1.000000\n"
        "  buffer_length: 0.400\n"
        "lidar: \n  parent: 'base'\n  broadcaster: 'test'\n  rate: 10000.000\n"
        "  most_recent_transform: 0.000000\n  oldest_transform: 0.000000\n"
        "  buffer_length: 0.000\n")
    assert buffer._getFrameStrings() == ["base", "map", "lidar"]
    assert buffer._frameExists("map")
    assert not buffer._frameExists("nowhere")
    assert tf2_ros.Buffer().all_frames_as_yaml() == "[]"


# ---------------------------------------------------------------------------- registered types

class Marker:
    """Something with a header and a position that no package registers."""


class Note:
    """What a Marker can be turned into."""


def test_registered_types_are_transformed_and_converted(buffer):
    put(buffer, "map", "base", 1, xyz=(1, 0, 0))
    put(buffer, "map", "base", 2, xyz=(2, 0, 0))
    marker = tf2_ros.Stamped(Marker(), at(1.5).to_msg(), "base")
    with pytest.raises(tf2_ros.TypeException):
        buffer.transform(marker, "map")

    registry = tf2_ros.TransformRegistration()
    registry.add(Marker, lambda obj, transform: (type(obj), xyz_of(transform)))
    assert buffer.transform(marker, "map") == (Marker, pytest.approx((1.5, 0, 0)))
    assert buffer.transform_full(marker, "base", at(2), "map") == (
        Marker, pytest.approx((-0.5, 0, 0)))


def test_conversions_go_directly_or_by_message_or_are_copies():
    ways = tf2_ros.ConvertRegistration()
    with pytest.raises(tf2_ros.TypeException):
        tf2_ros.convert(Marker(), Note)
    ways.add_to_msg(Marker, lambda marker: "message")
    ways.add_from_msg(Note, lambda message: f"note from {message}")
    assert tf2_ros.convert(Marker(), Note) == "note from message"
    ways.add_convert((Marker, Note), lambda marker: "direct note")
    assert tf2_ros.convert(Marker(), Note) == "direct note"
    marker = Marker()
    assert isinstance(tf2_ros.convert(marker, Marker), Marker)
    assert tf2_ros.convert(marker, Marker) is not marker


# ---------------------------------------------------------------------------- threads

def test_lookups_beside_insertions_see_whole_samples(buffer):
    put(buffer, "map", "base", 1)
    put(buffer, "map", "base", 1.001, xyz=(1, 1, 1))
    over, failures = threading.Event(), []

    def read() -> None:
        while not over.is_set():
            transform = buffer.lookup_transform("map", "base", ZERO)
            x, y, z = xyz_of(transform)
            if not x == y == z:
                failures.append((x, y, z))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for k in range(3000):
        put(buffer, "map", "base", 1.002 + k / 100, xyz=(k, k, k))
    over.set()
    for reader in readers:
        reader.join()
    assert failures == []
