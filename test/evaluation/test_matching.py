import numpy as np
import pytest
from evaluation_scenes import frame

from aqr_perception.evaluation.frames import tables
from aqr_perception.evaluation.matching import by_score, candidate_pairs, match


def matched(frames, distance=2.0):
    """Row of the truth of each detection, by row of the detection."""
    found, there = tables(frames)
    order = by_score(found.score)
    pairs = candidate_pairs(found[order], there, 4.0)
    by_row = np.empty(len(found), int)
    by_row[order] = match(pairs, distance, len(found), len(there))
    return by_row.tolist()


def test_the_better_one_takes_the_truth_also_where_it_lies_farther():
    assert matched([frame([(0.1, 0), (1.0, 0)], [0.5, 0.9], there=[(0, 0)])]) == [-1, 0]


def test_the_nearest_free_truth_is_taken():
    there = [(0, 0), (1.5, 0)]
    assert matched([frame([(0.5, 0), (0.4, 0)], [0.9, 0.8], there)]) == [0, 1]
    # 1.6 m away: not at this distance
    assert matched([frame([(0.5, 0), (-0.1, 0)], [0.9, 0.8], there)], distance=1.0) == [0, -1]


def test_the_distance_itself_is_too_far():
    assert matched([frame([(2.0, 0)], [0.9], there=[(0, 0)])]) == [-1]
    assert matched([frame([(1.9999, 0)], [0.9], there=[(0, 0)])]) == [0]


def test_of_equally_near_truths_the_first():
    assert matched([frame([(0, 0)], [0.9], there=[(1, 0), (-1, 0)])]) == [0]


def test_of_equal_scores_the_later_row_first():
    assert matched([frame([(0.5, 0), (0, 0.5)], [0.7, 0.7], there=[(0, 0)])]) == [-1, 0]


def test_frames_do_not_meet():
    frames = [frame([(0, 0)], [0.9], there=[(9, 9)]), frame([(9, 9)], [0.8], there=[(0, 0)]),
              frame([(5, 5)], [0.7], there=[(8, 8), (5, 6)])]
    assert matched(frames) == [-1, -1, 3]


def test_height_is_no_distance():
    one = frame([(0, 0)], [0.9], there=[(0, 0)])
    one.detections.boxes.center[0, 2] = 50.0
    assert matched([one]) == [0]


@pytest.mark.parametrize("seed", range(5))
def test_as_by_looking_at_one_detection_after_the_other(seed):
    rng = np.random.default_rng(seed)
    frames = [frame(rng.uniform(-6, 6, (20, 2)), rng.permutation(20 * 3)[20 * i:20 * i + 20] / 60,
                    rng.uniform(-6, 6, (15, 2))) for i in range(3)]
    found, there = tables(frames)
    expected, free = np.full(len(found), -1), set(range(len(there)))
    for row in np.argsort(-found.score):
        options = [(np.hypot(*(found.center[row] - there.center[other])), other)
                   for other in free if there.frame[other] == found.frame[row]]
        if options and min(options)[0] < 2.0:
            expected[row] = min(options)[1]
            free.remove(expected[row])
    assert matched(frames) == expected.tolist()
