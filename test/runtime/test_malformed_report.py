import json
from collections import Counter
from dataclasses import replace

import pytest

from aqr_perception.runtime.malformed_report import (
    MalformedReport,
    broken,
    figures,
    lines,
    pattern_of,
)

FINE = MalformedReport(100, 90, 0, 0, Counter({"this": 60, "that": 30}), 500.0, 510.0, True)


@pytest.mark.parametrize(("one", "other"), [
    ("CAM_BACK: the image is 3×70000 pixels", "CAM_FRONT: the image is 255×8 pixels"),
    ("LiDAR: it has the fields 'x', 'y'", "LiDAR: it has the fields 'a', 'b'"),
    ("CAM_BACK: k is 1e+300, -2.5, nan", "CAM_BACK: k is inf, 0, -inf, 7"),
    ("CAM_BACK: encoding '" + "x" * 1000 + "' is none", "CAM_BACK: encoding '' is none")])
def test_reasons_that_differ_in_values_alone_are_one(one, other):
    assert pattern_of(one) == pattern_of(other)


def test_other_reasons_are_others():
    assert pattern_of("LiDAR: it holds no point") != pattern_of("LiDAR: it holds 3 points")
    assert len(pattern_of("a long story " * 100)) < 120


def test_the_lines_name_figures_and_reasons():
    words = "\n".join(lines(FINE))
    assert "100 malformed messages, one a set: 90 refused, 10 of use" in words
    assert "60  this" in words
    assert "500.0 MiB after the warm-up, 510.0 at the end (+10.0)" in words
    many = replace(FINE, reasons=Counter(map(str, range(40))))
    assert "and 25 other reasons" in "\n".join(lines(many))


@pytest.mark.parametrize(("changes", "words"), [
    ({"lost": 2}, "sets lost: 2"), ({"others": 1}, "another sensor than the malformed one: 1"),
    ({"after_mib": 600.0}, "memory grew by 100.0 MiB; at most 64"),
    ({"same": False}, "not give the same detections")])
def test_each_bound_that_does_not_hold_is_named(changes, words):
    assert broken(FINE) == []
    (found,) = broken(replace(FINE, **changes))
    assert words in found


def test_figures_go_through_json():
    kept = json.loads(json.dumps(figures(FINE)))
    assert kept["reasons"] == {"this": 60, "that": 30}
    assert kept["refused"] == 90
