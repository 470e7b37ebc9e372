import math
from dataclasses import replace

import numpy as np
import pytest
from training_frames import CAMERAS, make_frame

from aqr_perception.runtime.fault_schedule import ScheduledFault, parse, spoil
from aqr_perception.simulation.faults import FAULTS, apply


@pytest.mark.parametrize(("text", "expected"), [
    ("front:absent@3s..5s", ScheduledFault("front", "absent", 2, 3, 5)),
    ("LIDAR:lidar_fog/3@10s..", ScheduledFault("LIDAR", "lidar_fog", 3, 10)),
    ("all:snow", ScheduledFault("all", "snow", 2, 0, math.inf)),
    ("back:camera_black/1@..2.5s", ScheduledFault("back", "camera_black", 1, 0, 2.5)),
    ("back:motion_blur@0.5...75", ScheduledFault("back", "motion_blur", 2, .5, .75)),
    ("all:absent@1..2", ScheduledFault("all", "absent", 2, 1, 2)),
    ("all:absent@..", ScheduledFault("all", "absent")),
])
def test_a_fault_in_words(text, expected):
    assert parse(text, CAMERAS) == expected


@pytest.mark.parametrize(("text", "words"), [
    ("front", "expected SENSOR:FAULT"),
    ("", "expected SENSOR:FAULT"),
    (":absent", "expected SENSOR:FAULT"),
    ("front:@3s..5s", "expected SENSOR:FAULT"),
    ("frnt:absent", "sensor 'frnt'; expected all, LIDAR, front, back"),
    ("front:dirty", "is 'dirty'; expected absent, lidar_absent, camera_absent"),
    ("front:camera_dirty/4", "severity '4'; expected 1, 2 or 3"),
    ("front:camera_dirty/", "severity ''; expected 1, 2 or 3"),
    ("front:absent@3s", "holds at '3s'; expected FROM..TO in seconds"),
    ("front:absent@", "holds at ''; expected FROM..TO"),
    ("front:absent@5s..3s", "the first before the second"),
    ("front:absent@3s..3s", "the first before the second"),
    ("front:absent@-1s..3s", "expected FROM..TO"),
    ("front:absent@nan..3s", "expected FROM..TO"),
    ("front:lidar_fog", "lidar_fog is none of front; expected LIDAR or all"),
    ("LIDAR:camera_black", "camera_black is none of LIDAR; expected a camera or all"),
    ("front:camera_decalibrated", "calibration, which messages do not carry"),
    ("front:camera_swapped", "one camera cannot be swapped; expected all"),
])
def test_what_cannot_be_read_says_what_was_expected(text, words):
    with pytest.raises(ValueError, match=r"^fault '") as error:
        parse(text, CAMERAS)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_window_holds_from_its_start_until_before_its_end():
    fault = parse("front:absent@3s..5s", CAMERAS)
    assert [fault.at(seconds) for seconds in (0, 2.999, 3, 4, 4.999, 5, 99)] == [
        False, False, True, True, True, False, False]
    assert parse("front:absent@3s..", CAMERAS).at(1e9)


@pytest.mark.parametrize(("text", "touched"), [
    ("front:absent", ["front"]), ("LIDAR:absent", ["LIDAR"]),
    ("all:absent", ["LIDAR", "front", "back"]), ("all:camera_black", ["front", "back"]),
    ("all:lidar_fog", ["LIDAR"]), ("all:snow", ["LIDAR", "front", "back"])])
def test_which_sensors_a_fault_may_touch(text, touched):
    fault = parse(text, CAMERAS)
    assert [sensor for sensor in ("LIDAR", *CAMERAS) if fault.is_of(sensor)] == touched


def changed(before, after):
    """Names of the sensors whose data differ, absent ones among them."""
    names = [name for name, old, new in zip(CAMERAS, before.images, after.images)
             if new is None or not np.array_equal(old.pixels, new.pixels)]
    cloud = after.lidar is None or not np.array_equal(before.lidar.points, after.lidar.points)
    return (["LIDAR"] if cloud else []) + names


@pytest.mark.parametrize("text", ["front:absent", "back:camera_black", "back:snow/3", "LIDAR:snow",
                                  "LIDAR:absent", "all:absent", "LIDAR:lidar_absent",
                                  "back:camera_absent/1", "back:camera_dirty", "all:fog"])
def test_the_sensors_that_are_named_are_struck_and_no_others(text):
    frame, _ = make_frame(0)
    fault = parse(text, CAMERAS)
    result = spoil(fault, [frame], 0)
    assert changed(frame, result) == [name for name in ("LIDAR", *CAMERAS) if fault.is_of(name)]
    if "absent" in text:
        assert not result.present[[fault.is_of(name) for name in ("LIDAR", *CAMERAS)]].any()


def test_a_fault_stays_what_it_is_from_frame_to_frame_unless_it_is_one_of_chance():
    frame, _ = make_frame(0)
    dirt = parse("front:camera_dirty", CAMERAS)
    first, second = (spoil(dirt, [frame], number).images[0].pixels for number in (0, 1))
    np.testing.assert_array_equal(first, second)
    chance = parse("front:missing_camera/2", CAMERAS)
    struck = [changed(frame, spoil(chance, [frame], number)) == ["front"] for number in range(20)]
    assert 0 < sum(struck) < 20


def test_old_data_comes_from_the_frames_before():
    old, _ = make_frame(1)
    new, _ = make_frame(2)
    new = replace(new, stamp_ns=old.stamp_ns + 10**9)
    fault = parse("back:camera_frozen/2", CAMERAS)
    assert fault.needs_history
    result = spoil(fault, [old, new], 0)
    np.testing.assert_array_equal(result.images[1].pixels, old.images[1].pixels)
    assert result.images[0] is new.images[0]
    assert changed(new, spoil(fault, [new], 0)) == []


def test_faults_of_calibration_are_those_that_leave_the_data_alone():
    old, truth = make_frame(1)
    new, _ = make_frame(2)
    moved = np.eye(4)
    moved[0, 3] = 5
    new = replace(new, stamp_ns=old.stamp_ns + 5 * 10**8, fixed_from_lidar=moved)
    for name, fault in FAULTS.items():
        touched = set()
        for seed in range(8):
            result, _ = apply(name, 3, [old, new], np.random.default_rng(seed), truth)
            touched |= set(changed(new, result))
        assert (not touched) == fault.only_calibration, name


def test_faults_of_chance_are_those_that_sometimes_do_nothing():
    old, truth = make_frame(1)
    new, _ = make_frame(2)
    new = replace(new, stamp_ns=old.stamp_ns + 5 * 10**8)
    for name in ("missing_camera", "spatial_misalignment", "temporal_misalignment"):
        assert FAULTS[name].by_chance
        untouched = [not changed(new, apply(name, 1, [old, new], np.random.default_rng(seed),
                                            truth)[0]) for seed in range(12)]
        assert 0 < sum(untouched) < 12
    assert sum(fault.by_chance for fault in FAULTS.values()) == 3
