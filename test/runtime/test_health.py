import numpy as np
import pytest

from aqr_perception.runtime.health import SECOND, FlowMonitor, FlowReport, RunMonitor
from aqr_perception.runtime.mode import SensorUse, without_unused
from aqr_perception.runtime.sample_set import SampleState

MS = 1_000_000
FRESH, ABSENT = SampleState.FRESH, SampleState.ABSENT


def watched(arrivals_ms, stamps_ms=None):
    monitor = FlowMonitor()
    for arrival, stamp in zip(arrivals_ms, arrivals_ms if stamps_ms is None else stamps_ms):
        monitor.note(int(stamp * MS), int(arrival * MS))
    return monitor


def test_before_the_first_message():
    assert FlowMonitor().report(7) == FlowReport()


@pytest.mark.parametrize("hertz", [2.0, 10.0, 30.0])
def test_an_even_flow(hertz):
    arrivals = np.arange(40) * 1e3 / hertz
    report = watched(arrivals).report(int(arrivals[-1] * MS) + SECOND // 2)
    assert report.rate_hz == pytest.approx(hertz, rel=1e-6)
    assert report.jitter_ms == pytest.approx(0, abs=1e-3)
    assert (report.received, report.lost, report.silent_s) == (40, 0, 0.5)
    assert report.newest_stamp_ns == int(arrivals[-1] * MS)


def test_jitter_is_the_spread_of_the_steps():
    arrivals = np.cumsum([0] + [90, 110] * 10)
    assert watched(arrivals).report(int(arrivals[-1]) * MS).jitter_ms == pytest.approx(10)


def test_lost_messages_are_those_that_the_stamps_lack():
    stamps = np.delete(np.arange(30) * 100, [5, 12, 13, 20])
    assert watched(stamps).report(29 * 100 * MS).lost == 4
    late = watched(np.arange(30) * 100 + np.arange(30) % 2 * 90, np.arange(30) * 100)
    assert late.report(3_000 * MS).lost == 0


def test_what_lies_before_the_window_does_not_count():
    report = watched([*range(0, 1000, 10), *range(20_000, 21_000, 100)]).report(21_000 * MS)
    assert report.rate_hz == pytest.approx(10)
    assert report.lost == 0
    assert report.received == 110
    assert watched(range(0, 1000, 10)).report(10**12).rate_hz == 0


def test_refused_messages_are_counted_and_the_reason_lasts_until_a_good_one():
    monitor = FlowMonitor()
    monitor.refuse("the stamp is 0", SECOND)
    report = monitor.report(3 * SECOND)
    assert (report.received, report.refused, report.refusal) == (1, 1, "the stamp is 0")
    assert report.silent_s == 2.0
    monitor.note(1, 3 * SECOND)
    assert monitor.report(3 * SECOND).refusal == ""
    assert monitor.report(3 * SECOND).refused == 1


def test_a_run():
    run = RunMonitor()
    assert run.report(0).mode == ""
    run.set_came(SECOND)
    run.begin(2 * SECOND)
    report = run.report(5 * SECOND)
    assert (report.busy_s, report.set_s, report.results.silent_s) == (3.0, 4.0, None)
    assert run.dropped("no field z") == 1
    run.end()
    assert run.report(5 * SECOND).busy_s is None
    assert run.report(5 * SECOND).drop == "no field z"
    run.begin(6 * SECOND)
    run.assembled((SensorUse("LiDAR", FRESH, 0.0), SensorUse("LEFT", ABSENT, float("nan"))))
    assert run.published(1, 7 * SECOND) == 1
    run.end()
    report = run.report(8 * SECOND)
    assert (report.drop, report.dropped, report.busy_s) == ("", 1, None)
    assert (report.results.received, report.results.silent_s) == (1, 1.0)
    assert report.mode == "LiDAR + 0 of 1 cameras; LEFT absent"


def test_what_the_network_did_not_look_at_took_no_part():
    sensors = (SensorUse("LiDAR", FRESH, 0.0), SensorUse("LEFT", FRESH, 0.01),
               SensorUse("RIGHT", ABSENT, float("nan"), "RIGHT: no camera_info has come"))
    assert without_unused(sensors, ()) == sensors
    assert without_unused(sensors, (True, True, False)) == sensors
    lidar, left, right = without_unused(sensors, (False, False, False))
    assert (lidar.state, left.state) == (ABSENT, ABSENT)
    assert "no point" in lidar.problem
    assert "gain" in left.problem
    assert right == sensors[2]
