import math

import pytest

from aqr_perception.runtime.kill_check import (
    SECOND,
    Heard,
    SentSet,
    choose_kills,
    count_sets,
    judge_kills,
    living_in,
)
from aqr_perception.runtime.mode import SensorUse, describe
from aqr_perception.runtime.sample_set import SampleState

CAMERAS = ("LEFT", "RIGHT")
ALL = frozenset({0, 1, 2})
STEP_NS = SECOND // 5
LATENCY_NS = SECOND // 20


def words(alive):
    return describe([SensorUse(name, SampleState.FRESH if sensor in alive else SampleState.ABSENT,
                               0.0) for sensor, name in enumerate(("LiDAR", *CAMERAS))])


def drive(*phases):
    """Sets of phases (alive, how many): five a second, the stamps of another clock."""
    alive = [who for who, count in phases for _ in range(count)]
    return [SentSet(1_000 * SECOND + index * STEP_NS, index * STEP_NS, 0, who)
            for index, who in enumerate(alive)]


def answered(sent, lacking=(), modes=None):
    """What a detector says that needs 50 ms a set, and gives nothing for some of them."""
    outputs = [(item.stamp_ns, item.sent_ns + LATENCY_NS) for index, item in enumerate(sent)
               if index not in lacking]
    if modes is None:
        modes = [(item.sent_ns + LATENCY_NS, words(item.alive)) for index, item in enumerate(sent)
                 if index not in lacking]
    return Heard(outputs, modes, sent[-1].sent_ns + 2 * LATENCY_NS)


@pytest.mark.parametrize("alive", [ALL, {0}, {1, 2}, {0, 2}, {2}])
def test_the_mode_is_read_as_it_is_written(alive):
    assert living_in(words(alive), CAMERAS) == alive


def test_a_stale_sensor_takes_part_and_no_output_names_none():
    assert living_in("LiDAR + 2 of 2 cameras; LEFT, RIGHT stale", CAMERAS) == ALL
    assert living_in("LiDAR + 1 of 2 cameras; LEFT stale; RIGHT absent", CAMERAS) == {0, 1}
    assert living_in("no output", CAMERAS) == frozenset()


def test_all_sensors_and_all_pairs():
    kills = choose_kills(7, None)
    assert len(set(kills)) == 7 + 21
    assert [len(killed) for killed in kills] == [1] * 7 + [2] * 21


def test_some_pairs_are_drawn_the_same_way_each_time():
    kills = choose_kills(7, 4)
    assert kills == choose_kills(7, 4)
    assert len(set(kills)) == 7 + 4
    assert choose_kills(7, 0) == [frozenset({sensor}) for sensor in range(7)]
    with pytest.raises(ValueError, match="--pairs is 22; expected 0 to 21"):
        choose_kills(7, 22)


def test_a_kill_and_its_end():
    sent = drive((ALL, 5), (frozenset({0, 2}), 5), (ALL, 5))
    before, kill = judge_kills(sent, answered(sent), CAMERAS)
    assert before.killed == frozenset()
    assert kill.killed == {1}
    assert before.gap_s == kill.gap_s == pytest.approx(0.2)
    assert kill.mask_s == kill.recovery_s == pytest.approx(0.05)
    assert kill.false_masks == kill.short_masks == 0


def test_each_kill_has_its_own_gap():
    sent = drive((ALL, 5), (ALL - {0}, 6), (ALL, 5), (ALL - {2}, 5), (ALL, 5))
    before, lidar, camera = judge_kills(sent, answered(sent, lacking={5, 6}), CAMERAS)
    assert (before.gap_s, lidar.gap_s, camera.gap_s) == pytest.approx((0.2, 0.6, 0.2))
    assert lidar.mask_s == pytest.approx(2 * 0.2 + 0.05)


def test_output_that_stops_for_good_is_a_gap_up_to_the_end():
    sent = drive((ALL, 5), (ALL - {1}, 5), (ALL, 5))
    _, kill = judge_kills(sent, answered(sent, lacking=range(5, 15)), CAMERAS)
    assert kill.gap_s == pytest.approx(10 * 0.2 + 0.05)
    assert kill.mask_s is None
    assert kill.recovery_s is None


def test_a_mode_that_names_a_dead_sensor_again_or_leaves_out_a_living_one():
    sent = drive((ALL, 5), (frozenset({0, 2}), 5), (ALL, 5))
    told = [ALL] * 5 + [ALL, {0, 2}, ALL, {2}, {0, 2}] + [{0, 2}, ALL, ALL, ALL, ALL]
    modes = [(item.sent_ns + LATENCY_NS, words(who)) for item, who in zip(sent, told)]
    _, kill = judge_kills(sent, answered(sent, modes=modes), CAMERAS)
    assert kill.mask_s == kill.recovery_s == pytest.approx(0.25)
    assert (kill.false_masks, kill.short_masks) == (1, 1)


def test_the_count_of_sets():
    sent = drive((ALL, 5), (ALL - {0}, 6), (ALL, 5))
    counts = count_sets(sent, answered(sent, lacking={2, 5, 6, 8}), 0.3)
    assert (counts.sent, counts.processed) == (16, 12)
    assert counts.in_order
    assert counts.newest
    assert counts.outdated == 0
    assert not count_sets(sent, answered(sent, lacking={15}), 0.3).newest


def test_a_set_that_is_done_while_newer_ones_wait_is_outdated():
    sent = drive((ALL, 8))
    done = [(0, 50), (1, 1000), (2, 1100), (5, 1250), (7, 1600)]
    outputs = [(sent[index].stamp_ns, at_ms * 1_000_000) for index, at_ms in done]
    assert count_sets(sent, Heard(outputs, [], outputs[-1][1]), 0.3).outdated == 1


def test_results_out_of_order_or_twice():
    sent = drive((ALL, 3))
    stamps = [item.stamp_ns for item in sent]
    for order in ((0, 2, 1), (0, 1, 1, 2)):
        heard = Heard([(stamps[index], 0) for index in order], [], 0)
        assert not count_sets(sent, heard, 0.3).in_order


def test_a_gap_is_a_number_also_where_nothing_was_ever_heard():
    sent = drive((ALL, 5), (ALL - {1}, 5), (ALL, 5))
    before, kill = judge_kills(sent, Heard([], [], sent[-1].sent_ns), CAMERAS)
    assert before.gap_s == pytest.approx(1.0)
    assert math.isclose(kill.gap_s, 1.8)
