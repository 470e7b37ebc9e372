"""Recordings over real DDS, between processes: player, node and a listener."""

import signal
import time
from contextlib import contextmanager

import numpy as np
import pytest
import rclpy
from fingerprint import FingerprintPipeline
from live_rig import Context, wait_until
from processes import Process, aqr
from rosgraph_msgs.msg import Clock
from vision_msgs.msg import Detection3DArray

from aqr_perception.cli.detect import read_frames
from aqr_perception.cli.main import main
from aqr_perception.recordings.frame_directory import find_frames, read_frame
from aqr_perception.recordings.rig import Rig
from aqr_perception.ros.conversions import detections_from_message
from aqr_perception.types import Controls

DGP_CAMERAS = ("CAMERA_01", "CAMERA_05", "CAMERA_06", "CAMERA_07", "CAMERA_08", "CAMERA_09")
SLOWLY = "0.05"
"""So that on a busy machine, too, no frame is passed over for the next one."""
PATIENTLY = ("--param", "sync.deadline:=0.9", "--param", "tf.timeout:=1.0")
"""So that there, too, what is late on its way is waited for."""
NODE = str(__file__).replace("test_replay.py", "fingerprint_node.py")
DETECTIONS = "/detector/output/detections"


@contextmanager
def detector(listener, *arguments):
    """A node in a process of its own that the listener hears: what it says first is not lost."""
    before = listener.count_publishers(DETECTIONS)
    with Process(NODE, *PATIENTLY, *arguments) as process:
        process.wait_for("active")
        wait_until(lambda: listener.count_publishers(DETECTIONS) > before, "the node's publisher")
        time.sleep(1.0)  # the graph is known a little before the two ends are joined
        yield process
        assert process.stop() == 0
        assert "Traceback" not in process.output


@pytest.fixture(scope="module")
def listener():
    """Collects what a detector says on /detector/output/detections."""
    context = Context()
    node = context.add(rclpy.create_node("listener", context=context.context,
                                         use_global_arguments=False))
    node.results = []
    node.create_subscription(Detection3DArray, DETECTIONS,
                             lambda message: node.results.append(message), 50)
    context.spin()
    yield node
    context.close()


@pytest.fixture(scope="module", params=["raw", "compressed"])
def transport_and_node(request, listener):
    """A detector's process for each transport, used for all recordings of it."""
    with detector(listener, *(["--compressed"] if request.param == "compressed" else [])) as node:
        yield request.param, node


@pytest.fixture(scope="module")
def make_bag(tmp_path_factory):
    """Bags of a source, each made once."""
    made = {}

    def make(source, storage, compressed):
        key = source, storage, compressed
        if key not in made:
            path = tmp_path_factory.mktemp("bags") / f"{source.name}_{storage}"
            assert main(["to-bag", str(source), str(path), "--storage", storage,
                         *(["--compressed"] if compressed else [])]) == 0
            made[key] = path
        return made[key]

    return make


def offline(folder):
    """What the same pipeline makes of a frame directory."""
    return FingerprintPipeline()(read_frame(folder), Controls()).detections


def play_to(listener, count, *arguments):
    """Play a recording and wait for its detections; exactly ``count`` of them."""
    listener.results.clear()
    assert main(["play", *map(str, arguments), "--wait-for-subscribers", "30"]) == 0
    wait_until(lambda: len(listener.results) >= count, f"{count} detections")
    time.sleep(0.3)
    return [detections_from_message(message) for message in listener.results]


def assert_same(found, expected, atol=1e-4):
    assert (found.stamp_ns, found.frame_id) == (expected.stamp_ns, expected.frame_id)
    assert len(found) == len(expected)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.scores, expected.scores, atol=atol)
    np.testing.assert_allclose(found.boxes.center, expected.boxes.center, atol=atol)
    np.testing.assert_allclose(found.boxes.size, expected.boxes.size, atol=atol)
    np.testing.assert_allclose(np.exp(1j * found.boxes.yaw), np.exp(1j * expected.boxes.yaw),
                               atol=atol)


def test_another_rig_runs_by_configuration_alone(listener, shared_data):
    # Before the tests with a node that outlives them: that one would take this LiDAR for its own.
    # Compressed: of 42 MB of raw images a set, a busy machine is late with some or loses them.
    with detector(listener, "--compressed", "--param", f"cameras:=[{','.join(DGP_CAMERAS)}]",
                  "--param", "lidar.intensity_max:=1.0", "--param", "lidar.forward_axis:=x",
                  "--param", "lidar.height:=0.0"):
        source = shared_data / "dgp_scene_02"
        frames = [frame for frame, _ in read_frames(source, Rig(DGP_CAMERAS))]
        found = play_to(listener, 3, source, "--compressed", "--rate", SLOWLY)
        for detections, frame in zip(found, frames, strict=True):
            # The recording gives six poses of the car, up to 1 cm apart, at one and the same stamp.
            assert_same(detections, FingerprintPipeline()(frame, Controls()).detections, atol=0.02)


@pytest.mark.parametrize("form", ["directory", "mcap", "sqlite3"])
def test_a_drive_gives_what_the_pipeline_gives_offline(transport_and_node, listener, make_bag,
                                                       drive, form):
    transport, _ = transport_and_node
    compressed = transport == "compressed"
    folders = find_frames(drive)
    if form == "directory":
        arguments = [drive, *(["--compressed"] if compressed else [])]
    else:
        arguments = [make_bag(drive, form, compressed)]
    found = play_to(listener, len(folders), *arguments, "--rate", SLOWLY)
    for detections, folder in zip(found, folders, strict=True):
        assert_same(detections, offline(folder))


@pytest.mark.parametrize("form", ["directory", "mcap"])
def test_sweeps_are_joined_as_they_are_offline(transport_and_node, listener, make_bag,
                                               single_sweeps, form):
    transport, _ = transport_and_node
    compressed = transport == "compressed"
    if form == "directory":
        arguments = [single_sweeps, *(["--compressed"] if compressed else [])]
        source = single_sweeps
    else:
        source = make_bag(single_sweeps, form, compressed)
        arguments = [source]
    frames = [frame for frame, _ in read_frames(source, Rig())]
    # Of each earlier sweep's 500 points, those right beside the LiDAR are left out.
    assert [len(frame.lidar.points) // 490 for frame in frames] == [1, 2, 3, 4, 4]
    found = play_to(listener, len(frames), *arguments, "--rate", SLOWLY)
    for detections, frame in zip(found, frames, strict=True):
        assert_same(detections, FingerprintPipeline()(frame, Controls()).detections)


def test_the_same_bag_twice_gives_the_same_to_the_last_bit(transport_and_node, listener, make_bag,
                                                           single_sweeps):
    transport, _ = transport_and_node
    bag = make_bag(single_sweeps, "mcap", transport == "compressed")
    first, second = (play_to(listener, 5, bag, "--rate", SLOWLY) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert (one.stamp_ns, len(one)) == (other.stamp_ns, len(other))
        for name in ("center", "size", "yaw"):
            np.testing.assert_array_equal(getattr(one.boxes, name), getattr(other.boxes, name))
        np.testing.assert_array_equal(one.scores, other.scores)
        np.testing.assert_array_equal(one.labels, other.labels)


@pytest.mark.parametrize("form", ["directory", "mcap", "sqlite3"])
def test_a_real_frame_gives_what_the_pipeline_gives_offline(transport_and_node, listener, make_bag,
                                                            shared_data, form):
    transport, _ = transport_and_node
    compressed = transport == "compressed"
    folder = shared_data / "nuscenes_scene-0061"
    if form == "directory":
        arguments = [folder, *(["--compressed"] if compressed else [])]
    else:
        arguments = [make_bag(folder, form, compressed)]
    (found,) = play_to(listener, 1, *arguments)
    assert_same(found, offline(folder))


def test_a_loop_begins_again_and_the_clock_runs_until_it_is_stopped(drive, listener):
    clocks = []
    subscription = listener.create_subscription(Clock, "/clock", clocks.append, 100)
    player = Process("-m", "aqr_perception", "play", str(drive), "--loop", "--clock",
                     "--rate", "4")
    wait_until(lambda: len(clocks) > 100, "the clock")
    assert player.stop() == 0
    assert "Traceback" not in player.output
    assert "played" in player.lines[-1]
    times = np.array([clock.clock.sec + clock.clock.nanosec * 1e-9 for clock in clocks])
    assert times.min() > 1_699_999_999
    assert times.max() < 1_700_000_001
    assert (np.diff(times) < 0).sum() >= 1
    listener.destroy_subscription(subscription)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["while loading", "while idle", "in the middle of a frame",
                                    "while waiting for tf"])
def test_the_node_ends_cleanly(drive, number, moment):
    variables = {"FINGERPRINT_LOAD_S": "2" if moment == "while loading" else "0",
                 "FINGERPRINT_DELAY_S": "0.5" if moment == "in the middle of a frame" else "0"}
    node = Process(NODE, "--param", "tf.timeout:=5.0", **variables)
    player = None
    node.wait_for("loading" if moment == "while loading" else "active")
    if "frame" in moment or "tf" in moment:
        topics = ["--topics", "/LIDAR_TOP/points"]
        for index in range(1, 7):
            name = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_FRONT_LEFT", "CAM_BACK", "CAM_BACK_LEFT",
                    "CAM_BACK_RIGHT")[index - 1]
            topics += [f"/{name}/image_raw", f"/{name}/camera_info"]
        if "frame" in moment:
            topics += ["/tf", "/tf_static"]
        player = Process("-m", "aqr_perception", "play", str(drive), "--loop",
                         "--wait-for-subscribers", "30", *topics)
        if "frame" in moment:
            node.wait_for("first frame")
        else:
            time.sleep(4.0)
    begun = time.monotonic()
    node.send(number)
    assert node.wait() == 0
    assert time.monotonic() - begun < 10
    assert "Traceback" not in node.output
    if player is not None:
        assert player.stop(number) == 0
        assert "Traceback" not in player.output


@pytest.mark.parametrize(("arguments", "words"), [
    (["--device", "cuda:99"], "cuda:99"),
    (["--device", "tpu"], "tpu"),
    (["--weights", "/nowhere/weights.safetensors"], "/nowhere/weights.safetensors"),
    (["--config", "/nowhere/perception.yaml"], "/nowhere/perception.yaml"),
    (["--param", "gain.lidar:=9.0"], "gain.lidar"),
    (["--param", "gain.lidar"], "NAME:=VALUE"),
])
def test_the_node_says_in_one_line_what_does_not_fit(arguments, words):
    result = aqr("node", *arguments)
    assert result.returncode == 2, result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("aqr_perception")]
    assert words in line
    assert "Traceback" not in result.stderr
