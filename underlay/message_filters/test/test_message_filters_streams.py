"""What the filters give out where the answer is known. Genuine message_filters passes as well."""

from __future__ import annotations

from importlib.util import find_spec
from types import SimpleNamespace

import pytest
from builtin_interfaces.msg import Time as TimeMsg
from geometry_msgs.msg import PointStamped
from message_filters import (
    ApproximateTimeSynchronizer,
    Cache,
    Chain,
    SimpleFilter,
    TimeSequencer,
    TimeSynchronizer,
)
from rclpy.clock import ClockType
from rclpy.time import Time
from std_msgs.msg import String

MS = 1_000_000


def stamped(ms: float) -> PointStamped:
    message = PointStamped()
    nanoseconds = round(ms * MS)
    message.header.stamp = TimeMsg(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
    return message


def ms_of(message: PointStamped) -> float:
    return message.header.stamp.sec * 1000 + message.header.stamp.nanosec / MS


def ros_time(ms: float) -> Time:
    return Time(nanoseconds=round(ms * MS), clock_type=ClockType.ROS_TIME)


class Rig:
    """A synchroniser with the filters that feed it, and the sets that came out, by stamp."""

    def __init__(self, kind: type, inputs: int, *args, **kwargs) -> None:
        self.inputs = [SimpleFilter() for _ in range(inputs)]
        self.filter = kind(self.inputs, *args, **kwargs)
        self.sets: list[tuple] = []
        self.filter.registerCallback(lambda *msgs: self.sets.append(tuple(map(ms_of, msgs))))

    def feed(self, *stream: tuple[int, float]) -> list[tuple]:
        for index, ms in stream:
            self.inputs[index].signalMessage(stamped(ms))
        return self.sets


# ---------------------------------------------------------------------------- SimpleFilter

def test_listeners_are_called_in_order_with_their_further_arguments():
    source, calls = SimpleFilter(), []
    first = source.registerCallback(lambda *args: calls.append(args), "a", 1)
    second = source.registerCallback(lambda *args: calls.append(args))
    source.signalMessage("x", "y")
    assert (first, second) == (0, 1)
    assert calls == [("x", "y", "a", 1), ("x", "y")]


# ---------------------------------------------------------------------------- exact

def test_equal_stamps_go_out_together_in_the_order_of_the_inputs():
    rig = Rig(TimeSynchronizer, 3, 10)
    assert rig.feed((2, 100), (0, 100), (0, 200), (1, 100)) == [(100, 100, 100)]
    assert rig.feed((1, 200.000001), (2, 200)) == [(100, 100, 100)]
    assert rig.feed((1, 200))[1:] == [(200, 200, 200)]


def test_what_is_older_than_a_set_is_dropped():
    rig = Rig(TimeSynchronizer, 2, 10)
    rig.feed((0, 100), (0, 200), (1, 200))
    assert rig.feed((1, 100)) == [(200, 200)]


def test_the_oldest_leave_a_full_queue():
    rig = Rig(TimeSynchronizer, 2, 2)
    rig.feed((0, 100), (0, 200), (0, 300))
    assert rig.feed((1, 100)) == []
    assert rig.feed((1, 200)) == [(200, 200)]


def test_a_late_message_is_what_leaves_a_full_queue():
    rig = Rig(TimeSynchronizer, 2, 2)
    rig.feed((0, 200), (0, 300), (0, 100), (1, 100))
    assert rig.sets == []
    assert sorted(rig.filter.queues[0]) == [200 * MS, 300 * MS]


def test_of_two_messages_with_one_stamp_the_second_counts():
    inputs, kept = [SimpleFilter(), SimpleFilter()], []
    TimeSynchronizer(inputs, 5).registerCallback(lambda *msgs: kept.append(msgs))
    older, newer, partner = stamped(5), stamped(5), stamped(5)
    for index, message in ((0, older), (0, newer), (1, partner)):
        inputs[index].signalMessage(message)
    assert kept[0][0] is newer
    assert kept[0][1] is partner


def test_a_silent_input_means_silence():
    rig = Rig(ApproximateTimeSynchronizer, 3, 10, 0.1)
    assert rig.feed(*[(i, 10.0 * k) for k in range(50) for i in (0, 1)]) == []


# ---------------------------------------------------------------------------- approximate

def test_stamps_closer_than_the_slop_go_together():
    assert Rig(ApproximateTimeSynchronizer, 2, 10, 0.05).feed((0, 100), (1, 149.9)) == [
        (100, 149.9)]


def test_the_slop_itself_is_too_far():
    assert Rig(ApproximateTimeSynchronizer, 2, 10, 0.05).feed((0, 100), (1, 150)) == []


def test_the_spread_counts_not_the_distance_from_the_newest():
    # 60 and 140 are each within the slop of 100, but not of each other.
    assert Rig(ApproximateTimeSynchronizer, 3, 10, 0.05).feed((0, 60), (1, 140), (2, 100)) == []


def test_the_nearest_partner_is_taken():
    rig = Rig(ApproximateTimeSynchronizer, 2, 10, 0.1)
    assert rig.feed((0, 50), (0, 90), (0, 160), (1, 100)) == [(90, 100)]
    assert sorted(rig.filter.queues[0]) == [50 * MS, 160 * MS], "the others wait on"


def test_the_first_input_has_its_wish_before_the_second():
    rig = Rig(ApproximateTimeSynchronizer, 3, 10, 0.05)
    # (112, 143, 100) is closer, but 92 is nearer to 100 than 112 is, and goes with 56.
    rig.feed((0, 92), (0, 112), (1, 143), (1, 56))
    assert rig.feed((2, 100)) == [(92, 56, 100)]


def test_a_less_near_partner_is_taken_where_the_nearest_makes_no_set():
    rig = Rig(ApproximateTimeSynchronizer, 3, 10, 0.05)
    rig.feed((0, 92), (0, 112), (1, 145))
    assert rig.feed((2, 100)) == [(112, 145, 100)]


def test_of_equally_near_partners_the_first_to_come_is_taken():
    assert Rig(ApproximateTimeSynchronizer, 2, 10, 0.05).feed(
        (0, 110), (0, 90), (1, 100)) == [(110, 100)]


def test_a_set_goes_out_at_once_though_a_better_partner_would_come():
    rig = Rig(ApproximateTimeSynchronizer, 2, 10, 0.05)
    assert rig.feed((0, 100), (1, 130), (1, 101)) == [(100, 130)]


def test_approximate_keeps_what_is_older_than_a_set():
    rig = Rig(ApproximateTimeSynchronizer, 2, 10, 0.01)
    assert rig.feed((0, 100), (0, 200), (1, 200), (1, 100)) == [(200, 200), (100, 100)]


def test_six_staggered_cameras_and_a_lidar_meet_once_a_period():
    rig = Rig(ApproximateTimeSynchronizer, 7, 10, 0.1)
    for frame in range(1, 11):
        rig.feed(*[(camera, 100 * frame + 12 * camera) for camera in range(6)],
                 (6, 100 * frame + 30))
    assert rig.sets == [(*[100 * frame + 12 * camera for camera in range(6)], 100 * frame + 30)
                        for frame in range(1, 11)]


def test_a_callback_sees_the_message_itself():
    inputs, got = [SimpleFilter(), SimpleFilter()], []
    ApproximateTimeSynchronizer(inputs, 5, 0.1).registerCallback(lambda *msgs: got.extend(msgs))
    sent = [stamped(1), stamped(2)]
    for source, message in zip(inputs, sent):
        source.signalMessage(message)
    assert [a is b for a, b in zip(got, sent)] == [True, True]


def test_headerless_messages_are_dropped_unless_allowed():
    inputs, got = [SimpleFilter(), SimpleFilter()], []
    ApproximateTimeSynchronizer(inputs, 5, 10.0).registerCallback(lambda *m: got.append(m))
    allowing = ApproximateTimeSynchronizer(inputs, 5, 10.0, allow_headerless=True)
    allowing.registerCallback(lambda *m: got.append(("allowed", *m)))
    messages = [String(data="a"), String(data="b")]
    for source, message in zip(inputs, messages):
        source.signalMessage(message)
    assert got == [("allowed", *messages)]


def _synchronizer_has(argument: str) -> bool:
    try:
        ApproximateTimeSynchronizer([], 1, 0.1, **{argument: False})
    except TypeError:  # a genuine package before Kilted
        return False
    return True


@pytest.mark.skipif(not _synchronizer_has("sync_arrival_time"), reason="came with Kilted")
def test_arrival_time_replaces_the_stamps():
    rig = Rig(ApproximateTimeSynchronizer, 2, 5, 10.0, sync_arrival_time=True)
    assert rig.feed((0, 0), (1, 10_000_000)) == [(0, 10_000_000)]


@pytest.mark.skipif(not _synchronizer_has("queue_offset"), reason="came with Kilted")
def test_an_offset_shifts_the_stamps_of_an_input():
    rig = Rig(ApproximateTimeSynchronizer, 2, 5, 0.01, queue_offset=[40 * MS, 0])
    assert rig.feed((0, 140), (1, 100)) == [(140, 100)]


@pytest.mark.skipif(_synchronizer_has("queue_offset") and not find_spec("message_filters.stamps"),
                    reason="the genuine package takes queue_offset in this place since Kilted")
def test_headerless_may_be_allowed_in_the_place_that_it_had_before_kilted():
    inputs, got = [SimpleFilter()], []
    ApproximateTimeSynchronizer(inputs, 5, 1.0, True).registerCallback(lambda *m: got.append(m))
    message = String(data="a")
    inputs[0].signalMessage(message)
    assert got == [(message,)]


def test_a_negative_stamp_is_refused_and_the_filter_goes_on():
    rig = Rig(ApproximateTimeSynchronizer, 1, 5, 0.1)
    broken = PointStamped()
    broken.header.stamp.sec = -1
    with pytest.raises(ValueError):  # noqa: PT011 -- rclpy's words
        rig.inputs[0].signalMessage(broken)
    assert rig.feed((0, 1)) == [(1,)]


# ---------------------------------------------------------------------------- cache

@pytest.fixture
def filled() -> Cache:
    source = SimpleFilter()
    cache = Cache(source, 4)
    for ms in (10, 20, 30, 40, 50):
        source.signalMessage(stamped(ms))
    return cache


def test_a_cache_keeps_the_last_ones(filled):
    assert [ms_of(m) for m in filled.getInterval(ros_time(0), ros_time(100))] == [20, 30, 40, 50]
    assert filled.getOldestTime() == ros_time(20)
    assert ms_of(filled.getLast()) == 50


def test_an_interval_includes_its_ends(filled):
    assert [ms_of(m) for m in filled.getInterval(ros_time(30), ros_time(40))] == [30, 40]
    assert filled.getInterval(ros_time(31), ros_time(39)) == []
    with pytest.raises(AssertionError):
        filled.getInterval(ros_time(40), ros_time(30))


@pytest.mark.parametrize(("ms", "after", "before"), [
    (5, 20, None), (20, 20, 20), (25, 30, 20), (50, 50, 50), (55, None, 50)])
def test_neighbours_in_time(filled, ms, after, before):
    def found(message):
        return None if message is None else ms_of(message)

    assert found(filled.getElemAfterTime(ros_time(ms))) == after
    assert found(filled.getElemBeforeTime(ros_time(ms))) == before


def test_latest_time_by_either_name(filled):
    names = [n for n in ("getLatestTime", "getLastestTime") if hasattr(filled, n)]
    assert names, "one of the two is there in every distribution"
    assert {getattr(filled, name)().nanoseconds for name in names} == {50 * MS}


def test_an_empty_cache_has_nothing():
    cache = Cache(SimpleFilter(), 4)
    assert cache.getLast() is None
    assert cache.getOldestTime() is None
    assert cache.getElemAfterTime(ros_time(0)) is None


def test_a_cache_goes_by_arrival():
    source = SimpleFilter()
    cache = Cache(source, 3)
    for ms in (30, 10, 20):
        source.signalMessage(stamped(ms))
    assert [ms_of(m) for m in cache.getInterval(ros_time(0), ros_time(99))] == [30, 10, 20]
    assert ms_of(cache.getElemAfterTime(ros_time(5))) == 30
    assert ms_of(cache.getElemBeforeTime(ros_time(99))) == 20
    source.signalMessage(stamped(40))
    assert cache.getOldestTime() == ros_time(10)


def test_a_cache_passes_on_and_takes_headerless_only_when_told():
    source, got = SimpleFilter(), []
    Cache(source, 1).registerCallback(lambda m: got.append("refusing"))
    Cache(source, 1, allow_headerless=True).registerCallback(lambda m: got.append("allowing"))
    source.signalMessage(String())
    source.signalMessage(stamped(1))
    assert got == ["allowing", "refusing", "allowing"]


# ---------------------------------------------------------------------------- chain, sequencer

def test_a_chain_feeds_one_filter_from_the_other():
    source, got = SimpleFilter(), []
    chain = Chain(source)
    chain.registerCallback(lambda m: got.append(ms_of(m)))
    source.signalMessage(stamped(1))
    caches = [Cache(SimpleFilter(), 2), Cache(SimpleFilter(), 5)]
    for cache in caches:
        chain.addFilter(cache)
    for ms in (2, 3, 4):
        source.signalMessage(stamped(ms))
    assert got == [1, 2, 3, 4], "each once"
    assert chain.getFilter(1) is caches[1]
    assert [ms_of(m) for m in caches[0].cache_msgs] == [3, 4]
    with pytest.raises(KeyError):
        chain.getFilter(2)
    with pytest.raises(RuntimeError):
        chain.connectInput(SimpleFilter())


class ClockOnlyNode:
    """The parts of a node that a TimeSequencer uses, with a clock that is set by hand."""

    def __init__(self) -> None:
        self.ms = 0.0

    def create_timer(self, _period, callback):
        self.tick = callback
        return SimpleNamespace(cancel=lambda: None)

    def destroy_timer(self, timer):
        self.tick = None

    def get_clock(self):
        return SimpleNamespace(now=lambda: ros_time(self.ms))


def test_a_sequencer_gives_out_by_stamp_after_the_delay():
    source, node, got = SimpleFilter(), ClockOnlyNode(), []
    sequencer = TimeSequencer(source, 0.1, 0.01, 0, node)
    sequencer.registerCallback(lambda m: got.append(ms_of(m)))
    for ms in (120, 100, 110):
        source.signalMessage(stamped(ms))
    for now in (199, 200, 215, 220):
        node.ms = now
        node.tick()
        got.append(f"at {now}")
    assert got == ["at 199", 100, "at 200", 110, "at 215", 120, "at 220"]
    source.signalMessage(stamped(119))
    node.ms = 1000
    node.tick()
    assert got[-1] == "at 220", "earlier than what has gone out"
    sequencer.shutdown()
    assert node.tick is None


def test_a_full_sequencer_loses_the_earliest():
    source, node, got = SimpleFilter(), ClockOnlyNode(), []
    TimeSequencer(source, 0.1, 0.01, 2, node).registerCallback(lambda m: got.append(ms_of(m)))
    for ms in (20, 10, 30):
        source.signalMessage(stamped(ms))
    node.ms = 1000
    node.tick()
    assert got == [20, 30]
