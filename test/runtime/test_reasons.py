"""Each unmet condition, alone and in order."""

from dataclasses import replace

import pytest

from aqr_perception.runtime.reasons import (
    INPUT_ORDER,
    InputFacts,
    OutputFacts,
    input_reason,
    why_no_output,
)

SECOND = 1_000_000_000
NAMES = ("LiDAR", "LEFT", "RIGHT")
GOOD = InputFacts("LiDAR", "/points", "sensor_msgs/msg/PointCloud2", publishers=1, received=9,
                  silent_s=0.05, newest_stamp_ns=100 * SECOND, clock_offset_s=-0.1)
INPUTS = tuple(replace(GOOD, name=name, topic=f"/{name.lower()}") for name in NAMES)

# From a good input to one whose first unmet condition is the named one.
SPOILED = {
    "topic absent": {"publishers": 0, "received": 0, "elsewhere": ("/velodyne",)},
    "nobody publishes": {"publishers": 0},
    "other type": {"publishers": 0, "received": 0, "other_type": "sensor_msgs/msg/Image"},
    "QoS incompatible": {"incompatible": "/lidar: its publisher is best effort", "received": 0,
                         "silent_s": 9.0},
    "nothing arrives": {"received": 0, "silent_s": 9.0},
    "silent": {"silent_s": 9.0},
    "stamp": {"refusal": "a message has the stamp 0"},
}
WORDS = {
    "topic absent": "there is no topic /lidar; sensor_msgs/msg/PointCloud2 is published on "
                    "/velodyne: remap the input",
    "nobody publishes": "nobody publishes on /lidar any more",
    "other type": "/lidar carries sensor_msgs/msg/Image; expected sensor_msgs/msg/PointCloud2",
    "QoS incompatible": "/lidar: its publisher is best effort",
    "nothing arrives": "/lidar has a publisher, but nothing arrives",
    "silent": "nothing has come on /lidar for 9 s, though it has a publisher",
    "stamp": "/lidar: a message has the stamp 0",
}


def first(**changes):
    return why_no_output(OutputFacts(**{"inputs": INPUTS, **changes}))[0]


def test_a_good_input_has_no_reason():
    assert input_reason(GOOD) is None
    assert input_reason(replace(GOOD, silent_s=None)) is None


@pytest.mark.parametrize("condition", SPOILED)
def test_the_first_unmet_condition_of_an_input(condition):
    reason = input_reason(replace(INPUTS[0], **SPOILED[condition]))
    assert reason.condition == condition
    assert reason.words.startswith(WORDS[condition])


def test_every_condition_has_its_place_and_its_test():
    assert tuple(SPOILED) == INPUT_ORDER == tuple(WORDS)


@pytest.mark.parametrize("condition", SPOILED)
def test_one_bad_input_is_a_reason_only_where_sets_must_be_complete(condition):
    inputs = (replace(INPUTS[0], **SPOILED[condition]), *INPUTS[1:])
    assert first(inputs=inputs).condition == "first result"
    assert "the next result" in first(inputs=inputs, has_results=True).words
    reason = first(inputs=inputs, complete_only=True)
    assert reason.condition == condition
    assert reason.words == "LiDAR: " + input_reason(inputs[0]).words


def test_of_several_bad_inputs_the_first_condition_leads():
    inputs = tuple(replace(item, **SPOILED[condition]) for item, condition in zip(
        INPUTS, ("stamp", "QoS incompatible", "nobody publishes")))
    reason = first(inputs=inputs)
    assert reason.condition == "nobody publishes"
    names = [part.partition(":")[0] for part in reason.words.split("; ")]
    assert names == ["RIGHT", "LEFT", "LiDAR"]


def test_inputs_that_lack_the_same_are_told_together():
    inputs = tuple(replace(item, **SPOILED["nobody publishes"]) for item in INPUTS)
    assert first(inputs=inputs).words == (
        "LiDAR: nobody publishes on /lidar any more (and likewise LEFT, RIGHT)")


def test_an_image_of_the_other_transport_hints_at_it():
    facts = InputFacts("LEFT", "/left", "sensor_msgs/msg/Image",
                       other_type="sensor_msgs/msg/CompressedImage")
    assert input_reason(facts).words.endswith("set image_transport")


def test_skew_is_told_in_milliseconds_where_no_sets_come():
    apart = (INPUTS[0], replace(INPUTS[1], newest_stamp_ns=100 * SECOND - 130_000_000), INPUTS[2])
    reason = first(inputs=apart, complete_only=True, slop_s=0.08)
    assert reason.condition == "skew"
    assert "130 ms apart (LEFT behind" in reason.words
    assert first(inputs=apart, complete_only=True, slop_s=0.2).condition == "first result"
    assert first(inputs=apart, complete_only=True, slop_s=0.08,
                 has_sets=True).condition == "first result"


def test_one_clock_that_is_far_off_is_told_and_a_recording_is_not():
    off = (INPUTS[0], replace(INPUTS[1], newest_stamp_ns=1, clock_offset_s=-4000.0), INPUTS[2])
    reason = first(inputs=off)
    assert reason.condition == "stamps far from the clock"
    assert reason.words == "LEFT: its stamps are 4000 s behind the node's clock (/left)"
    recording = tuple(replace(item, clock_offset_s=-4000.0) for item in INPUTS)
    assert first(inputs=recording).condition == "first result"


def test_the_way_through_the_detector():
    assert first(drop="LEFT: tf has no transform").words == "LEFT: tf has no transform"
    assert first(stage="inactive").words == "the detector is inactive: activate it"
    assert first(stage="unconfigured").words == (
        "the detector is unconfigured: configure and activate it")
    assert "weights.safetensors: No such file" in first(
        stage="unconfigured", failure="weights.safetensors: No such file").words
    assert "for 7.5 s" in first(busy_s=7.5).words


def test_all_unmet_conditions_come_in_order():
    facts = OutputFacts(tuple(replace(item, **SPOILED["topic absent"]) for item in INPUTS),
                        stage="unconfigured", failure="no weights")
    assert [reason.condition for reason in why_no_output(facts)] == [
        "topic absent", "not configured"]
