"""What goes out where a sweep does not come, and how soon: a period and the deadline, no more."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aqr_perception.runtime.sample_set import SampleState
from aqr_perception.runtime.sweep_watch import SWEEPS, cadence_of
from aqr_perception.runtime.synchronizer import MILLISECOND, Synchronizer, SynchronizerSettings

CAMERAS = 6
PERIOD = 100 * MILLISECOND
DEADLINE = 80 * MILLISECOND
LIDAR_LEAST = 5 * MILLISECOND


def run(messages, until=None, **changes):
    """Feed (arrival, sensor, stamp) by arrival; the synchroniser and what came out: (time, set)."""
    synchronizer = Synchronizer(SynchronizerSettings((0,) * CAMERAS, **changes))
    found = []

    def poll(now):
        found.extend((now, chosen) for chosen in synchronizer.poll(now))

    def poll_until(end):
        while (due := synchronizer.next_due()) is not None and due <= end:
            poll(due)

    for arrival, sensor, stamp in sorted(messages):
        poll_until(arrival)
        synchronizer.add(sensor, stamp, None, arrival)
        poll(arrival)
    poll_until(sorted(messages)[-1][0] if until is None else until)
    return synchronizer, found


def steady(numbers, sensors=range(1 + CAMERAS), delay=LIDAR_LEAST, period=PERIOD):
    return [(k * period + delay, sensor, k * period) for k in numbers for sensor in sensors]


def anchors(found):
    return {chosen.stamp_ns // PERIOD: chosen.anchor for _, chosen in found}


def test_a_missing_sweep_is_stood_in_for_at_the_deadline_and_the_next_one_anchors():
    messages = steady(range(20), sensors=range(1, 7)) + steady(
        [k for k in range(20) if k != 10], sensors=[0])
    synchronizer, found = run(messages)
    assert anchors(found) == {k: int(k == 10) for k in range(20)}
    (out, missing), = [item for item in found if item[1].anchor]
    assert out == 10 * PERIOD + LIDAR_LEAST + DEADLINE
    assert missing.states == (SampleState.ABSENT, *(SampleState.FRESH,) * 6)
    assert missing.timed_out
    assert synchronizer.counts.late == [0] * 7


def test_a_lidar_that_dies_leaves_a_set_a_period():
    messages = steady(range(10)) + steady(range(10, 30), sensors=range(1, 7))
    _, found = run(messages)
    assert anchors(found) == {k: int(k >= 10) for k in range(30)}
    waits = {chosen.stamp_ns // PERIOD: out - chosen.stamp_ns - LIDAR_LEAST
             for out, chosen in found}
    assert waits[10] == waits[11] == waits[12] == DEADLINE, "it may come back at any time"
    assert waits[20] == 0, "it is silent, the cameras go on alone"


def test_images_that_wait_for_a_sweep_go_out_before_the_cameras_go_on_alone():
    """The deadline is longer than it takes to know that the LiDAR is silent."""
    messages = steady(range(10)) + steady(range(10, 30), sensors=range(1, 7))
    _, found = run(messages, deadline_ns=10 * PERIOD)
    assert [chosen.stamp_ns for _, chosen in found] == [k * PERIOD for k in range(30)]
    assert {chosen.states for _, chosen in found[10:]} == {
        (SampleState.ABSENT, *(SampleState.FRESH,) * 6)}


@pytest.mark.parametrize("late", [90, 130, 190])
def test_a_sweep_that_comes_after_all_makes_no_second_set(late):
    others = steady(range(20), sensors=range(1, 7))
    sweeps = steady([k for k in range(20) if k != 10], sensors=[0])
    delayed = [(10 * PERIOD + late * MILLISECOND, 0, 10 * PERIOD)]
    synchronizer, found = run(others + sweeps + delayed)
    stamps = [chosen.stamp_ns for _, chosen in found]
    assert stamps == [k * PERIOD for k in range(20)]
    assert anchors(found)[10] == 1
    assert synchronizer.counts.late[0] == 1


def test_cameras_that_lead_or_lag_the_sweep_give_the_images_of_its_moment():
    """Stamps of images lie 45 ms around the sweep's, as on a rig whose cameras follow the LiDAR."""
    phases = [-45, -30, -10, 10, 30, 45]
    messages = steady([k for k in range(20) if k != 10], sensors=[0])
    messages += [(k * PERIOD + (phase + 8) * MILLISECOND, 1 + index,
                  k * PERIOD + phase * MILLISECOND)
                 for index, phase in enumerate(phases) for k in range(1, 20)]
    synchronizer, found = run([*messages, (10 * PERIOD + 150 * MILLISECOND, 0, 10 * PERIOD)])
    (missing,) = [chosen for _, chosen in found if chosen.samples[0] is None]
    assert [sample.stamp_ns - 10 * PERIOD for sample in missing.samples[1:]] == [
        phase * MILLISECOND for phase in phases]
    assert synchronizer.counts.late[0] == 1
    assert len(found) == 20


def test_before_the_cadence_is_known_the_cameras_wait_until_the_lidar_is_silent():
    messages = steady(range(SWEEPS - 1)) + steady(range(SWEEPS - 1, 20), sensors=range(1, 7))
    _, found = run(messages)
    assert [k for k in range(20) if k not in anchors(found)] == [5, 6, 7]


def test_a_set_a_sweep_where_nothing_is_to_stand_in():
    messages = steady(range(20), sensors=range(1, 7)) + steady(
        [k for k in range(20) if k not in (10, 11)], sensors=[0])
    _, found = run(messages, stand_in=False)
    assert [k for k in range(20) if k not in anchors(found)] == [10, 11]


def test_who_knows_that_messages_wait_is_given_nothing_before_they_are_taken():
    synchronizer, found = run(steady(range(10)))
    now = 10 * PERIOD + 2 * DEADLINE
    for sensor in range(1, 7):
        synchronizer.add(sensor, 10 * PERIOD, None, now)
    assert synchronizer.next_due() is not None
    assert synchronizer.poll(now, expire=False) == []
    synchronizer.add(0, 10 * PERIOD, None, now)
    (chosen,) = synchronizer.poll(now, expire=False)
    assert chosen.states == (SampleState.FRESH,) * 7
    assert len(found) == 10


@pytest.mark.parametrize("pause", [90, 150, 400, 10**6])
@pytest.mark.parametrize("lag", [-20, 20, 90])
def test_a_recording_that_is_held_misses_nothing(pause, lag):
    """The sweep comes before the images or after them, also by more than the deadline."""
    messages = [(k * PERIOD + (30 + (lag if sensor == 0 else 0)) * MILLISECOND
                 + (pause * MILLISECOND if k >= 12 else 0), sensor, k * PERIOD)
                for k in range(24) for sensor in range(7)]
    synchronizer, found = run(messages)
    assert anchors(found) == dict.fromkeys(range(24), 0)
    assert synchronizer.counts.late == [0] * 7


@pytest.mark.parametrize("rate", [0.2, 0.5, 2.0, 4.0])
def test_a_recording_that_is_played_at_another_rate_misses_nothing(rate):
    messages = [(round(arrival / rate), sensor, stamp)
                for arrival, sensor, stamp in steady(range(24))]
    _, found = run(messages)
    assert anchors(found) == dict.fromkeys(range(24), 0)


@st.composite
def living_streams(draw):
    """Seven sensors in a steady drive: stamps and delays jitter, each camera has a phase.

    Gives messages of 30 periods, the period, the largest jitter of the LiDAR and of the cameras.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    period = draw(st.sampled_from([50, 100, 200])) * MILLISECOND
    jitter = draw(st.integers(0, 40)) * MILLISECOND
    camera_jitter = draw(st.integers(0, 10)) * MILLISECOND
    doubled = draw(st.floats(0, 0.2))
    messages = []
    for sensor in range(1 + CAMERAS):
        reach = min(45 * MILLISECOND, period // 2 - 5 * MILLISECOND)
        phase = int(rng.integers(-reach, reach)) if sensor else 0
        delay = int(rng.integers(0, 20)) * MILLISECOND
        spread = camera_jitter if sensor else jitter
        for k in range(30):
            stamp = 10**10 + k * period + phase + int(rng.integers(-2, 3)) * MILLISECOND
            arrival = stamp + delay + int(rng.integers(0, spread + 1))
            messages += [(arrival + again * 7 * MILLISECOND, sensor, stamp)
                         for again in range(1 + (rng.random() < doubled))]
    return messages, period, jitter, camera_jitter


@settings(max_examples=40, deadline=None)
@given(living_streams(), st.integers(0, CAMERAS), st.integers(10, 22))
def test_no_gap_is_longer_than_a_period_and_the_deadline_whichever_input_dies(stream, dead, last):
    messages, period, jitter, camera_jitter = stream
    end = 10**10 + last * period
    messages = [item for item in messages if item[1] != dead or item[2] < end]
    _, found = run(messages)
    stamps = [chosen.stamp_ns for _, chosen in found]
    assert stamps == sorted(set(stamps))
    times = [out for out, _ in found] + [max(arrival for arrival, _, _ in messages)]
    steady_from = 10**10 + (SWEEPS + 1) * period
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)
            if earlier >= steady_from]
    stamp_jitter = 5 * MILLISECOND
    allowed = period + max(DEADLINE, 2 * (jitter + stamp_jitter)) + jitter + camera_jitter
    assert max(gaps) <= allowed + 2 * stamp_jitter


@settings(max_examples=40, deadline=None)
@given(living_streams())
def test_a_living_lidar_is_never_declared_missing_however_it_jitters(stream):
    messages, *_ = stream
    synchronizer, found = run(messages)
    sweeps = {stamp for _, sensor, stamp in messages if sensor == 0}
    assert {chosen.stamp_ns for _, chosen in found} >= set(sorted(sweeps)[:-2])
    assert all(chosen.anchor == 0 for _, chosen in found)
    assert synchronizer.counts.late == [0] * 7


def test_a_cadence_is_robust_to_sweeps_that_lack_and_knows_jitter():
    sweeps = [(k * PERIOD, 7 + k * PERIOD) for k in range(SWEEPS + 3)]
    assert cadence_of(sweeps[:SWEEPS - 1]) is None
    whole = cadence_of(sweeps[:SWEEPS])
    assert (whole.step_ns, whole.period_ns, whole.jitter_ns) == (PERIOD, PERIOD, 0)
    lacking = cadence_of(sweeps[:3] + sweeps[5:])
    assert (lacking.step_ns, lacking.period_ns, lacking.jitter_ns) == (PERIOD, PERIOD, 0)
    late = [(stamp, arrival + 30 * MILLISECOND * (k == 3)) for k, (stamp, arrival)
            in enumerate(sweeps[:SWEEPS])]
    assert cadence_of(late).jitter_ns == 30 * MILLISECOND
    slow = cadence_of([(stamp, 3 * arrival) for stamp, arrival in sweeps[:SWEEPS]])
    assert (slow.step_ns, slow.period_ns) == (PERIOD, 3 * PERIOD)
