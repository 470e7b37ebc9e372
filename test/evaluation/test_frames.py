import numpy as np
import pytest
from evaluation_scenes import detections, frame, truth

from aqr_perception.evaluation.frames import EvaluationFrame, tables


def test_tables_hold_frame_after_frame():
    found, there = tables([
        frame([(3, 4)], [0.5], [(0, 0), (1, 0)], points=[3, -1], range_origin=(0.0, 1.0)),
        frame(), frame([(1, 1)], [0.25], [(2, 2)], "bus")])
    assert found.frame.tolist() == [0, 2]
    assert found.label.tolist() == [0, 3]
    assert found.score.tolist() == [0.5, 0.25]
    assert found.distance == pytest.approx([np.hypot(3, 3), np.hypot(1, 1)])
    assert found.attribute.tolist() == [-1, -1]
    assert there.frame.tolist() == [0, 0, 2]
    assert there.points.tolist() == [3, -1, 10]
    assert len(there[there.label == 0]) == 2


def test_no_frames_are_empty_tables():
    found, there = tables([])
    assert len(found) == len(there) == 0
    assert found.center.shape == (0, 2)


def broken(change, **attributes):
    one = (detections([(0, 0)], [0.5]), truth([(0, 0)]))
    change(*one)
    return EvaluationFrame(*one, **attributes)


@pytest.mark.parametrize(("change", "message"), [
    (lambda found, there: found.boxes.center.__setitem__((0, 1), np.nan), "a detection has a cen"),
    (lambda found, there: there.boxes.yaw.__setitem__(0, np.inf), "a truth has a centre or yaw"),
    (lambda found, there: found.boxes.size.__setitem__((0, 1), 0), "a detection has a size that"),
    (lambda found, there: there.boxes.size.__setitem__((0, 2), np.nan), "a truth has a size that"),
    (lambda found, there: found.scores.__setitem__(0, np.nan), "score"),
    (lambda found, there: found.labels.__setitem__(0, 10), "label 10"),
    (lambda found, there: there.labels.__setitem__(0, -1), "label -1")])
def test_what_is_not_a_number_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        broken(change)


@pytest.mark.parametrize("attributes", [[], [0, 0], [8], [-2]])
def test_attributes_are_one_a_box(attributes):
    with pytest.raises(ValueError, match="truth attributes are"):
        broken(lambda found, there: None, truth_attributes=np.array(attributes, int))
