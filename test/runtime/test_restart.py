"""New rounds of a recording, told from disorder."""

import numpy as np
import pytest

from aqr_perception.runtime.restart import MILLISECOND, RestartWatch

SENSORS = 7
LEAD = 40 * MILLISECOND


def starts(messages):
    """Feed (arrival, sensor, stamp) by arrival; when a start was seen."""
    watch = RestartWatch(SENSORS)
    return [arrival for arrival, sensor, stamp in sorted(messages)
            if watch.starts_again(sensor, stamp, arrival)]


def rounds(frames, count, period=100 * MILLISECOND, begin=10**9):
    """A recording of seven sensors in a loop; cameras lead the sweep by up to 40 ms."""
    for round_ in range(count):
        for k in range(frames):
            for sensor in range(SENSORS):
                stamp = k * period - (LEAD * sensor) // SENSORS
                yield begin + LEAD + round_ * frames * period + stamp, sensor, 10**12 + stamp


@pytest.mark.parametrize("frames", [1, 2, 3, 20])
def test_each_round_of_a_loop_is_one_start_at_its_first_message(frames):
    messages = sorted(rounds(frames, 5))
    begun = messages[0][0]
    assert starts(messages) == [begun + k * frames * 100 * MILLISECOND for k in range(1, 5)]


def test_a_jump_far_back_counts_at_once():
    assert starts([(10, 0, 80 * 10**9), (11, 1, 80 * 10**9), (12, 1, 0), (13, 0, 0)]) == [12]


def test_messages_that_came_twice_or_out_of_order_are_no_start():
    rng = np.random.default_rng(0)
    messages = []
    for arrival, sensor, stamp in rounds(50, 1):
        for _ in range(1 + int(rng.integers(2))):
            messages.append((arrival + int(rng.integers(0, 50)) * MILLISECOND, sensor, stamp))
    assert starts(messages) == []


def test_a_camera_that_repeats_its_picture_is_no_start():
    frozen = [(arrival, sensor, 10**12 if sensor == 3 else stamp)
              for arrival, sensor, stamp in rounds(50, 1)]
    assert starts(frozen) == []


def test_two_clocks_on_one_topic_do_not_count_each_time():
    messages = [(k * 10 * MILLISECOND, 0, 10**12 + k if k % 2 else k) for k in range(1, 400)]
    assert len(starts(messages)) <= 5


@pytest.mark.parametrize("lag", [60, 90, 150, 190, 350])
def test_duplicates_that_come_late_are_no_start(lag):
    """Sensors that send together are idle for most of a period; in it come single duplicates."""
    live = [(k * 100 * MILLISECOND + sensor, sensor, 10**12 + k * 100 * MILLISECOND)
            for k in range(40) for sensor in range(SENSORS)]
    again = [(arrival + lag * MILLISECOND, sensor, stamp) for arrival, sensor, stamp in live
             if stamp > 10**12 + 800 * MILLISECOND]
    assert starts(live + again) == []
    assert starts(live + again[::5]) == []


def test_a_duplicate_of_the_last_message_is_none_however_long_nothing_follows():
    live = [(k * 100 * MILLISECOND, 0, 10**12 + k * 100 * MILLISECOND) for k in range(20)]
    last = live[-1]
    assert starts([*live, *((last[0] + k * 10**9, 0, last[2]) for k in range(1, 9))]) == []


@pytest.mark.parametrize(("back", "expected"), [(500, 0), (1500, 1), (2900, 1)])
def test_going_back_within_a_recording_is_a_start_beyond_what_a_late_message_can_be(back, expected):
    live = [(k * 100 * MILLISECOND, 0, 10**12 + k * 100 * MILLISECOND) for k in range(30)]
    arrival, _, newest = live[-1]
    then = [(arrival + k * 100 * MILLISECOND, 0, newest + (k * 100 - back) * MILLISECOND)
            for k in range(1, 30)]
    assert len(starts(live + then)) == expected


def test_a_round_whose_beginning_was_lost_is_a_start_all_the_same():
    messages = sorted(rounds(20, 3))
    per_round = len(messages) // 3
    kept = [item for k, item in enumerate(messages) if k % per_round >= 2 * SENSORS]
    assert len(starts(kept)) == 2


def live(count):
    """Sensors one after the other, each every 100 ms, so that no moment is idle."""
    return [(when, sensor, 10**12 + when) for k in range(count) for sensor in range(SENSORS)
            for when in [(k * 100 + 14 * sensor) * MILLISECOND]]


SWITCH = 6000 * MILLISECOND


@pytest.mark.parametrize("back", [1500, 4500])
@pytest.mark.parametrize("sensor", [0, 3])
def test_one_sensors_clock_that_is_set_back_is_a_start_soon_though_the_others_go_on(sensor, back):
    messages = [(arrival, one, stamp - (back * MILLISECOND if one == sensor and arrival >= SWITCH
                                        else 0)) for arrival, one, stamp in live(120)]
    assert starts(messages) == [SWITCH + (300 + 14 * sensor) * MILLISECOND]


@pytest.mark.parametrize("ahead", [1500, 4500])
def test_one_stamp_ahead_of_its_time_is_a_start_soon_after(ahead):
    messages = [(arrival, sensor, stamp + (ahead * MILLISECOND if sensor == 0 and arrival == SWITCH
                                           else 0)) for arrival, sensor, stamp in live(120)]
    assert starts(messages) == [SWITCH + 400 * MILLISECOND]


def test_late_duplicates_do_not_go_on():
    """One message again and again, and all of them once more, as late as any can be."""
    again = [(SWITCH + (k * 10 + 3) * MILLISECOND, 0, 10**12 + 4 * 10**9) for k in range(50)]
    late = [(arrival + 700 * MILLISECOND, sensor, stamp) for arrival, sensor, stamp in live(120)]
    assert starts(live(120) + again) == []
    assert starts(live(120) + late) == []
