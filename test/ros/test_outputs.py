"""What is published beside the detections of a frame, over DDS."""

import threading
import time

import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from fingerprint import FingerprintPipeline
from live_rig import START_NS, STEP_NS, WAIT_S, Context, Rig, wait_until
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import PointCloud2
from sensor_msgs_py.point_cloud2 import read_points
from tf2_msgs.msg import TFMessage

from aqr_perception.geometry import rigid
from aqr_perception.ros.conversions import detections_from_message, stamp_to_ns
from aqr_perception.ros.messages import transform_to_message
from aqr_perception.ros.output_frame import OutputFrame
from aqr_perception.ros.rehearsal import rehearsal_frame
from aqr_perception.types import Controls, Mounting

SUCCESS = TransitionCallbackReturn.SUCCESS
FIRST = 100
"""Number of the first set that counts; those before it go out until somebody hears."""


@pytest.fixture
def context():
    made = Context()
    yield made
    made.close()


class Held(FingerprintPipeline):
    """Stays in the middle of a frame until it is let go, from set `FIRST` on."""

    def __init__(self):
        super().__init__()
        self.entered, self.go_on = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, frame, controls):
        if frame.stamp_ns >= START_NS + FIRST * STEP_NS:
            self.entered.release()
            assert self.go_on.acquire(timeout=WAIT_S)
        return super().__call__(frame, controls)


def start(context, pipeline, **parameters):
    node = context.detector(pipeline, **parameters)
    rig = Rig(context)
    assert node.trigger_configure() == SUCCESS
    assert node.trigger_activate() == SUCCESS
    context.spin()
    rig.wait_matched()
    return node, rig


def listen(node, rig, message_type, name, sets=range(FIRST)):
    """Collect what comes on an output; sets go out before until the two ends are joined.

    Returns:
        The messages, none yet.
    """
    heard = []
    rig.node.create_subscription(message_type, f"/detector/output/{name}", heard.append, 10)
    for index in sets:
        rig.send(index)
        wait_until(lambda: node._loop.health().run.results.received > index, "the set's end")  # noqa: B023 - done here
        time.sleep(0.2)
        if heard and rig.results and heard[-1].header == rig.results[-1].header:
            heard.clear()
            rig.results.clear()
            return heard
    raise AssertionError(f"nothing comes on {name}")


def test_a_change_in_the_middle_of_a_frame_is_whole_in_the_next_and_not_in_this(context):
    pipeline = Held()
    node, rig = start(context, pipeline)
    heard = listen(node, rig, DiagnosticArray, "controls")
    stamps = [rig.send(FIRST)]
    assert pipeline.entered.acquire(timeout=WAIT_S)
    assert node.set_parameters_atomically([
        Parameter("gain.lidar", value=0.25), Parameter("score_threshold", value=0.75),
        Parameter("class_score_threshold.car", value=0.5), Parameter("aqr.enabled", value=False),
    ]).successful
    pipeline.go_on.release()
    wait_until(lambda: len(heard) == 1, "the first frame's controls")
    stamps.append(rig.send(FIRST + 1))
    assert pipeline.entered.acquire(timeout=WAIT_S)
    pipeline.go_on.release()
    wait_until(lambda: len(heard) == 2, "the second frame's controls")
    rig.wait_results(2)
    names = ("gain.lidar", "gain.camera", "score_threshold", "class_score_threshold.car",
             "aqr.enabled")
    before, after = (1.0, 1.0, 0.1, -1.0, True), (0.25, 1.0, 0.75, 0.5, False)
    for stamp_ns, message, result, expected in zip(stamps, heard, rig.results, (before, after),
                                                   strict=True):
        assert stamp_to_ns(message.header.stamp) == stamp_ns
        assert message.header.frame_id == "lidar"
        (status,) = message.status
        assert status.name == "detector: controls"
        values = {item.key: yaml.safe_load(item.value) for item in status.values}
        assert tuple(values[name] for name in names) == expected
        shown = detections_from_message(result)
        assert shown.stamp_ns == stamp_ns
        np.testing.assert_allclose(shown.boxes.center[-1], expected[:3], atol=1e-6)


def test_velocities_come_with_the_detections_stamp_and_in_their_order(context):
    node, rig = start(context, FingerprintPipeline())
    heard = listen(node, rig, PointCloud2, "velocities")
    rig.send(FIRST)
    wait_until(lambda: len(heard) == 1, "the velocities")
    (result,) = rig.wait_results(1)
    assert heard[0].header == result.header
    read = read_points(heard[0])
    shown = detections_from_message(result)
    np.testing.assert_array_equal(np.stack([read[axis] for axis in "xyz"], 1), shown.boxes.center)
    np.testing.assert_array_equal(read["label"], shown.labels)
    assert not read["vx"].any()  # the fingerprint's boxes stand


def test_an_output_frame_moves_all_results_at_the_frames_own_stamp(context):
    node, rig = start(context, FingerprintPipeline(), output_frame="map", tf__timeout=5.0)
    tf = rig.node.create_publisher(TFMessage, "/tf", 100)
    wait_until(lambda: tf.get_subscription_count() == 1, "the node's tf")
    moves = threading.Event()

    def drive():  # 1 m ahead and 0.1 rad to the left a set; again and again, whoever hears when
        while not moves.wait(0.05):
            tf.publish(TFMessage(transforms=[
                transform_to_message(map_from_base(index), "map", "base_link",
                                     START_NS + index * STEP_NS) for index in range(-1, 9)]))

    thread = threading.Thread(target=drive)
    thread.start()
    try:
        heard = listen(node, rig, PointCloud2, "velocities", range(4))
        rig.send(6)
        wait_until(lambda: len(heard) == 1, "the velocities")
    finally:
        moves.set()
        thread.join()
    (result,) = rig.wait_results(1)
    assert heard[0].header == result.header
    assert result.header.frame_id == "map"
    found = detections_from_message(result)
    lidar = rigid.from_rotation_translation(np.eye(3), [0.0, 0.0, 1.0])  # as `Rig` mounts it
    np.testing.assert_allclose(found.boxes.center[-1], rigid.transform_points(
        map_from_base(6) @ lidar, np.array([[1.0, 1.0, 0.1]]))[0], atol=1e-4)
    np.testing.assert_allclose(found.boxes.yaw[-1], 0.6, atol=1e-5)


def map_from_base(index):
    return rigid.from_xyz_yaw(float(index), 0.0, 0.0, 0.1 * index)


def test_a_frame_that_tf_does_not_know_the_output_frame_for_is_dropped_with_the_reason(
        context, capfd):
    node, rig = start(context, FingerprintPipeline(), output_frame="map", tf__timeout=0.05)
    rig.send(0)
    wait_until(lambda: node._loop.health().run.dropped == 1, "the drop")
    assert node._loop.health().run.results.received == 0
    assert "output_frame: tf does not know 'map' from 'lidar'" in capfd.readouterr().err


def test_boxes_are_not_laid_into_a_frame_that_lies_on_its_side():
    class Transforms:
        def look_up(self, *arguments):
            return rigid.from_translation_quaternion([0, 0, 0], [-0.5, 0.5, -0.5, 0.5])

    found = FingerprintPipeline()(rehearsal_frame(("A",), Mounting()), Controls()).detections
    assert OutputFrame("", Transforms(), 0.0).express(found) is found
    with pytest.raises(ValueError, match="z of 'camera' does not point up as that of 'lidar'"):
        OutputFrame("camera", Transforms(), 0.0).express(found)
