"""Detections that stand too close together."""

from __future__ import annotations

import numpy as np

from aqr_perception.model.separation import kept_apart


def kept(places, labels, separation):
    return kept_apart(np.array(places, float).reshape(-1, 2), np.array(labels, int),
                      separation).tolist()


def test_the_weaker_of_two_is_left_out():
    assert kept([[0, 0], [0.5, 0], [3, 0]], [0, 0, 0], [1.0]) == [True, False, True]


def test_who_is_left_out_leaves_nobody_out():
    assert kept([[0, 0], [0.8, 0], [1.6, 0]], [0, 0, 0], [1.0]) == [True, False, True]


def test_classes_do_not_mind_each_other_and_each_has_its_distance():
    places, labels = [[0, 0], [0, 0], [0.5, 0], [0.5, 0]], [0, 1, 0, 1]
    assert kept(places, labels, [1.0, 0.2]) == [True, True, False, True]


def test_zero_keeps_all_and_nothing_is_fine():
    assert kept([[0, 0], [0, 0]], [0, 0], [0.0]) == [True, True]
    assert kept([], [], [1.0]) == []


def test_it_is_the_loop_that_it_says():
    rng = np.random.default_rng(0)
    places, labels = rng.uniform(0, 10, (200, 2)), rng.integers(0, 3, 200)
    separation = [0.5, 1.0, 2.0]
    stay = []
    for one in range(200):
        if all(labels[one] != labels[other]
               or np.hypot(*(places[one] - places[other])) >= separation[labels[one]]
               for other in stay):
            stay.append(one)
    assert np.flatnonzero(kept(places, labels, separation)).tolist() == stay
