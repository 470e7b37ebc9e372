"""What the node says of itself, over DDS."""

import time
from dataclasses import dataclass

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from fingerprint import FingerprintPipeline
from live_rig import CAMERAS, WAIT_S, Context, Rig, camera_info, cloud, image, wait_until
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import String

SUCCESS = TransitionCallbackReturn.SUCCESS
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
NAMES = {f"detector: {name}" for name in (
    "input LiDAR", *(f"input {camera}" for camera in CAMERAS), "output", "synchronisation",
    "latency", "model", "AQR", "calibration")}


@dataclass
class Ear:
    """Hears the diagnostics and the mode."""

    statuses: dict
    modes: list

    def wait(self, name, words):
        """Wait for a status whose message holds the words."""
        deadline = time.monotonic() + WAIT_S
        while (found := self.statuses.get(f"detector: {name}")) is None or words not in (
                found.message):
            assert time.monotonic() < deadline, f"{name}: {found and found.message}; not '{words}'"
            time.sleep(0.02)
        return found

    def level(self, name):
        return self.statuses[f"detector: {name}"].level


def listen(node):
    ear = Ear({}, [])

    def hear(message):
        ear.statuses = {status.name: status for status in message.status}

    node.create_subscription(DiagnosticArray, "/diagnostics", hear, 10)
    node.create_subscription(String, "/detector/output/mode",
                             lambda message: ear.modes.append(message.data), LATCHED)
    return ear


def values(status):
    return {item.key: item.value for item in status.values}


@pytest.fixture
def context():
    made = Context()
    yield made
    made.close()


def started(context, rig=True, **parameters):
    """An active detector, and what is heard of it."""
    node = context.detector(FingerprintPipeline(), **parameters)
    sensors = Rig(context) if rig else None
    ear = listen(sensors.node if sensors else node)
    assert context.call(node.trigger_configure) == SUCCESS
    assert context.call(node.trigger_activate) == SUCCESS
    context.spin()
    if sensors:
        sensors.wait_matched()
    return node, sensors, ear


def drive(rig, until, first=0, **arguments):
    """Send sets until something holds."""
    for index in range(first, first + 400):
        rig.send(index, **arguments)
        time.sleep(0.05)
        if until():
            return index + 1
    raise AssertionError("it does not come to hold")


def test_a_whole_rig_then_one_camera_less_then_whole_again(context):
    _, rig, ear = started(context)
    following = drive(rig, lambda: "LiDAR + 2 of 2 cameras" in ear.modes)
    following = drive(rig, lambda: ear.statuses and ear.level("output") == DiagnosticStatus.OK,
                      following)
    assert set(ear.statuses) == NAMES
    output = ear.wait("output", "Hz, LiDAR + 2 of 2 cameras")
    assert int(values(output)["published"]) > 0
    assert "Hz" in ear.wait("input LiDAR", "Hz").message
    found = values(ear.wait("input LEFT", "Hz"))
    assert found["topic"] == "/detector/input/image0"
    assert (found["in_last_frame"], found["age_in_frame_ms"]) == ("fresh", "20")
    assert {"rate_hz", "jitter_ms", "lost", "silent_s"} <= set(found)
    latency = values(ear.statuses["detector: latency"])
    assert {f"{stage}.{name}_ms" for stage in ("wait", "decode", "inference", "publish")
            for name in ("p50", "p90", "p99")} <= set(latency)
    assert ear.statuses["detector: model"].message == "on none"

    following = drive(rig, lambda: ear.modes[-1] == "LiDAR + 1 of 2 cameras; LEFT absent",
                      following, leave_out=("LEFT",))
    following = drive(rig, lambda: ear.level("output") == DiagnosticStatus.WARN, following,
                      leave_out=("LEFT",))
    drive(rig, lambda: ear.modes[-1] == "LiDAR + 2 of 2 cameras", following)


def test_why_there_is_no_output_from_the_first_topic_to_the_first_result(context):
    _, _, ear = started(context, rig=False)
    player = context.call(context.add, rclpy.create_node(
        "player", context=context.context, use_global_arguments=False))
    status = ear.wait("output", "no output: LiDAR: there is no topic /detector/input/pointcloud")
    assert status.level == DiagnosticStatus.ERROR
    assert ear.modes == ["no output"]

    other = context.call(player.create_publisher, PointCloud2, "/velodyne/points", 1)
    ear.wait("output", "PointCloud2 is published on /velodyne/points: remap the input")
    context.call(player.destroy_publisher, other)

    wrong = context.call(player.create_publisher, Image, "/detector/input/image0", 1)
    right = context.call(player.create_publisher, PointCloud2, "/detector/input/pointcloud", 1)
    ear.wait("output", "has a publisher, but nothing arrives")
    wait_until(lambda: right.get_subscription_count(), "the match")
    right.publish(cloud(0))
    ear.wait("input LiDAR", "has the stamp 0")
    context.call(player.destroy_publisher, right)
    ear.wait("output", "nobody publishes on /detector/input/pointcloud any more")
    context.call(player.destroy_publisher, wrong)


def test_cameras_without_tf_or_calibration_say_so(context):
    node, _, ear = started(context, rig=False, tf__timeout=0.0, lidar__frame_id="lidar")
    left = context.call(node.create_publisher, Image, "/detector/input/image0", 1)
    wait_until(lambda: left.get_subscription_count(), "the match")
    ear.wait("output", "nothing arrives")
    for index in range(60):
        left.publish(image(1_700_000_000_000_000_000 + index * 100_000_000, "LEFT"))
        time.sleep(0.05)
    ear.wait("output", "LEFT: no camera_info has come")
    assert ear.modes == ["no output"]


def test_a_qos_that_does_not_fit_is_told(context):
    topic = "/detector/input/pointcloud"
    node, _, ear = started(
        context, rig=False,
        **{f"qos_overrides__{topic}__subscription__reliability": "reliable"})
    lax = context.call(node.create_publisher, PointCloud2, topic,
                       QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
    status = ear.wait("input LiDAR", "its publisher is best effort")
    assert f"qos_overrides.{topic}.subscription.reliability" in status.message
    ear.wait("output", "its publisher is best effort")
    context.call(node.destroy_publisher, lax)


def test_a_qos_of_camera_info_that_does_not_fit_is_told_until_one_comes(context):
    """The pictures come all the same."""
    topic = "/detector/input/camera_info0"
    node, _, ear = started(
        context, rig=False,
        **{f"qos_overrides__{topic}__subscription__reliability": "reliable"})
    pictures = context.call(node.create_publisher, Image, "/detector/input/image0", 1)
    wait_until(lambda: pictures.get_subscription_count(), "the match")
    lax = context.call(node.create_publisher, CameraInfo, topic,
                       QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
    status = ear.wait("input LEFT", f"{topic}: its publisher is best effort")
    assert f"qos_overrides.{topic}.subscription.reliability" in status.message

    def came():
        pictures.publish(image(time.time_ns(), "LEFT"))
        return int(values(ear.statuses["detector: input LEFT"])["received"]) > 1

    wait_until(came, "pictures")
    ear.wait("input LEFT", f"{topic}: its publisher is best effort")
    context.call(node.destroy_publisher, lax)
    fitting = context.call(node.create_publisher, CameraInfo, topic, 1)

    def told():
        fitting.publish(camera_info(time.time_ns(), "LEFT"))
        return "best effort" in ear.statuses["detector: input LEFT"].message

    wait_until(lambda: not told(), "the mismatch to be gone")


def test_a_detector_that_is_not_active_says_so(context):
    node = context.detector(None)
    rig = Rig(context)
    ear = listen(rig.node)

    def refuse(config):
        raise ValueError("weights.safetensors: not of this package")

    node._load = refuse
    context.spin()
    ear.wait("output", "the detector is unconfigured: configure and activate it")
    assert context.call(node.trigger_configure) == TransitionCallbackReturn.FAILURE
    ear.wait("output", "could not be configured: weights.safetensors: not of this package")
    assert ear.level("model") == DiagnosticStatus.ERROR
    node._load = lambda config: FingerprintPipeline()
    assert context.call(node.trigger_configure) == SUCCESS
    ear.wait("output", "the detector is inactive: activate it")
    assert context.call(node.trigger_activate) == SUCCESS
    rig.wait_matched()
    drive(rig, lambda: ear.level("output") == DiagnosticStatus.OK)


@pytest.mark.parametrize("mode", ["approximate_time", "exact_time"])
def test_complete_sets_name_what_they_lack(context, mode):
    _, rig, ear = started(context, sync__mode=mode)
    if mode == "exact_time":  # cameras lead the sweep, so that no stamps are equal
        drive(rig, lambda: "the newest stamps lie" in ear.statuses.get(
            "detector: output", DiagnosticStatus()).message)
        return
    following = drive(rig, lambda: ear.statuses and ear.level("output") == DiagnosticStatus.OK)
    drive(rig, lambda: "RIGHT: nothing has come on /detector/input/image1" in
          ear.statuses["detector: output"].message, following, leave_out=("RIGHT",))
    assert ear.modes[-1] == "no output"
