import gc
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from fingerprint import FingerprintPipeline
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from live_rig import START_NS, Context, Rig, wait_until
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time
from vision_msgs.msg import LabelInfo, VisionInfo
from visualization_msgs.msg import MarkerArray

from aqr_perception.ros.conversions import detections_from_message, stamp_to_ns
from aqr_perception.types import CLASS_NAMES

SUCCESS = TransitionCallbackReturn.SUCCESS


@pytest.fixture
def context():
    made = Context()
    yield made
    made.close()


@pytest.fixture
def running(context):
    """An active detector and its rig, matched."""
    node = context.detector(FingerprintPipeline())
    rig = Rig(context)
    assert context.call(node.trigger_configure) == SUCCESS
    assert context.call(node.trigger_activate) == SUCCESS
    context.spin()
    rig.wait_matched()
    return node, rig


def sensors_of(message):
    """How many sensors a result of the fingerprint pipeline was made of."""
    return len(message.detections) - 1


def run_of(node):
    return node._loop.health().run


def state_of(node):
    return node._state_machine.current_state[1]


def test_a_set_gives_one_array_with_the_lidars_stamp_and_frame(running):
    _, rig = running
    stamp_ns = rig.send(0)
    time.sleep(0.3)
    (message,) = rig.wait_results(1)
    assert stamp_to_ns(message.header.stamp) == stamp_ns
    assert message.header.frame_id == "lidar"
    detections = detections_from_message(message)
    np.testing.assert_allclose(  # camera_from_lidar of the rig, plus the projection's part
        detections.boxes.center[1:3, :3],
        [[0.019, -0.5 + 0.014, 1.0], [0.019, 0.5 + 0.014, 1.0]], atol=1e-6)


def test_sets_come_in_order_and_each_once(running):
    _, rig = running
    sent = []
    for index in range(10):
        sent.append(rig.send(index))
        rig.wait_results(index + 1)
    assert [stamp_to_ns(message.header.stamp) for message in rig.results] == sent


@pytest.mark.parametrize("missing", [("RIGHT",), ("LEFT", "RIGHT"), ("lidar",), ("lidar", "LEFT")])
def test_what_is_there_is_detected_in_and_the_rest_comes_back_without_a_restart(running, missing):
    _, rig = running
    rig.send(0)
    assert sensors_of(rig.wait_results(1)[0]) == 3

    def goes_on(missing):
        wanted = 3 - len(missing)
        for index in range(1 + len(rig.results), 400):
            rig.send(index, leave_out=missing)
            time.sleep(0.05)
            if rig.results and sensors_of(rig.results[-1]) == wanted:
                return
        raise AssertionError(f"no frame of {wanted} sensors")

    goes_on(missing)
    assert all(message.header.frame_id == "lidar" for message in rig.results)
    goes_on(())


@pytest.mark.parametrize("bad", [{"stamp_ns": 0}, {"width": 20, "leave_out": ("lidar",)}])
def test_a_bad_frame_is_dropped_and_counted_and_never_an_empty_array(running, bad):
    node, rig = running
    rig.send(0, **bad)
    if "leave_out" in bad:  # until the cameras go on alone
        for index in range(1, 20):
            rig.send(index, **bad)
            time.sleep(0.05)
    wait_until(lambda: run_of(node).dropped >= 1, "the bad frame's drop")
    stamp_ns = rig.send(30)
    (message,) = rig.wait_results(1)
    assert stamp_to_ns(message.header.stamp) == stamp_ns
    assert sensors_of(message) == 3
    assert run_of(node).results.received == 1


def test_images_of_another_size_than_their_calibration_are_left_out(running, capfd):
    _, rig = running
    rig.send(0, width=20)
    (message,) = rig.wait_results(1)
    assert sensors_of(message) == 1
    assert "LEFT: the image is uint8 of shape (24, 20, 3)" in capfd.readouterr().err


def test_a_frame_in_which_nothing_can_be_seen_is_not_an_empty_array(context):
    class Blind(FingerprintPipeline):
        def __call__(self, frame, controls):
            result = super().__call__(frame, controls)
            return replace(result, note="no point lies in range" * (frame.stamp_ns == START_NS))

    node = context.detector(Blind())
    rig = Rig(context)
    assert context.call(node.trigger_configure) == SUCCESS
    assert context.call(node.trigger_activate) == SUCCESS
    context.spin()
    rig.wait_matched()
    rig.send(0)
    wait_until(lambda: run_of(node).dropped == 1, "the drop")
    stamp_ns = rig.send(1)
    assert stamp_to_ns(rig.wait_results(1)[0].header.stamp) == stamp_ns


def test_cameras_are_left_out_until_tf_knows_them(context, capfd):
    node = context.detector(FingerprintPipeline(), tf__timeout=0.05)
    rig = Rig(context, static_tf=False)
    assert context.call(node.trigger_configure) == SUCCESS
    assert context.call(node.trigger_activate) == SUCCESS
    context.spin()
    rig.wait_matched()
    rig.send(0)
    assert sensors_of(rig.wait_results(1)[0]) == 1
    rig.send_static_tf()
    wait_until(lambda: node._tf_buffer.can_transform("lidar", "right", Time()), "tf")
    rig.send(1)
    assert sensors_of(rig.wait_results(2)[1]) == 3
    assert "LEFT: tf has no transform from 'lidar' to 'left'" in capfd.readouterr().err


def test_a_parameter_takes_effect_with_the_next_frame(running):
    node, rig = running
    rig.send(0)
    rig.wait_results(1)
    assert node.set_parameters_atomically(
        [Parameter("gain.lidar", value=0.5), Parameter("gain.camera", value=2.0)]).successful
    rig.send(1)
    rig.wait_results(2)
    shown = [detections_from_message(message).boxes.center[-1, :2] for message in rig.results]
    np.testing.assert_allclose(shown, [[1.0, 1.0], [0.5, 2.0]])


def test_the_newest_is_processed_and_the_rest_is_counted(context):
    node = context.detector(FingerprintPipeline(delay_s=0.25))
    rig = Rig(context)
    assert context.call(node.trigger_configure) == SUCCESS
    assert context.call(node.trigger_activate) == SUCCESS
    context.spin()
    rig.wait_matched()
    sets = 20
    for index in range(sets):
        last = rig.send(index)
        time.sleep(0.05)
    wait_until(lambda: rig.results and stamp_to_ns(rig.results[-1].header.stamp) == last,
               "the newest set")
    stamps = [stamp_to_ns(message.header.stamp) for message in rig.results]
    assert stamps == sorted(set(stamps))
    assert run_of(node).results.received == len(stamps) < sets
    assert run_of(node).results.received + node._loop.health().passed_over == sets
    assert run_of(node).dropped == 0


def test_a_fault_of_the_pipeline_drops_the_frame_and_not_the_node(context, capfd):
    class Faulty(FingerprintPipeline):
        def __call__(self, frame, controls):
            if frame.stamp_ns == START_NS:
                raise RuntimeError("device ran out of memory")
            return super().__call__(frame, controls)

    node = context.detector(Faulty())
    rig = Rig(context)
    assert context.call(node.trigger_configure) == SUCCESS
    assert context.call(node.trigger_activate) == SUCCESS
    context.spin()
    rig.wait_matched()
    rig.send(0)
    wait_until(lambda: run_of(node).dropped == 1, "the drop")
    rig.send(1)
    assert len(rig.wait_results(1)) == 1
    assert "device ran out of memory" in capfd.readouterr().err


def test_the_whole_life_cycle_twice(context):
    node = context.detector(FingerprintPipeline())
    rig = Rig(context)
    context.spin()
    for round_ in range(2):
        base = 100 * round_
        assert state_of(node) == "unconfigured"
        assert context.call(node.trigger_configure) == SUCCESS
        assert state_of(node) == "inactive"
        assert gc.get_freeze_count() > 0
        time.sleep(0.2)
        assert not rig.matched()
        assert context.call(node.trigger_activate) == SUCCESS
        rig.wait_matched()
        rig.send(base)
        rig.wait_results(2 * round_ + 1)
        assert context.call(node.trigger_deactivate) == SUCCESS
        wait_until(lambda: not rig.cloud.get_subscription_count(), "the end of the subscriptions")
        assert context.call(node.trigger_activate) == SUCCESS
        rig.wait_matched()
        rig.send(base + 1)
        rig.wait_results(2 * round_ + 2)
        assert context.call(node.trigger_deactivate) == SUCCESS
        assert context.call(node.trigger_cleanup) == SUCCESS
        assert node._pipeline is None
        assert gc.get_freeze_count() == 0
    assert context.call(node.trigger_shutdown) == SUCCESS
    assert state_of(node) == "finalized"
    assert len(rig.results) == 4


def test_transitions_by_service_while_messages_come(context):
    node = context.detector(FingerprintPipeline())
    rig = Rig(context)
    client = rig.node.create_client(ChangeState, "/detector/change_state")
    assert context.call(node.trigger_configure) == SUCCESS
    context.spin()
    stop = threading.Event()

    def send():
        index = 0
        while not stop.wait(0.01):
            rig.send(index)
            index += 1

    sender = threading.Thread(target=send)
    sender.start()
    try:
        assert client.wait_for_service(20.0)
        for _ in range(15):
            for transition in (Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE):
                done = client.call_async(ChangeState.Request(transition=Transition(id=transition)))
                wait_until(done.done, "the transition")
                assert done.result().success
    finally:
        stop.set()
        sender.join()
    assert context.call(lambda: state_of(node)) == "inactive"  # the executor's thread is alive


@pytest.mark.parametrize("error", [ValueError("weights.safetensors: not of this package"),
                                   OSError(2, "No such file", "weights.safetensors"),
                                   RuntimeError("CUDA error: no kernel image")])
def test_a_pipeline_that_does_not_load_is_a_failure_with_one_line(context, capfd, error):
    node = context.detector(None)
    attempts = []

    def load(config):
        attempts.append(config)
        if len(attempts) == 1:
            raise error
        return FingerprintPipeline()

    node._load = load
    assert context.call(node.trigger_configure) == TransitionCallbackReturn.FAILURE
    assert state_of(node) == "unconfigured"
    assert str(error.args[-1]) in node.failure
    lines = [line for line in capfd.readouterr().err.splitlines() if "cannot be configured" in line]
    assert len(lines) == 1
    assert context.call(node.trigger_configure) == SUCCESS  # as after putting the file there
    assert node.failure == ""


def test_an_activation_that_fails_leaves_nothing_behind_and_says_why(context, capfd):
    before = {thread.name for thread in threading.enumerate()}
    override = "qos_overrides./detector/input/image0.subscription.reliability"
    node = context.detector(FingerprintPipeline(), **{override: "nonsense"})
    for _ in range(2):
        assert context.call(node.trigger_configure) == SUCCESS
        assert context.call(node.trigger_activate) != SUCCESS
        assert "the inputs cannot be subscribed to" in node.failure
        assert "nonsense" in node.failure
    left = {thread.name for thread in threading.enumerate()} - before
    assert not {name for name in left if name.startswith("aqr_")}
    assert not [one.topic_name for one in node.subscriptions if "/input/" in one.topic_name]


def test_shutdown_from_active_in_the_middle_of_a_frame(context):
    node = context.detector(FingerprintPipeline(delay_s=0.4))
    rig = Rig(context)
    assert context.call(node.trigger_configure) == SUCCESS
    assert context.call(node.trigger_activate) == SUCCESS
    context.spin()
    rig.wait_matched()
    rig.send(0)
    time.sleep(0.15)
    assert context.call(node.trigger_shutdown) == SUCCESS
    assert state_of(node) == "finalized"


def test_labels_are_latched_and_markers_come_when_somebody_looks(running):
    node, rig = running
    rig.send(0)
    rig.wait_results(1)
    labels, infos, markers = [], [], []
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    rig.node.create_subscription(LabelInfo, "/detector/output/label_info", labels.append, latched)
    rig.node.create_subscription(VisionInfo, "/detector/output/vision_info", infos.append, latched)
    rig.node.create_subscription(MarkerArray, "/detector/output/markers", markers.append, 1)
    wait_until(lambda: labels and infos, "the latched topics")
    assert [item.class_name for item in labels[0].class_map] == list(CLASS_NAMES)
    assert infos[0].database_location == "/detector/output/label_info"
    wait_until(lambda: node._outputs._markers.get_subscription_count() == 1, "the marker's match")
    time.sleep(0.2)
    rig.send(1)
    wait_until(lambda: len(markers) == 1, "markers")
    assert len(markers[0].markers) == 1 + 2 * len(rig.wait_results(2)[-1].detections)


def test_a_recording_that_starts_again_is_followed(running):
    _, rig = running
    for round_ in range(2):
        for index in (0, 40, 80):
            rig.send(index)
            rig.wait_results(3 * round_ + (0, 40, 80).index(index) + 1)
    stamps = [stamp_to_ns(message.header.stamp) for message in rig.results]
    assert stamps[:3] == stamps[3:]



def test_a_recording_of_a_single_frame_in_a_loop_gives_a_result_each_time(running):
    node, rig = running
    for _ in range(8):
        rig.send(0)
        time.sleep(0.1)
    wait_until(lambda: len(rig.results) + node._loop.health().passed_over >= 7, "the results")
    assert {sensors_of(message) for message in rig.results} == {3}
    assert node._loop.health().restarts >= 6
