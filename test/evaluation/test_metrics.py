"""Expected values are the arithmetic of the definition: 101 points of recall, of which the 90 from
0.11 on count, above a precision of 0.1."""

import json
from dataclasses import replace

import numpy as np
import pytest
from evaluation_scenes import detections, frame, truth
from hypothesis import given, settings
from hypothesis import strategies as st

from aqr_perception.evaluation.attributes import ATTRIBUTES
from aqr_perception.evaluation.frames import EvaluationFrame, tables
from aqr_perception.evaluation.matching import by_score, candidate_pairs, match
from aqr_perception.evaluation.metrics import ERRORS, NEAR, NUSCENES, evaluate
from aqr_perception.recordings.boxes_file import read_annotations
from aqr_perception.types import CLASS_NAMES

CAR = CLASS_NAMES.index("car")
FULL = 90 * 0.9  # the area of a perfect curve


def ap_of(frames, name="car", protocol=NUSCENES):
    return evaluate(frames, protocol).class_ap[CLASS_NAMES.index(name)]


def error_of(frames, error, name="car"):
    return evaluate(frames).errors[CLASS_NAMES.index(name), ERRORS.index(error)]


def test_one_perfect_car():
    metrics = evaluate([frame([(10, 0)], [0.9], there=[(10, 0)])])
    assert metrics.class_ap == pytest.approx([1.0] + [0.0] * 9)
    assert metrics.mean_ap == pytest.approx(1 / 10)
    # nine classes without truths have the errors 1; cones have no AOE, AVE, AAE, barriers neither
    # of the last two; the car's attribute is unknown
    expected = [9 / 10, 9 / 10, 8 / 9, 7 / 8, 1]
    assert metrics.mean_errors == pytest.approx(expected)
    assert metrics.nds == pytest.approx((5 * 0.1 + sum(1 - error for error in expected)) / 10)
    assert metrics.truths.tolist() == metrics.detections.tolist() == [1] + [0] * 9


def test_everything_perfect_is_one():
    frames = [EvaluationFrame(
        detections([(5, 0)], [0.9], name), truth([(5, 0)], name),
        detection_attributes=np.array([0]), truth_attributes=np.array([0]))
        for name in CLASS_NAMES]
    metrics = evaluate(frames)
    assert metrics.mean_ap == pytest.approx(1)
    assert metrics.mean_errors == pytest.approx([0] * 5, abs=1e-6)
    assert metrics.nds == pytest.approx(1)


def test_a_miss_between_two_hits():
    there = [(0, 0), (10, 0)]
    frames = [frame([(0, 0), (5, 5), (10, 0)], [0.9, 0.8, 0.7], there)]
    # precision 1 up to recall 0.49, 1/2 at 0.5, from there in a line to 2/3 at 1
    area = 39 * 0.9 + 0.4 + sum(0.4 + k / 50 * (2 / 3 - 1 / 2) for k in range(1, 51))
    assert ap_of(frames) == pytest.approx(area / FULL)


def test_recall_that_is_not_reached_has_no_precision():
    frames = [frame([(0, 0), (10, 0)], [0.9, 0.8], [(5 * i, 0) for i in range(10)])]
    assert ap_of(frames) == pytest.approx(10 * 0.9 / FULL)  # recall 0.11 to 0.2


def test_a_tenth_of_recall_is_nothing():
    frames = [frame([(0, 0)], [0.9], [(5 * i, 0) for i in range(10)])]
    assert ap_of(frames) == 0
    assert evaluate(frames).errors[CAR].tolist() == [1] * 5


def test_precision_of_a_tenth_is_nothing():
    frames = [frame([(0, 0)] + [(20, i) for i in range(9)], [0.1] + [0.9] * 9, [(0, 0)])]
    assert ap_of(frames) == pytest.approx(0)


def test_equal_scores_stand_in_the_order_of_later_rows():
    # the later row is the hit and comes first: precision 1 up to recall 0.99, 1/2 at 1
    area = 89 * 0.9 + 0.4
    assert ap_of([frame([(9, 9), (0, 0)], [0.5, 0.5], [(0, 0)])]) == pytest.approx(area / FULL)
    # it is the miss: precision rises in a line from 0 at recall 0 to 1/2 at 1
    area = sum(max(0.5 * i / 100 - 0.1, 0) for i in range(11, 101))
    assert ap_of([frame([(0, 0), (9, 9)], [0.5, 0.5], [(0, 0)])]) == pytest.approx(area / FULL)


@pytest.mark.parametrize(("away", "expected"), [
    (0.4, [1, 1, 1, 1]), (0.7, [0, 1, 1, 1]), (1.5, [0, 0, 1, 1]), (3, [0, 0, 0, 1]),
    (4, [0, 0, 0, 0])])
def test_match_distances(away, expected):
    metrics = evaluate([frame([(10, away)], [0.9], [(10, 0)])])
    assert metrics.average_precision[CAR] == pytest.approx(expected)
    assert metrics.class_ap[CAR] == pytest.approx(sum(expected) / 4)
    # errors are those of matches within 2 m; without any they are 1
    assert metrics.errors[CAR, 0] == pytest.approx(away if away < 2 else 1)


@pytest.mark.parametrize(("name", "reach"), [
    ("car", 50), ("truck", 50), ("bus", 50), ("trailer", 50), ("construction_vehicle", 50),
    ("pedestrian", 40), ("motorcycle", 40), ("bicycle", 40), ("traffic_cone", 30), ("barrier", 30)])
def test_class_ranges(name, reach):
    inside, outside = (0, reach - 0.01), (0, reach)
    metrics = evaluate([frame([inside, outside], [0.8, 0.9], [inside, outside], name)])
    label = CLASS_NAMES.index(name)
    assert (metrics.truths[label], metrics.detections[label]) == (1, 1)
    assert metrics.class_ap[label] == pytest.approx(1)


def test_ranges_are_measured_from_their_origin():
    one = frame([(0, -50.5)], [0.9], [(0, -50.5)])
    assert evaluate([one]).truths[CAR] == 0
    assert evaluate([replace(one, range_origin=(0.0, -0.94))]).truths[CAR] == 1


def test_a_truth_without_points_is_not_there_but_one_of_unknown_points_is():
    there = [(0, 0), (5, 0), (10, 0)]
    metrics = evaluate([frame([(0, 0), (5, 0)], [0.9, 0.8], there, points=[0, -1, 1])])
    assert metrics.truths[CAR] == 2
    # the first is a false positive: precision 1/2 up to recall 1/2, in a line from 0
    area = sum(max(i / 100 - 0.1, 0) for i in range(11, 51))
    assert metrics.class_ap[CAR] == pytest.approx(area / FULL)


def test_errors_are_running_means_averaged_over_recall():
    one = EvaluationFrame(detections([(0, 0), (10, 0)], [0.9, 0.5], yaw=[0.2, -0.4]),
                          truth([(0, 0), (10, 0)]))
    # 0.2 up to recall 0.5, from there in a line to (0.2 + 0.4) / 2 at 1
    expected = (40 * 0.2 + sum(0.2 + 0.1 * k / 50 for k in range(1, 51))) / 90
    assert error_of([one], "AOE") == pytest.approx(expected, abs=1e-7)


def test_an_unknown_velocity_is_left_out_and_before_the_first_known_one_the_error_is_0():
    one = EvaluationFrame(
        detections([(0, 0), (10, 0)], [0.9, 0.5], velocity=[(0, 0), (0, 2)]),
        truth([(0, 0), (10, 0)], velocity=[(np.nan, np.nan), (0, 1)]))
    assert error_of([one], "AVE") == pytest.approx(sum(k / 50 for k in range(1, 51)) / 90)
    none = EvaluationFrame(detections([(0, 0)], [0.9], velocity=(np.nan, np.nan)),
                           truth([(0, 0)]))
    assert error_of([none], "AVE") == 1


@pytest.mark.parametrize(("name", "turn", "expected"), [
    ("car", np.pi, np.pi), ("car", 2 * np.pi + 0.3, 0.3), ("car", -0.3, 0.3),
    ("barrier", np.pi, 0.0), ("barrier", np.pi / 2, np.pi / 2), ("barrier", np.pi - 0.3, 0.3),
    ("traffic_cone", 1.0, np.nan)])
def test_orientation(name, turn, expected):
    one = EvaluationFrame(detections([(0, 0)], [0.9], name, yaw=turn), truth([(0, 0)], name))
    assert error_of([one], "AOE", name) == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_what_cones_and_barriers_have_no_error_of():
    errors = evaluate([]).errors
    undefined = {(CLASS_NAMES[label], ERRORS[error]) for label, error in
                 np.argwhere(np.isnan(errors))}
    assert undefined == {("traffic_cone", "AOE"), ("traffic_cone", "AVE"), ("traffic_cone", "AAE"),
                         ("barrier", "AVE"), ("barrier", "AAE")}


def test_scale_is_of_boxes_laid_upon_each_other():
    one = EvaluationFrame(detections([(0.5, 0)], [0.9], size=(2, 3, 1.5), yaw=1.0),
                          truth([(0, 0)], size=(4, 2, 1.5)))
    common, union = 2 * 2 * 1.5, (2 * 3 + 4 * 2 - 2 * 2) * 1.5
    assert error_of([one], "ASE") == pytest.approx(1 - common / union)


def test_attributes():
    moving, parked = ATTRIBUTES.index("vehicle.moving"), ATTRIBUTES.index("vehicle.parked")
    one = frame([(0, 0), (10, 0)], [0.9, 0.8], [(0, 0), (10, 0)])
    right = replace(one, detection_attributes=np.array([moving, parked]),
                    truth_attributes=np.array([moving, parked]))
    assert error_of([right], "AAE") == 0
    wrong = replace(right, detection_attributes=np.array([parked, -1]))
    assert error_of([wrong], "AAE") == 1
    # a truth without an attribute is not asked for it
    unasked = replace(wrong, truth_attributes=np.array([parked, -1]))
    assert error_of([unasked], "AAE") == 0
    # unknown everywhere is 1, whatever the detector says
    assert error_of([one], "AAE") == 1
    assert error_of([replace(one, detection_attributes=np.array([moving, parked]))], "AAE") == 1


@pytest.mark.parametrize("frames", [
    [], [frame()], [frame([(0, 0)], [0.9])], [frame(there=[(0, 0)])]])
def test_nothing_found_or_nothing_there_is_nothing(frames):
    metrics = evaluate(frames)
    assert metrics.mean_ap == 0
    assert metrics.mean_errors.tolist() == [1] * 5
    assert metrics.nds == 0
    assert metrics.frames == len(frames)


def test_errors_above_one_do_not_count_below_zero():
    one = EvaluationFrame(detections([(0, 0)], [0.9], velocity=(100, 0)), truth([(0, 0)]))
    metrics = evaluate([one])
    assert metrics.mean_errors[3] == pytest.approx((100 + 7) / 8)
    assert metrics.nds == pytest.approx((0.5 + 0.1 + 0.1 + 1 / 9 + 0 + 0) / 10)


def test_pairs_are_frames_measured_from_the_origin():
    one = frame([(10, 0)], [0.9], [(10, 0)])
    assert evaluate([(one.detections, one.truth)]).nds == evaluate([one]).nds


def test_near_leaves_out_what_is_far():
    near, far = (0, 29.9), (0, 30)
    metrics = evaluate([frame([near, far], [0.8, 0.9], [near, far])], NEAR)
    assert (metrics.truths[CAR], metrics.detections[CAR]) == (1, 1)
    assert metrics.class_ap[CAR] == pytest.approx(1)


def test_near_a_detection_of_a_sparse_truth_counts_neither_way():
    there, points = [(0, 0), (10, 0)], [5, 4]
    metrics = evaluate([frame([(0, 0), (10, 1)], [0.8, 0.9], there, points=points)], NEAR)
    assert metrics.truths[CAR] == 1
    # at 0.5 and 1 m the second one matches nothing: precision rises in a line to 1/2
    area = sum(max(0.5 * i / 100 - 0.1, 0) for i in range(11, 101)) / FULL
    assert metrics.average_precision[CAR] == pytest.approx([area, area, 1, 1])


def test_near_a_sparse_truth_is_used_up_by_one_detection():
    # the better of the two takes it, the other one is a false positive behind the hit
    frames = [frame([(0, 0), (10, 0), (10, 0.1)], [0.5, 0.9, 0.8], [(0, 0), (10, 0)],
                    points=[9, 0])]
    area = sum(max(0.5 * i / 100 - 0.1, 0) for i in range(11, 101)) / FULL
    assert ap_of(frames, protocol=NEAR) == pytest.approx(area)
    # nor is it there for the metrics over all boxes
    area = sum(max(1 / 3 * i / 100 - 0.1, 0) for i in range(11, 101)) / FULL
    assert ap_of(frames) == pytest.approx(area)


def test_near_the_nearest_truth_is_matched_also_where_it_is_sparse():
    there, points = [(0, 0), (1, 0)], [9, 0]
    metrics = evaluate([frame([(0.8, 0)], [0.9], there, points=points)], NEAR)
    assert metrics.class_ap[CAR] == 0
    assert metrics.errors[CAR].tolist() == [1] * 5


def test_near_keeps_truths_of_unknown_points():
    assert evaluate([frame(there=[(0, 0)], points=-1)], NEAR).truths[CAR] == 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_neither_the_order_of_frames_nor_of_boxes_nor_the_axes_matter(seed):
    rng = np.random.default_rng(seed)
    frames, moved = [], []
    scores = rng.permutation(60) / 60
    turn, shift = rng.uniform(-3, 3), rng.uniform(-20, 20, 2)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    for i in range(3):
        there, yaw, speed = (rng.uniform(-60, 60, (12, 2)), rng.uniform(-3, 3, 12),
                             rng.normal(size=(12, 2)))
        found = np.concatenate([there + rng.normal(size=(12, 2)), rng.uniform(-60, 60, (8, 2))])
        names = rng.choice(["car", "barrier", "pedestrian"], 12)
        own, order = scores[20 * i:20 * i + 20], rng.permutation(20)
        found_names = np.concatenate([names, ["car"] * 8])
        found_yaw, found_speed = np.resize(yaw, 20), np.resize(speed, (20, 2))
        points = rng.integers(-1, 8, 12)
        frames.append(EvaluationFrame(
            detections(found, own, found_names, yaw=found_yaw, velocity=found_speed),
            truth(there, names, points, yaw=yaw, velocity=speed)))
        moved.append(EvaluationFrame(
            detections((found @ rotation.T + shift)[order], own[order], found_names[order],
                       yaw=found_yaw[order] + turn, velocity=found_speed[order] @ rotation.T),
            truth(there @ rotation.T + shift, names, points, yaw=yaw + turn,
                  velocity=speed @ rotation.T), range_origin=tuple(shift)))
    for protocol in (NUSCENES, NEAR):
        before, after = evaluate(frames, protocol), evaluate(moved[::-1], protocol)
        np.testing.assert_allclose(after.average_precision, before.average_precision, atol=1e-6)
        np.testing.assert_allclose(after.errors, before.errors, atol=1e-4)


@pytest.mark.parametrize(("name", "total", "matched", "right_class"), [
    ("centerpoint", 61, 45, 44), ("pointpillars", 24, 24, 23)])
def test_reference_detections_of_a_real_frame(shared_data, name, total, matched, right_class):
    """The counts that came with the recording: boxes above 0.3, those within 2 m of a truth of any
    class, and those of its class among them."""
    folder = shared_data / "nuscenes_scene-0061"
    found, there = tables([EvaluationFrame(
        _reference(folder / "reference_detections" / f"{name}.json"), read_annotations(folder))])
    found, there = found[found.score > 0.3], there[there.points > 0]
    found = found[by_score(found.score)]
    assert (len(found), len(there)) == (total, 65)
    row = match(candidate_pairs(found, there, 2.0), 2.0, len(found), len(there))
    assert (row >= 0).sum() == matched
    assert (found.label[row >= 0] == there.label[row[row >= 0]]).sum() == right_class


def _reference(path):
    entries = json.loads(path.read_text())["detections"]
    order = np.argsort([-entry["score"] for entry in entries], kind="stable")
    entries = [entries[i] for i in order]
    return detections([entry["center"][:2] for entry in entries],
                      [entry["score"] for entry in entries],
                      [entry["class_name"] for entry in entries])
