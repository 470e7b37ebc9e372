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
