from __future__ import annotations

from types import SimpleNamespace

import pytest

from aqr_perception.ros.statuses import OK, WARN, of_aqr

SOUND = {"relative_change.lidar": 0.012, "outside_band.lidar": 1.0, "cloud_turned_deg": 0.0,
         "cloud_behind_m": 0.0, "cloud_aside_m": 0.0, "cloud_to_blame": 0.0, "agreement": 0.6}


def status(**changes):
    return of_aqr({"aqr_mode": "gate"}, SimpleNamespace(aqr={**SOUND, **changes}))


@pytest.mark.parametrize(("changes", "words"), [
    ({"cloud_turned_deg": 15.04, "cloud_to_blame": 1.0},
     "the cloud is turned by 15.0° to the left: put right; look at mounts and calibration"),
    ({"cloud_turned_deg": 15.04}, "the pictures are turned by 15.0° to the right: put right"),
    ({"cloud_turned_deg": -4.9, "cloud_to_blame": 1.0}, "the cloud is turned by 4.9° to the right"),
    ({"cloud_behind_m": 7.25, "cloud_turned_deg": 0.7, "cloud_to_blame": 1.0},
     "the cloud shows the world as seen from 7.2 m back: put right; look at delays and clocks"),
    ({"cloud_behind_m": -3.0}, "the pictures show the world as seen from 3.0 m back"),
    ({"cloud_behind_m": 3.0}, "the pictures show the world as seen from 3.0 m ahead"),
    ({"cloud_aside_m": 2.0, "cloud_turned_deg": -3.0, "cloud_to_blame": 1.0},
     "the cloud lies 2.0 m to the right: put right; look at mounts and calibration"),
    ({"cloud_aside_m": 2.0}, "the pictures lie 2.0 m to the left")])
def test_what_was_put_right_is_told_in_words(changes, words):
    told = status(**changes)
    assert told.level == WARN
    assert words in told.message
    assert {"cloud_turned_deg", "agreement"} <= {value.key for value in told.values}


def test_sound_sensors_are_no_warning():
    told = status()
    assert told.level == OK
    assert told.message == "relative change: lidar 0.012 (outside of the band)"


def test_other_modes_say_nothing_of_places():
    told = of_aqr({}, SimpleNamespace(aqr={"relative_change.lidar": 0.2,
                                           "outside_band.lidar": 0.0}))
    assert told.level == OK
