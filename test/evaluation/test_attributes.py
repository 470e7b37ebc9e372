import numpy as np
import pytest
from evaluation_scenes import boxes

from aqr_perception.evaluation.attributes import ATTRIBUTES, attributes_from_motion
from aqr_perception.types import CLASS_NAMES


@pytest.mark.parametrize(("name", "moving", "still"), [
    ("car", "vehicle.moving", "vehicle.parked"), ("trailer", "vehicle.moving", "vehicle.parked"),
    ("bus", "vehicle.moving", "vehicle.stopped"),
    ("bicycle", "cycle.with_rider", "cycle.without_rider"),
    ("pedestrian", "pedestrian.moving", "pedestrian.standing"),
    ("barrier", None, None), ("traffic_cone", None, None)])
def test_by_speed(name, moving, still):
    things = boxes([(0, 0)] * 4, velocity=[(0.2, 0.1), (0.1, -0.1), (np.nan, 5), (0, -3)])
    attributes = attributes_from_motion(things, np.full(4, CLASS_NAMES.index(name)))
    assert [None if index < 0 else ATTRIBUTES[index] for index in attributes] == [
        moving, still, None, moving]
