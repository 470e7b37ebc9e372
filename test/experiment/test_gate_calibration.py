from __future__ import annotations

import math

import pytest

from aqr_perception.experiment.calibration import (
    auroc,
    blame_auroc,
    mean_of,
    sensor_auroc,
    share_kept,
    share_put_right,
)


@pytest.mark.parametrize(("scores", "positive", "expected"), [
    ([3, 2, 1, 0], [1, 1, 0, 0], 1.0), ([0, 1, 2, 3], [1, 1, 0, 0], 0.0),
    ([3, 1, 2, 0], [1, 1, 0, 0], 3 / 4), ([1, 1, 1, 1], [1, 0, 1, 0], 1 / 2),
    ([2, 1, 1, 0], [1, 1, 0, 0], (1 + 1 + 1 / 2 + 1) / 4)])
def test_auroc_is_the_chance_that_a_positive_scores_higher(scores, positive, expected):
    assert auroc(scores, positive) == pytest.approx(expected)


@pytest.mark.parametrize("positive", [[1, 1], [0, 0]])
def test_auroc_of_one_kind_is_not_known(positive):
    assert math.isnan(auroc([1, 2], positive))


def test_sensors_that_are_absent_or_unjudged_do_not_count():
    faulty = [{"kept": [0.1, 0.9, None], "leave_out": [1.0, 0.0, 0.0]},
              {"kept": [0.0, 0.0, 0.0], "leave_out": [None, None, None]}]
    clean = [{"kept": [0.2, 0.05, 1.0], "leave_out": [0.0, 0.0, 0.0]}, {}]
    # The one positive, 0.9, is above the negatives 0.1, 0.8 and 0, and below 0.95.
    assert sensor_auroc(faulty, clean) == pytest.approx(3 / 4)


def test_blame_goes_to_who_may_keep_less():
    lidar = [{"kept": [0.1, 0.8, 1.0], "leave_out": [1.0, 0.0, 0.0]}]
    cameras = [{"kept": [0.9, 0.2, 0.4], "leave_out": [0.0, 1.0, 1.0]},
               {"kept": [0.0, 1.0, 1.0], "leave_out": [0.0, 0.0, 0.0]}]  # the car stood
    assert blame_auroc(lidar, cameras) == 1.0
    assert blame_auroc(cameras[:1], lidar) == 0.0


def test_means_are_over_frames_that_have_the_number():
    assert mean_of("x", [{"x": 1.0}, {"x": None}, {}, {"x": 3.0}]) == 2.0
    assert math.isnan(mean_of("x", [{}]))


def test_what_is_kept_is_told_apart_by_whether_it_is_better_left_out():
    frames = [{"kept": [0.1, 0.9, None], "leave_out": [1.0, 0.0, 0.0]},
              {"kept": [0.3, 0.5, 0.2], "leave_out": [1.0, 0.0, None]}, {}]
    assert share_kept(frames, leave_out=True) == pytest.approx(0.2)
    assert share_kept(frames, leave_out=False) == pytest.approx(0.7)
    assert math.isnan(share_kept(frames[2:], leave_out=True))


def test_frames_in_which_nothing_is_ever_put_right_do_not_count():
    frames = [{"put_right": [0.0, 0.0, 0.0, 0.0, 0.6]}, {"put_right": [0.2, 0.0, 0.0, 1.0, 0.6]},
              {"put_right": [0.0, -3.0, 0.0, 0.0, 0.6]}, {}]
    assert share_put_right(frames) == pytest.approx(2 / 3)
    assert math.isnan(share_put_right(frames[3:]))
