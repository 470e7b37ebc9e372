from dataclasses import replace

import pytest

from aqr_perception.runtime.kill_check import SECOND, Heard, SentSet, VehicleRun
from aqr_perception.runtime.vehicle_report import broken, lines, report_of

CAMERAS = ("LEFT", "RIGHT")
ALL = frozenset({0, 1, 2})
STAGES = {"wait": (3.0, 9.0, 80.0), "decode": (8.0, 9.0, 12.0), "preprocess": (5.0, 6.0, 10.0),
          "transfer": (0.0, 0.0, 0.0), "inference": (70.0, 80.0, 90.0),
          "postprocess": (1.0, 1.0, 1.0), "publish": (1.5, 2.0, 3.0),
          "stamp_to_publish": (90.0, 110.0, 190.0)}
WORDS = {ALL: "LiDAR + 2 of 2 cameras", ALL - {1}: "LiDAR + 1 of 2 cameras; LEFT absent",
         ALL - {0}: "2 of 2 cameras; LiDAR absent"}


def run(rate_hz=5):
    """LEFT dies and comes back, then the LiDAR."""
    alive = [ALL] * 5 + [ALL - {1}] * 5 + [ALL] * 5 + [ALL - {0}] * 5 + [ALL] * 5
    sent = [SentSet(1 + k, k * SECOND // rate_hz, 0, who) for k, who in enumerate(alive)]
    late = SECOND // 10
    heard = Heard([(item.stamp_ns, item.sent_ns + late) for item in sent],
                  [(item.sent_ns + late, WORDS[item.alive]) for item in sent],
                  sent[-1].sent_ns + 2 * late)
    return VehicleRun(sent, heard, 0, 0, STAGES, 0.08)


def without(found, *stamps):
    outputs = [output for output in found.heard.outputs if output[0] not in stamps]
    return replace(found, heard=replace(found.heard, outputs=outputs))


def test_the_figures():
    report = report_of(run(), CAMERAS, 5.0)
    assert report.longest_gap_s == pytest.approx(0.2)
    assert report.allowed_gap_s == pytest.approx(0.2 + 0.08 + 0.101)
    assert report.recovery_s == pytest.approx(0.1)
    assert report.masks_right
    assert (report.sets_sent, report.sets_processed, report.sets_passed_over,
            report.sets_lost) == (25, 25, 0, 0)
    assert report.node_overhead_ms_p50 == pytest.approx(3.0 + 8.0 + 1.5)
    assert report.network_ms_p50 == pytest.approx(76.0)
    assert broken(report) == []


def test_the_table_names_each_kill():
    table = lines(report_of(run(), CAMERAS, 5.0))
    assert [line.split()[0] for line in table[:4]] == ["killed", "none", "LEFT", "LiDAR"]
    assert table[2].split() == ["LEFT", "0.20", "0.10", "0.10"]
    assert table[4].startswith("allowed gap: 0.38 s")
    assert "25 sent, 25 processed, 0 passed over" in table[5]
    assert len(table) == 7
    late = run()
    late = replace(late, sent=[replace(late.sent[0], late_ns=SECOND // 5), *late.sent[1:]])
    assert "the sender itself was up to 200 ms late" in lines(report_of(late, CAMERAS, 5.0))[-1]


@pytest.mark.parametrize(("found", "words"), [
    (without(run(), 7, 8), "LEFT: 0.60 s without output; at most 0.38"),
    (without(run(), 25), "the last set was not processed"),
    (without(run(), 7), "sets lost: 1"),
    (without(replace(run(), dropped=1), 7), "sets dropped: 1"),
    (replace(run(), passed_over=1), "sets passed over at 5 Hz: 1"),
])
def test_each_bound_that_does_not_hold_is_named(found, words):
    failures = broken(report_of(found, CAMERAS, 5.0))
    assert [failure for failure in failures if words in failure], failures


def test_the_lidar_has_the_same_bound_as_a_camera():
    failures = broken(report_of(without(run(), 17, 18), CAMERAS, 5.0))
    assert failures == ["LiDAR: 0.60 s without output; at most 0.38", "sets lost: 2"]


def test_modes_that_are_wrong_late_or_never():
    found = run()
    modes = [mode for mode in found.heard.modes if mode[1] != WORDS[ALL - {1}]]
    modes = [mode for mode in modes if not mode[0] > 20 * SECOND // 5]
    failures = broken(report_of(replace(found, heard=replace(found.heard, modes=modes)),
                                CAMERAS, 5.0))
    assert "LEFT: the mode never said so" in failures
    assert "LiDAR: did not come back" in failures
    report = report_of(found, CAMERAS, 5.0)
    assert report.masks_right
    modes = [*found.heard.modes[:8], (8 * SECOND // 5, WORDS[ALL - {0}]), *found.heard.modes[8:]]
    short = report_of(replace(found, heard=replace(found.heard, modes=modes)), CAMERAS, 5.0)
    assert not short.masks_right
    wrong = [replace(row, false_masks=2, short_masks=1, recovery_s=1.5) for row in report.kills[1:]]
    failures = broken(replace(report, kills=(report.kills[0], *wrong)))
    assert "LEFT: the mode named a dead sensor 2 times" in failures
    assert "LEFT: the mode left out a living sensor 1 times" in failures
    assert "LiDAR: back after 1.50 s; at most 1" in failures


def test_a_backlog_is_named():
    found = run(10)
    late = [(stamp, arrival + (0 if stamp < 3 else SECOND // 2)) for stamp, arrival
            in found.heard.outputs]
    late_run = replace(found, heard=replace(found.heard, outputs=late))
    report = report_of(late_run, CAMERAS, 10.0)
    assert report.sets_outdated == 21
    assert "sets processed though a newer one was there: 21" in broken(report)


def test_above_five_sets_a_second_the_newest_is_enough():
    found = replace(run(10), passed_over=2)
    report = report_of(without(found, 3, 4), CAMERAS, 10.0)
    assert report.sets_lost == 0
    assert not [failure for failure in broken(report) if "passed over" in failure]
