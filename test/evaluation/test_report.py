import json
import math

import pytest
from evaluation_scenes import frame

from aqr_perception.evaluation.metrics import ERRORS, evaluate
from aqr_perception.evaluation.report import FaultResult, Report, resistance_ability
from aqr_perception.types import CLASS_NAMES

PERFECT = frame([(10, 0)], [0.9], [(10, 0)])
AT_1_M = frame([(10, 0.7)], [0.9], [(10, 0)])  # AP 3/4
AT_4_M = frame([(10, 3)], [0.9], [(10, 0)])  # AP 1/4


def test_resistance_ability_is_the_mean_over_severities_of_the_share_that_is_left():
    assert resistance_ability(0.8, [0.8, 0.4, 0.0]) == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert resistance_ability(0.5, [0.6]) == pytest.approx(1.2)
    assert math.isnan(resistance_ability(0.0, [0.0]))
    assert math.isnan(resistance_ability(0.5, []))


def fault_report():
    fog = [FaultResult("fog", severity, evaluate([one]))
           for severity, one in ((2, AT_4_M), (1, AT_1_M))]
    dark = FaultResult("dark", 1, evaluate([PERFECT]))
    return Report.of([PERFECT], [*fog, dark])


def test_resistance_of_each_fault_and_over_all():
    report = fault_report()
    assert report.fault_names == ["fog", "dark"]
    assert [result.severity for result in report.severities("fog")] == [1, 2]
    fog = (3 / 4 + 1 / 4) / 2
    assert report.resistance("fog", "mAP") == pytest.approx(fog)
    assert report.resistance("dark", "NDS") == pytest.approx(1)
    assert report.mean_resistance("mAP") == pytest.approx((fog + 1) / 2)
    assert math.isnan(Report.of([PERFECT]).mean_resistance("mAP"))


def test_json_has_the_agreed_keys_and_numbers_only():
    document = json.loads(json.dumps(fault_report().to_json(), allow_nan=False))
    figures = {"mAP", "NDS", "mATE", "mASE", "mAOE", "mAVE", "mAAE"}
    for part in (document, document["near"]):
        assert figures <= part.keys()
        assert list(part["AP"]) == list(CLASS_NAMES)
        assert part["mAP"] == pytest.approx(0.1)
        assert part["AP"]["car"] == pytest.approx(1)
        assert part["AP_by_distance"]["car"] == pytest.approx(
            {"0.5": 1, "1.0": 1, "2.0": 1, "4.0": 1})
        assert part["errors"]["traffic_cone"] == {
            "ATE": 1, "ASE": 1, "AOE": None, "AVE": None, "AAE": None}
        assert (part["truths"]["car"], part["truths"]["bus"]) == (1, 0)
        assert part["frames"] == 1
    fog = document["faults"]["fog"]
    assert list(fog["severities"]) == ["1", "2"]
    assert fog["severities"]["2"]["mAP"] == pytest.approx(0.025)
    assert fog["RA"]["mAP"] == pytest.approx(0.5)
    assert document["mRA"]["mAP"] == pytest.approx(0.75)


def test_json_without_faults_and_without_anything_found():
    document = Report.of([frame(there=[(0, 0)])]).to_json()
    assert document["faults"] == {}
    assert document["mRA"] == {"mAP": None, "NDS": None}
    assert document["mAP"] == 0


def test_near_is_over_near_boxes():
    far = frame([(40, 0)], [0.9], [(40, 0)])
    report = Report.of([far])
    assert report.overall.mean_ap == pytest.approx(0.1)
    assert report.near.mean_ap == 0


def test_frames_may_be_given_one_by_one():
    assert Report.of(iter([PERFECT, PERFECT])).near.frames == 2


def test_table_shows_every_class_error_and_fault():
    text = fault_report().table()
    lines = text.splitlines()
    for name in CLASS_NAMES:
        assert sum(line.startswith(f"{name} ") for line in lines) == 2  # all boxes, near ones
    assert all(text.count(f"m{name} ") == 2 for name in ERRORS)
    assert "mAP 0.1000" in lines[0]
    car = next(line for line in lines if line.startswith("car "))
    assert car.split() == ["car", "1", "1", *["1.000"] * 5, *["0.000"] * 4, "1.000"]
    cone = next(line for line in lines if line.startswith("traffic_cone"))
    assert cone.split()[-3:] == ["-"] * 3
    dark = next(line for line in lines if line.startswith("dark"))
    assert dark.split()[:3] == ["dark", "0.100", "-"]  # it has one severity, fog has two
    header = next(line for line in lines if line.startswith("fault"))
    assert header.split()[1:5] == ["mAP", "1", "mAP", "2"]
    assert lines[-1].startswith("mRA: mAP 0.750")


def test_table_of_faults_names_the_severities_that_were_run():
    report = Report.of([PERFECT], [FaultResult("fog", 3, evaluate([AT_1_M]))])
    header, fog, _ = report.table().splitlines()[-3:]
    assert header.split() == ["fault", "mAP", "3", "NDS", "3", "RA", "mAP", "RA", "NDS"]
    assert fog.split()[1] == "0.075"
