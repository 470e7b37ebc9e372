import json

import numpy as np
import pytest
from training_frames import make_frame

from aqr_perception.recordings.boxes_file import (
    read_annotations,
    read_detections,
    write_annotations,
    write_detections,
    write_detections_of_frames,
)
from aqr_perception.types import Annotations, Detections

BOX = {"class_name": "car", "center": [1, 2, 3], "size_lwh": [4, 2, 1.5], "yaw": 0.5,
       "velocity": [1, 0], "num_lidar_pts": 7, "score": 0.5}


@pytest.fixture
def detections():
    _, annotations = make_frame(1)
    scores = np.linspace(0.9, 0.1, len(annotations)).astype(np.float32)
    return Detections(1532402927647951000, "LIDAR_TOP", annotations.boxes, scores,
                      annotations.labels)


def written(folder, *boxes, **others):
    path = folder / "gt_boxes.json"
    path.write_text(json.dumps({"frame": "L", "boxes": boxes, **others}))
    return path


def assert_same_boxes(found, wanted):
    for name in ("center", "size", "yaw", "velocity"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


def test_annotations_come_back_to_the_last_bit(tmp_path):
    _, truth = make_frame(2)
    velocity = truth.boxes.velocity.copy()
    velocity[0] = np.nan
    boxes = type(truth.boxes)(truth.boxes.center, truth.boxes.size, truth.boxes.yaw, velocity)
    truth = Annotations(boxes, truth.labels, np.full(len(truth), -1), np.full(
        len(truth), np.nan, np.float32), truth.track_ids)
    write_annotations(tmp_path / "gt_boxes.json", truth, "L")
    found = read_annotations(tmp_path)
    assert_same_boxes(found.boxes, boxes)
    for name in ("labels", "num_lidar_pts", "visibility", "track_ids"):
        np.testing.assert_array_equal(getattr(found, name), getattr(truth, name))


def test_detections_come_back_to_the_last_bit(tmp_path, detections):
    write_detections(tmp_path / "found.json", detections)
    found = read_detections(tmp_path / "found.json")
    assert (found.stamp_ns, found.frame_id) == (detections.stamp_ns, "LIDAR_TOP")
    assert_same_boxes(found.boxes, detections.boxes)
    np.testing.assert_array_equal(found.scores, detections.scores)
    np.testing.assert_array_equal(found.labels, detections.labels)


def test_detections_have_the_keys_of_the_truth_and_a_score(tmp_path, detections):
    write_detections(tmp_path / "found.json", detections)
    box = json.loads((tmp_path / "found.json").read_text())["boxes"][0]
    assert set(box) == set(BOX) - {"num_lidar_pts"}


def test_several_frames_are_a_list_of_what_one_would_be(tmp_path, detections):
    write_detections(tmp_path / "one.json", detections)
    write_detections_of_frames(tmp_path / "two.json", [detections, detections])
    one = json.loads((tmp_path / "one.json").read_text())
    assert json.loads((tmp_path / "two.json").read_text()) == {"frames": [one, one]}


def test_detections_are_ordered_best_first(tmp_path):
    path = written(tmp_path, {**BOX, "score": 0.2}, {**BOX, "score": 0.9, "yaw": 1})
    found = read_detections(path)
    np.testing.assert_allclose(found.scores, [0.9, 0.2])
    assert found.boxes.yaw[0] == 1


def test_no_truth_is_none_and_no_boxes_are_none_too_many(tmp_path):
    assert read_annotations(tmp_path) is None
    written(tmp_path)
    assert len(read_annotations(tmp_path)) == 0


def test_other_classes_are_left_out_of_the_truth_and_refused_in_detections(tmp_path):
    path = written(tmp_path, {**BOX, "class_name": "animal"}, BOX)
    assert len(read_annotations(tmp_path)) == 1
    with pytest.raises(ValueError, match=r"boxes\[0\]\.class_name is 'animal'"):
        read_detections(path)


@pytest.mark.parametrize("velocity", [None, [None, None], [float("nan")] * 2])
def test_an_unknown_velocity_is_nan(tmp_path, velocity):
    written(tmp_path, {**BOX, "velocity": velocity})
    assert np.isnan(read_annotations(tmp_path).boxes.velocity).all()


@pytest.mark.parametrize(("change", "words"), [
    ({"center": [1, 2]}, r"boxes\[1\]\.center"), ({"center": None}, "center"),
    ({"center": [1, 2, "x"]}, "center"), ({"center": [1, 2, float("inf")]}, "center"),
    ({"center": [1, 2, 10**400]}, "center"), ({"size_lwh": [1, -2, 1]}, "size_lwh"),
    ({"yaw": [1, 2]}, "yaw"), ({"velocity": [1]}, "velocity"),
    ({"num_lidar_pts": 1.5}, "num_lidar_pts"), ({"instance_id": "a"}, "instance_id"),
    ({"visibility": "high"}, "visibility")])
def test_boxes_that_make_no_sense_are_named(tmp_path, change, words):
    path = written(tmp_path, {**BOX, "class_name": "animal"}, {**BOX, **change})
    with pytest.raises(ValueError, match=words) as caught:
        read_annotations(tmp_path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_score_or_a_stamp_that_is_none_is_named(tmp_path):
    with pytest.raises(ValueError, match="score is None"):
        read_detections(written(tmp_path, {k: v for k, v in BOX.items() if k != "score"}))
    with pytest.raises(ValueError, match="stamp_ns is 'now'"):
        read_detections(written(tmp_path, BOX, stamp_ns="now"))


@pytest.mark.parametrize("boxes", [3, [3], None])
def test_a_file_without_boxes_is_named(tmp_path, boxes):
    (tmp_path / "gt_boxes.json").write_text(json.dumps({"boxes": boxes}))
    with pytest.raises(ValueError, match="list 'boxes'"):
        read_annotations(tmp_path)
