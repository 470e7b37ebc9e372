import json

import numpy as np
import pytest
from evaluation_scenes import truth

from aqr_perception.evaluation import results_file
from aqr_perception.evaluation.attributes import ATTRIBUTES
from aqr_perception.evaluation.frames import EvaluationFrame
from aqr_perception.evaluation.metrics import evaluate
from aqr_perception.evaluation.results_file import ego_centred_from_global, read_results
from aqr_perception.geometry import rigid
from aqr_perception.types import CLASS_NAMES


def entry(**changes):
    box = {"sample_token": "a", "translation": [600.0, 1600.0, 1.0], "size": [2.0, 4.0, 1.5],
           "rotation": [1.0, 0.0, 0.0, 0.0], "velocity": [1.0, 0.0], "detection_name": "car",
           "detection_score": 0.5, "attribute_name": "vehicle.moving"}
    return {**box, **changes}


def written(tmp_path, results, **document):
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"meta": {"use_lidar": True}, "results": results, **document}))
    return path


def test_boxes_are_read_in_our_conventions(tmp_path):
    half = np.sqrt(0.5)
    samples = read_results(written(tmp_path, {"b": [], "a": [
        entry(), entry(detection_name="traffic_cone", attribute_name="", detection_score=0.75,
                       rotation=[half, 0, 0, half], velocity=[float("nan"), 0.0])]}))
    assert list(samples) == ["b", "a"]
    assert len(samples["b"]) == 0
    boxes = samples["a"]
    assert boxes.size.tolist() == [[4, 2, 1.5]] * 2
    np.testing.assert_allclose(boxes.heading, [[1, 0, 0], [0, 1, 0]], atol=1e-12)
    assert boxes.labels.tolist() == [CLASS_NAMES.index("car"), CLASS_NAMES.index("traffic_cone")]
    assert boxes.attributes.tolist() == [ATTRIBUTES.index("vehicle.moving"), -1]
    assert boxes.scores.tolist() == [0.5, 0.75]
    assert np.isnan(boxes.velocity[1, 0])


def test_boxes_move_into_a_frame_best_first(tmp_path):
    boxes = read_results(written(tmp_path, {"a": [
        entry(), entry(translation=[610.0, 1600.0, 1.0], detection_score=0.9,
                       attribute_name="vehicle.parked")]}))["a"]
    # the frame stands at (600, 1590, 0) and looks along the global y axis
    global_from_frame = rigid.from_xyz_yaw(600.0, 1590.0, 0.0, np.pi / 2)
    found, attributes = boxes.in_frame(rigid.inverse(global_from_frame), 7, "lidar")
    assert (found.stamp_ns, found.frame_id) == (7, "lidar")
    assert found.scores == pytest.approx([0.9, 0.5])
    assert attributes.tolist() == [ATTRIBUTES.index("vehicle.parked"),
                                   ATTRIBUTES.index("vehicle.moving")]
    np.testing.assert_allclose(found.boxes.center, [[10, -10, 1], [10, 0, 1]], atol=1e-5)
    np.testing.assert_allclose(found.boxes.yaw, [-np.pi / 2] * 2, atol=1e-6)
    np.testing.assert_allclose(found.boxes.velocity, [[0, -1]] * 2, atol=1e-6)


def test_distances_around_the_car_are_those_of_the_global_frame(tmp_path):
    tilted = rigid.from_translation_quaternion([600.0, 1590.0, 0.0], [0.05, -0.03, 0.7, 0.7])
    boxes = read_results(written(tmp_path, {"a": [entry()]}))["a"]
    found, attributes = boxes.in_frame(ego_centred_from_global(tilted), 0, "")
    there = truth([(0.0, 11.0)], velocity=(1.0, 0.0))
    metrics = evaluate([EvaluationFrame(found, there, detection_attributes=attributes,
                                        truth_attributes=attributes)])
    assert metrics.average_precision[0] == pytest.approx([0, 0, 1, 1])  # 1 m is not below 1 m
    assert metrics.errors[0] == pytest.approx([1, 0, 0, 0, 0], abs=1e-5)


@pytest.mark.parametrize(("changes", "message"), [
    ({"translation": [1, 2]}, r"results.a\[0\].translation is \[1, 2\]; expected 3 numbers"),
    ({"translation": [1, 2, float("inf")]}, "translation"),
    ({"translation": [1, 2, "3"]}, "translation"),
    ({"translation": [10**400, 2, 3]}, "translation"),
    ({"translation": None}, "translation is None"),
    ({"size": [1, 0, 1]}, "size is .* expected 3 numbers above 0"),
    ({"size": [1, float("nan"), 1]}, "size"),
    ({"rotation": [0, 0, 0, 0]}, "expected 4 numbers of a quaternion"),
    ({"velocity": [float("inf"), 0]}, "velocity"),
    ({"velocity": None}, "velocity is None; expected 2 numbers"),
    ({"detection_score": True}, "detection_score is True; expected 1 number$"),
    ({"detection_score": float("nan")}, "detection_score"),
    ({"detection_name": "animal"}, "detection_name is 'animal'; expected one of car, truck"),
    ({"detection_name": ["car"]}, "detection_name"),
    ({"attribute_name": "parked"}, "attribute_name is 'parked'; .* or an empty string"),
    ({"sample_token": "b"}, "sample_token is 'b'; expected 'a'")])
def test_what_is_wrong_with_a_box_is_named(tmp_path, changes, message):
    path = written(tmp_path, {"a": [entry(**changes)]})
    with pytest.raises(ValueError, match=message) as caught:
        read_results(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(("text", "message"), [
    ("", "is not JSON"), ('{"results": {', "is not JSON"), ("[]", "holds a list"),
    ("\xff", "is not JSON"), ("{}", "has no object 'results'"),
    ('{"results": []}', "has no object 'results'"),
    ('{"results": {"a": {}}}', "results.a is a dict; expected a list"),
    ('{"results": {"a": [3]}}', r"results.a\[0\] is a int"),
    ("[" * 200_000 + "]" * 200_000, "nested too deeply"),
    ('{"results": ' + '{"a":' * 200_000 + "1" + "}" * 200_001, "nested too deeply")])
def test_other_files_are_refused(tmp_path, text, message):
    path = tmp_path / "results.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=message):
        read_results(path)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match=r"none.json"):
        read_results(tmp_path / "none.json")


def test_limits(tmp_path, monkeypatch):
    many = written(tmp_path, {"a": [entry()] * 501})
    with pytest.raises(ValueError, match=r"results\.a has 501 boxes; expected at most 500"):
        read_results(many)
    monkeypatch.setattr(results_file, "MOST_SAMPLES", 1)
    with pytest.raises(ValueError, match="2 samples; expected at most 1"):
        read_results(written(tmp_path, {"a": [], "b": []}))
    monkeypatch.setattr(results_file, "MOST_BYTES", 10)
    with pytest.raises(ValueError, match="GiB; expected at most"):
        read_results(many)
