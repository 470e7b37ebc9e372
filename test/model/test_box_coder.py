from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from rig import make_frame

from aqr_perception.model.box_coder import decode, decode_boxes, encode_boxes, top_boxes
from aqr_perception.types import CLASS_NAMES, Controls, DetectorOutput, Mounting

BOX = torch.tensor([10.0, -4.0, -0.9, 4.5, 1.9, 1.6, 0.7, 3.0, -1.0])


def output_of(scored, boxes=None, has_input=True):
    """One frame; ``scored`` is a list of (query, class, score), all other scores are tiny."""
    queries = 6
    logits = torch.full((1, 1, queries, 10), -9.0)
    for query, label, score in scored:
        logits[0, 0, query, label] = np.log(score / (1 - score))
    code = encode_boxes(BOX if boxes is None else boxes).expand(1, 1, queries, 10)
    return DetectorOutput(logits, code, torch.zeros(1, queries, 3), torch.tensor([has_input]))


def decoded(output, mounting=None, **controls):
    return decode(output, [make_frame()], mounting or Mounting(), Controls(**controls))[0]


def test_order_of_the_code():
    """The ten numbers are x, y, log l, log w, z, log h, sin, cos, vx, vy."""
    code = torch.tensor([1.0, 2.0, math.log(4), math.log(3), 5.0, math.log(6), 1.0, 0.0, 7.0, 8.0])
    torch.testing.assert_close(decode_boxes(code), torch.tensor(
        [1.0, 2.0, 5.0, 4.0, 3.0, 6.0, math.pi / 2, 7.0, 8.0]))


def test_code_round_trip():
    boxes = torch.rand(50, 9, dtype=torch.float64) * 3 + 0.1
    torch.testing.assert_close(decode_boxes(encode_boxes(boxes)), boxes)
    torch.testing.assert_close(decode_boxes(encode_boxes(boxes[:, :7])), boxes[:, :7])


def test_boxes_return_best_first_and_a_query_may_say_two_things():
    found = decoded(output_of([(3, 0, 0.8), (3, 1, 0.5), (1, 8, 0.9)]))
    np.testing.assert_allclose(found.scores, [0.9, 0.8, 0.5], rtol=1e-5)
    assert found.labels.tolist() == [8, 0, 1]
    np.testing.assert_allclose(found.boxes.center[0], BOX[:3])
    np.testing.assert_allclose(found.boxes.size[0], BOX[3:6], rtol=1e-6)
    assert found.boxes.yaw[0] == pytest.approx(0.7)
    assert (found.stamp_ns, found.frame_id) == (make_frame().stamp_ns, "lidar")


def test_boxes_return_into_the_lidar_frame():
    found = decoded(output_of([(0, 0, 0.9)]), Mounting("x", 0.0))
    # x of the LiDAR is y of the model; its origin lies on the ground.
    np.testing.assert_allclose(found.boxes.center[0], [-4.0, -10.0, -0.9 + 1.84], atol=1e-5)
    assert found.boxes.yaw[0] == pytest.approx(0.7 - np.pi / 2)
    np.testing.assert_allclose(found.boxes.velocity[0], [-1.0, -3.0], atol=1e-5)


def test_thresholds_are_by_class():
    output = output_of([(0, 0, 0.3), (1, 8, 0.3), (2, 9, 0.15)])
    found = decoded(output, score_threshold=0.2, class_score_thresholds={"pedestrian": 0.4,
                                                                         "traffic_cone": 0.1})
    assert [CLASS_NAMES[label] for label in found.labels] == ["car", "traffic_cone"]


@pytest.mark.parametrize(("asked", "given"), [(1, 1), (3, 3), (60, 60), (1000, 60)])
def test_the_number_of_boxes_is_limited_by_what_there_is(asked, given):
    output = output_of([(0, 0, 0.9)])
    assert len(decoded(output, max_detections=asked, score_threshold=0.0)) == given


@pytest.mark.parametrize("center", [(61.3, 0, 0), (0, -61.3, 0), (0, 0, 10.1), (0, 0, -10.1)])
def test_boxes_outside_the_range_are_dropped(center):
    boxes = BOX.clone()
    boxes[:3] = torch.tensor(center)
    assert not len(decoded(output_of([(0, 0, 0.9)], boxes), score_threshold=0.0))


def test_the_range_is_the_networks_own():
    output, nearby = output_of([(0, 0, 0.9)]), (-9.0, -9.0, -10.0, 9.0, 9.0, 10.0)
    assert not len(decode(output, [make_frame()], Mounting(), Controls(), post_range=nearby)[0])


def test_boxes_at_the_end_of_the_range_stay():
    boxes = BOX.clone()
    boxes[:3] = torch.tensor([61.2, -61.2, 10.0])
    assert len(decoded(output_of([(0, 0, 0.9)], boxes), max_detections=1)) == 1


def test_a_frame_without_input_has_no_boxes():
    assert not len(decoded(output_of([(0, 0, 0.9)], has_input=False), score_threshold=0.0))


@pytest.mark.parametrize("place", [(0, 0), (5, 9)])
def test_scores_that_are_no_numbers_are_no_empty_road(place):
    output = output_of([(0, 0, 0.9)])
    output.logits[0, 0][place] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        decoded(output, max_detections=1)


def test_a_box_without_numbers_is_dropped_and_the_others_stay():
    output = output_of([(0, 0, 0.9), (1, 3, 0.8)])
    output = replace(output, boxes=output.boxes.clone())  # it was one row, seen several times
    output.boxes[..., 1, 0] = torch.nan
    assert decoded(output, score_threshold=0.5).labels.tolist() == [0]


def test_boxes_without_numbers_are_no_empty_road():
    output = output_of([(0, 0, 0.9)])
    output = replace(output, boxes=output.boxes * torch.nan)
    with pytest.raises(ValueError, match="not finite"):
        decoded(output)
    assert not len(decoded(replace(output, has_input=torch.tensor([False]))))


def test_overlong_sizes_do_not_become_boxes():
    code = encode_boxes(BOX).clone()
    code[2] = 200.0
    _, _, _, kept = top_boxes(torch.zeros(1, 1, 10), code.expand(1, 1, 10), 10)
    assert not kept.any()


def test_close_detections_of_a_class_make_room_for_others():
    output = output_of([(0, 0, 0.9), (1, 0, 0.8), (2, 0, 0.7), (3, 8, 0.6)])
    boxes = output.boxes.clone()
    boxes[0, 0, 2, 0] += 5
    output = replace(output, boxes=boxes)
    found = decode(output, [make_frame()], Mounting(), Controls(max_detections=3),
                   separation=(1.0,) * len(CLASS_NAMES))[0]
    np.testing.assert_allclose(found.scores, [0.9, 0.7, 0.6], rtol=1e-5)
