"""``~/debug/calibration`` and what the diagnostics say of it, over DDS."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from fingerprint import FingerprintPipeline
from live_rig import CAMERAS, WAIT_S, Context, Rig, wait_until
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import Image

from aqr_perception.ros import calibration_pictures, statuses
from aqr_perception.ros.conversions import pixels_from_message, stamp_to_ns
from aqr_perception.runtime.calibration_check import Alignment, CalibrationReport

SUCCESS = TransitionCallbackReturn.SUCCESS
TOPIC = "/detector/debug/calibration"


@pytest.fixture
def context():
    made = Context()
    yield made
    made.close()


@pytest.fixture
def running(context):
    """A rig and what the diagnostics of an active detector say, by name."""
    node = context.detector(FingerprintPipeline())
    rig = Rig(context)
    heard = {}
    rig.node.create_subscription(DiagnosticArray, "/diagnostics", lambda message: heard.update(
        {status.name: status for status in message.status}), 10)
    assert node.trigger_configure() == SUCCESS
    assert node.trigger_activate() == SUCCESS
    context.spin()
    rig.wait_matched()
    return rig, heard


def drive(rig, until, first=0):
    """Send sets until something holds."""
    deadline = time.monotonic() + 2 * WAIT_S
    index = first
    while not until():
        assert time.monotonic() < deadline, "it does not come to hold"
        rig.send(index)
        index += 1
        time.sleep(0.05)
    return index


def test_the_sheet_comes_while_somebody_listens_and_costs_nothing_else(
        context, running, monkeypatch):
    rig, heard = running
    drawn = []
    draw = calibration_pictures.draw_lidar_on_images

    def counted(frame, *arguments):
        drawn.append((threading.current_thread().name, frame.stamp_ns))
        return draw(frame, *arguments)

    monkeypatch.setattr(calibration_pictures, "draw_lidar_on_images", counted)
    following = drive(rig, lambda: len(rig.results) >= 5)
    wait_until(lambda: "detector: calibration" in heard, "the diagnostics")
    assert heard["detector: calibration"].message.startswith("not measured: nobody looks at")
    assert not drawn

    pictures = []
    listener = context.call(
        rig.node.create_subscription, Image, TOPIC, pictures.append, 10)
    following = drive(rig, lambda: len(pictures) >= 2, following)
    stamps = {stamp_to_ns(message.header.stamp) for message in rig.results}
    for message in pictures:
        assert (message.encoding, message.header.frame_id) == ("bgr8", "lidar")
        assert stamp_to_ns(message.header.stamp) in stamps
        assert len(np.unique(pixels_from_message(message).reshape(-1, 3), axis=0)) > 10
    assert {name for name, _ in drawn} == {"aqr_calibration"}
    status = None

    def measured():
        nonlocal status
        status = heard["detector: calibration"]
        return "2 not known yet" in status.message

    following = drive(rig, measured, following)  # the rig's grey pictures have no edges
    keys = {item.key for item in status.values}
    assert keys == {"took_ms", *(f"edges.{camera}" for camera in CAMERAS)}

    context.call(rig.node.destroy_subscription, listener)
    drive(rig, lambda: "nobody looks" in heard["detector: calibration"].message, following)


def test_a_camera_that_seems_off_is_a_warning():
    good = Alignment(1.2, 0.94, "0.5 degrees left", 0.98, 900)
    off = Alignment(0.98, 0.5, "2 degrees left", 1.6, 900)

    def told(**alignments):
        return statuses.of_calibration(
            SimpleNamespace(calibration=CalibrationReport(alignments, 80.0)))

    status = told(LEFT=good, RIGHT=off)
    assert status.level == DiagnosticStatus.WARN
    assert status.message == "RIGHT seems off: points fit better 2 degrees left"
    values = {item.key: item.value for item in status.values}
    assert (values["edge_alignment.LEFT"], values["edge_alignment.RIGHT"]) == ("1.2", "0.98")
    assert values["better_than_turned.LEFT"] == "0.94"
    status = told(LEFT=good)
    assert status.level == DiagnosticStatus.OK
    assert status.message == "edges line up in 1 cameras, 0 not known yet"
