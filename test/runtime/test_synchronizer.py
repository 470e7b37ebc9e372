"""Sets of seven under jitter, drops, duplicates, reordering, dead inputs and bursts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aqr_perception.runtime.sample_set import SampleState
from aqr_perception.runtime.synchronizer import MILLISECOND, Synchronizer, SynchronizerSettings

CAMERAS = 6
PERIOD = 100 * MILLISECOND


def make(**changes):
    return Synchronizer(SynchronizerSettings(camera_offsets_ns=(0,) * CAMERAS, **changes))


def run(synchronizer, messages, until=None):
    """Feed (arrival, sensor, stamp) by arrival, polling whenever something is due."""
    sets = []
    for arrival, sensor, stamp in sorted(messages):
        while (due := synchronizer.next_due()) is not None and due <= arrival:
            sets += synchronizer.poll(due)
        synchronizer.add(sensor, stamp, (sensor, stamp), arrival)
        sets += synchronizer.poll(arrival)
    while until is not None and (due := synchronizer.next_due()) is not None and due <= until:
        sets += synchronizer.poll(due)
    return sets


def stream(count, sensors=range(1 + CAMERAS), delay=5 * MILLISECOND, start=0):
    return [(start + k * PERIOD + delay, sensor, start + k * PERIOD)
            for k in range(count) for sensor in sensors]


def test_complete_sets_go_out_with_the_last_message():
    sets = run(make(), stream(10))
    assert [s.stamp_ns for s in sets] == [k * PERIOD for k in range(10)]
    assert all(s.states == (SampleState.FRESH,) * 7 and not s.timed_out for s in sets)
    assert all(s.waited_ns == 0 for s in sets)


def test_a_dead_camera_is_absent_and_waited_for_only_until_it_is_known_to_be_silent():
    sets = run(make(), stream(20, sensors=[0, 1, 2, 3, 4, 5]), until=3 * 10**9)
    assert len(sets) == 20
    assert all(s.states[6] is SampleState.ABSENT and s.samples[6] is None for s in sets)
    assert all(s.states[:6] == (SampleState.FRESH,) * 6 for s in sets)
    assert sets[0].timed_out
    assert not sets[-1].timed_out
    assert sets[-1].waited_ns == 0


@pytest.mark.parametrize(("shift", "delay", "expected"), [(130, 135, 30), (70, 90, -30),
                                                         (0, 105, -100)])
def test_how_far_off_a_camera_is_that_flows_but_is_in_no_set(shift, delay, expected):
    """A clock that is ahead or behind by more than the tolerance, or messages that are late."""
    messages = stream(30, sensors=range(6)) + [
        (k * PERIOD + delay * MILLISECOND, 6, k * PERIOD + shift * MILLISECOND) for k in range(30)]
    last = run(make(tolerance_ns=20 * MILLISECOND, stale_ns=20 * MILLISECOND,
                    deadline_ns=50 * MILLISECOND), messages)[-2]
    assert last.states[6] is SampleState.ABSENT
    assert last.missed_ns == (None,) * 6 + (expected * MILLISECOND,)


def test_a_camera_that_comes_back_is_in_the_next_set():
    messages = stream(30, sensors=range(6)) + stream(10, sensors=[6], start=20 * PERIOD)
    sets = run(make(), messages)
    states = {s.stamp_ns: s.states[6] for s in sets}
    assert states[19 * PERIOD] is SampleState.ABSENT
    assert states[21 * PERIOD] is SampleState.FRESH


def test_cameras_anchor_while_the_lidar_is_silent_and_yield_when_it_returns():
    messages = (stream(10) + stream(20, sensors=range(1, 7), start=10 * PERIOD)
                + stream(10, start=30 * PERIOD))
    sets = run(make(), messages)
    by_anchor = {s.stamp_ns // PERIOD: s.anchor for s in sets}
    assert by_anchor[9] == 0
    assert by_anchor[20] == 1
    assert by_anchor[35] == 0
    absent = next(s for s in sets if s.stamp_ns == 20 * PERIOD)
    assert absent.samples[0] is None
    assert absent.states[1:] == (SampleState.FRESH,) * 6
    stamps = [s.stamp_ns for s in sets]
    assert stamps == [k * PERIOD for k in range(40)], "a set a period all the while"


def test_offsets_choose_the_image_that_was_expected():
    synchronizer = Synchronizer(SynchronizerSettings(
        camera_offsets_ns=(-40 * MILLISECOND, 30 * MILLISECOND)))
    messages = [(k * PERIOD + 1, 0, k * PERIOD) for k in range(5)]
    for camera, offset in ((1, -40), (2, 30)):
        messages += [(k * PERIOD + offset * MILLISECOND + 2, camera,
                      k * PERIOD + offset * MILLISECOND) for k in range(5)]
    for chosen in run(synchronizer, [m for m in messages if m[0] > 0], until=10**9)[1:]:
        assert chosen.samples[1].stamp_ns == chosen.stamp_ns - 40 * MILLISECOND
        assert chosen.samples[2].stamp_ns == chosen.stamp_ns + 30 * MILLISECOND


def test_an_old_image_is_stale_when_allowed_and_absent_when_not():
    messages = [*stream(1), *stream(3, sensors=range(6), start=PERIOD)]
    strict = run(make(), messages, until=10**9)
    lenient = run(make(stale_ns=150 * MILLISECOND), messages, until=10**9)
    assert [s.states[6].value for s in strict] == ["fresh", "absent", "absent", "absent"]
    assert [s.states[6].value for s in lenient] == ["fresh", "stale", "absent", "absent"]


def test_a_clock_that_jumps_back_clears_the_state():
    synchronizer = make()
    first = run(synchronizer, stream(5))
    again = run(synchronizer, stream(5))
    assert [s.stamp_ns for s in again] == [s.stamp_ns for s in first]
    assert synchronizer.counts.jumps == 1


def test_a_sweep_that_overtook_another_is_put_in_order_and_a_late_one_is_counted():
    synchronizer = make()
    sets = run(synchronizer, [(10, 0, 2), (11, 0, 1)], until=10**9)
    assert [s.stamp_ns for s in sets] == [1, 2]
    synchronizer.add(0, 0, None, 2 * 10**9)
    assert synchronizer.poll(3 * 10**9) == []
    assert synchronizer.counts.late[0] == 1


@pytest.mark.parametrize("changes", [{"deadline_ns": -1}, {"silent_ns": 0}, {"buffer": 0},
                                     {"stale_ns": 0}])
def test_settings_that_make_no_sense_are_named(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        make(**changes)


@st.composite
def rough_streams(draw):
    """Ten-odd periods of seven sensors: jittered, late, lost, doubled and partly dead."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    loss, double = draw(st.floats(0, 0.5)), draw(st.floats(0, 0.3))
    delay = draw(st.integers(0, 120)) * MILLISECOND
    dead = draw(st.sets(st.integers(0, CAMERAS), max_size=CAMERAS + 1))
    messages = []
    for sensor in range(1 + CAMERAS):
        if sensor in dead:
            continue
        phase = int(rng.integers(0, PERIOD))
        for k in range(15):
            stamp = 10**9 + k * PERIOD + phase + int(rng.integers(-5, 6)) * MILLISECOND
            if rng.random() < loss:
                continue
            for _ in range(1 + (rng.random() < double)):
                messages.append((stamp + int(rng.integers(0, delay + 1)), sensor, stamp))
    return messages


@settings(max_examples=150, deadline=None)
@given(rough_streams(), st.integers(0, 150))
def test_properties_of_any_stream(messages, stale_extra):
    limits = SynchronizerSettings(camera_offsets_ns=(0,) * CAMERAS,
                                  stale_ns=(60 + stale_extra) * MILLISECOND)
    synchronizer = Synchronizer(limits)
    sets = run(synchronizer, messages, until=10**11)
    stamps = [s.stamp_ns for s in sets]
    assert stamps == sorted(set(stamps)), "in order, each once"
    assert synchronizer.next_due() is None
    for chosen in sets:
        assert chosen.samples[chosen.anchor].stamp_ns == chosen.stamp_ns
        assert chosen.waited_ns <= limits.deadline_ns or chosen.timed_out
        for sensor, (sample, state) in enumerate(zip(chosen.samples, chosen.states)):
            assert (sample is None) == (state is SampleState.ABSENT)
            if sample is None:
                continue
            assert sample.payload == (sensor, sample.stamp_ns), "samples keep to their sensor"
            distance = abs(sample.stamp_ns - chosen.stamp_ns)
            # where a sweep is missing, all images are near its moment, the anchor's too
            apart = limits.tolerance_ns if chosen.anchor and chosen.timed_out else 0
            assert distance <= limits.stale_ns + apart
            if state is SampleState.FRESH:
                assert distance <= limits.tolerance_ns + apart
    sweeps = {stamp for _, sensor, stamp in messages if sensor == 0}
    anchored = {s.stamp_ns for s in sets if s.anchor == 0}
    assert len(anchored) + synchronizer.counts.late[0] == len(sweeps), "no sweep is lost unsaid"


@settings(max_examples=40, deadline=None)
@given(st.sets(st.integers(0, CAMERAS), min_size=1))
def test_any_living_subset_keeps_sets_coming(alive):
    sets = run(make(), stream(30, sensors=sorted(alive)), until=10**10)
    settled = [s for s in sets if s.stamp_ns >= 6 * PERIOD]
    assert len(settled) == 24
    for chosen in settled:
        assert {i for i, sample in enumerate(chosen.samples) if sample is not None} == alive


@pytest.mark.parametrize("period", [PERIOD, 5 * PERIOD, 20 * PERIOD])
def test_a_slow_or_held_recording_silences_nobody(period):
    """Sweeps keep to be waited for, though the steps are longer than `silent_ns`."""
    messages = [(k * period + hold + (6 - sensor) * MILLISECOND, sensor, k * PERIOD)
                for k in range(20) for sensor in range(1 + CAMERAS)
                for hold in [10**11 if k >= 10 else 0]]
    sets = run(make(), messages, until=10**13)
    assert [s.stamp_ns for s in sets] == [k * PERIOD for k in range(20)]
    assert all(s.anchor == 0 and s.states == (SampleState.FRESH,) * 7 for s in sets)


def test_a_lidar_that_dies_in_a_slow_recording_is_noticed_too():
    slow = 5 * PERIOD
    messages = [(k * slow + sensor, sensor, k * slow) for k in range(20)
                for sensor in range(1 + CAMERAS) if sensor or k < 10]
    sets = run(make(), messages, until=10**13)
    assert [s.anchor for s in sets if s.stamp_ns >= 13 * slow] == [1] * 7


def test_sensors_that_come_back_together_make_one_set():
    """Before the last of them is there, each camera in turn would be the anchor."""
    arrivals = {5: 1, 4: 2, 3: 3, 2: 4, 1: 5, 0: 6, 6: 7}
    messages = (stream(10) + stream(10, sensors=[5, 6], start=10 * PERIOD)
                + [(20 * PERIOD + arrivals[sensor], sensor, 20 * PERIOD) for sensor in range(7)])
    sets = run(make(), messages, until=10**10)
    (back,) = [s for s in sets if s.stamp_ns == 20 * PERIOD]
    assert back.anchor == 0
    assert back.states == (SampleState.FRESH,) * 7


def test_what_waits_at_the_end_of_a_round_goes_out_as_it_is():
    synchronizer = make()
    assert run(synchronizer, stream(1, sensors=[0, 1])) == []
    (last,) = synchronizer.flush(10 * MILLISECOND)
    assert [state.value for state in last.states] == ["fresh"] * 2 + ["absent"] * 5
    assert synchronizer.flush(10 * MILLISECOND) == []
    assert synchronizer.next_due() is None


@pytest.mark.parametrize(("eager", "expected"), [(True, -50), (False, 30)])
def test_the_first_set_takes_what_is_there_or_what_is_closest(eager, expected):
    synchronizer = Synchronizer(SynchronizerSettings((0,), eager_start=eager))
    sets = run(synchronizer, [(50, 1, -50 * MILLISECOND), (60, 0, 0),
                              (30 * MILLISECOND, 1, 30 * MILLISECOND)], until=10**9)
    assert [s.samples[1].stamp_ns for s in sets] == [expected * MILLISECOND]
