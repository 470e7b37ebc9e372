"""What the pipeline tells of a frame and of itself, on small networks."""

from dataclasses import replace

import numpy as np
import pytest
from test_pipeline import FRAME, pipeline

from aqr_perception.runtime.aqr_values import values_of_report
from aqr_perception.types import Controls, Gains, LidarCloud

SENSORS = ("LiDAR", "LEFT", "RIGHT")
NO_IMAGES = (None, None)


def out_of_range(frame):
    points = frame.lidar.points.copy()
    points[:, 0] += 1000
    return replace(frame, lidar=LidarCloud(frame.stamp_ns, points))


@pytest.mark.parametrize(("frame", "controls", "used"), [
    (FRAME, Controls(), (True, True, True)),
    (replace(FRAME, lidar=None), Controls(), (False, True, True)),
    (replace(FRAME, images=(FRAME.images[0], None)), Controls(), (True, True, False)),
    (out_of_range(FRAME), Controls(), (False, True, True)),
    (FRAME, Controls(gains=Gains(cameras={"LEFT": 0.0})), (True, False, True)),
    (FRAME, Controls(gains=Gains(lidar=0.0)), (False, True, True)),
])
def test_it_tells_whom_it_looked_at(frame, controls, used):
    result = pipeline("gate")(frame, controls)
    assert result.used == used
    assert result.note == ""


@pytest.mark.parametrize(("frame", "controls", "words"), [
    (replace(FRAME, lidar=None, images=NO_IMAGES), Controls(), "no sensor delivered"),
    (replace(out_of_range(FRAME), images=NO_IMAGES), Controls(), "no point of the cloud lies in"),
    (FRAME, Controls(gains=Gains(lidar=0.0, camera=0.0)), "gain 0"),
])
def test_a_frame_in_which_nothing_can_be_seen_is_told_from_an_empty_road(frame, controls, words):
    result = pipeline("gate")(frame, replace(controls, score_threshold=0.0))
    assert len(result.detections) == 0
    assert words in result.note
    assert not any(result.used)


@pytest.mark.parametrize("mode", ["gate", "weight_map", "attention_bias"])
def test_the_report_as_numbers(mode):
    result = pipeline(mode)(FRAME, Controls())
    values = values_of_report(result.aqr, SENSORS)
    for modality in ("lidar", "camera"):
        assert {f"{name}.{modality}" for name in (
            "mean_weight", "relative_change", "outside_band")} <= set(values)
        assert values[f"outside_band.{modality}"] in (0.0, 1.0)
    assert all(np.isfinite(value) for value in values.values())
    if mode == "gate":
        masses = [values[f"attention_mass.{name}"] for name in SENSORS]
        assert sum(masses) == pytest.approx(1, abs=1e-3)
        assert {f"mean_gate.{name}" for name in SENSORS} <= set(values)


def test_the_network_is_described():
    facts = pipeline("gate").facts()
    assert (facts["device"], facts["aqr_mode"], facts["trained"]) == ("cpu", "gate", "False")
    assert facts["target_band"] == "0.15 to 0.25"
    assert float(facts["weights_mib"]) > 0
