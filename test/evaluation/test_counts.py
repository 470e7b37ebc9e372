from dataclasses import replace

import numpy as np
from evaluation_scenes import detections, frame, truth

from aqr_perception.evaluation.counts import Counts, count
from aqr_perception.evaluation.report import Report


def test_found_missed_and_false_are_counted_by_hand():
    there = truth([(0, 0), (10, 0), (20, 0), (30, 0), (40, 0)],
                  ["car", "car", "truck", "car", "bus"], points=[5, 1, 3, 0, -1])
    found = detections([(1.9, 0), (10, 2.1), (20, 0), (30, 0), (60, 0), (40, 0)],
                       [.9, .8, .7, .6, .5, .3], name="car")
    # The first is found; the second lies too far; the third is found as another class; the fourth
    # holds no point, and its detection is still not false; the fifth's scores no more than 0.3.
    # False are those at (10, 2.1) and (60, 0).
    assert count([(found, there)]) == Counts(truths=4, found=2, found_of_class=1, detections=5,
                                             false=2)
    assert count([(found, there)]).missed == 2


def test_one_detection_may_find_two_and_two_may_find_one():
    there = truth([(0, 0), (1, 0), (50, 0)])
    found = detections([(0.5, 0), (50, 1), (50, -1)], [.9, .9, .9])
    assert count([(found, there)]) == Counts(3, 3, 3, 3, 0)


def test_height_does_not_count_and_frames_add_up():
    high = truth([(0, 0)])
    center = high.boxes.center + np.array([0, 0, 9], np.float32)
    high = replace(high, boxes=replace(high.boxes, center=center))
    one = frame([(5, 5)], [.9], [(5, 5)])
    assert count([(detections([(0, 0)], [.9]), high), one, frame()]) == Counts(2, 2, 2, 2, 0)


def test_nothing_against_nothing():
    assert count([]) == count([frame()]) == Counts(0, 0, 0, 0, 0)
    assert count([frame([(0, 0)], [.9])]) == Counts(0, 0, 0, 1, 1)
    assert count([frame(there=[(0, 0)])]) == Counts(1, 0, 0, 0, 0)


def test_a_report_says_and_writes_them():
    report = Report.of([frame([(0, 0), (70, 0)], [.9, .8], [(0, 0), (10, 0)])])
    assert report.to_json()["counts"] == {
        "score": 0.3, "distance": 2.0, "truths": 2, "found": 1, "found_of_class": 1, "missed": 1,
        "detections": 2, "false": 1}
    assert ("1 of 2 objects with a LiDAR point found (1 as their class), 1 missed, 1 of 2 "
            "detections false") in report.table()
