"""The sweeps of a moving car are joined in the node, over DDS with odometry in tf."""

import threading

import numpy as np
import pytest
from fingerprint import FingerprintPipeline
from live_rig import CAMERAS, START_NS, STEP_NS, Context, Rig, camera_info, image, wait_until
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.time import Time
from sensor_msgs.msg import PointField
from sensor_msgs_py.point_cloud2 import create_cloud
from test_diagnostics import listen, values
from tf2_msgs.msg import TFMessage

from aqr_perception.geometry import rigid
from aqr_perception.ros.messages import header_of, transform_to_message

SUCCESS = TransitionCallbackReturn.SUCCESS
LIDAR_ON_CAR = rigid.from_xyz_yaw(0.0, 0.0, 1.0, 0.0)  # as `Rig` has it
PILLAR = np.array([[430.0, 1215.0, z] for z in (0.5, 1.0, 1.5)])
"""Points of a thing that stands, in the fixed frame [m]."""


def car(index):
    """10 m/s ahead in a bend: (4, 4) odom from base_link when set ``index`` is measured."""
    return rigid.from_xyz_yaw(400.0 + index, 1200.0 + 0.2 * index, 0.0, 0.3 + 0.05 * index)


def pillar_seen(index):
    """(3, 3) the pillar in the LiDAR frame of set ``index``."""
    return rigid.transform_points(rigid.inverse(car(index) @ LIDAR_ON_CAR), PILLAR)


class Witness(FingerprintPipeline):
    """Keeps the frames that it sees; holds the first one until it is let go on."""

    def __init__(self):
        super().__init__()
        self.frames = []
        self.go_on = threading.Event()

    def __call__(self, frame, controls):
        self.frames.append(frame)
        self.go_on.wait(60.0)
        return super().__call__(frame, controls)


class Car:
    """A rig that moves, and the detector that it drives with."""

    def __init__(self, context, **parameters):
        self.pipeline = Witness()
        self.node = context.detector(self.pipeline, fixed_frame="odom", tf__timeout=5.0,
                                     **parameters)
        self.rig = Rig(context)
        self.ear = listen(self.rig.node)
        self._tf = self.rig.node.create_publisher(TFMessage, "/tf", 100)
        assert context.call(self.node.trigger_configure) == SUCCESS
        assert context.call(self.node.trigger_activate) == SUCCESS
        context.spin()
        self.rig.wait_matched()
        wait_until(lambda: self._tf.get_subscription_count(), "the detector's ear for /tf")

    def start_odometry(self):
        """From before the first set to after the last one; the node must know it by then."""
        def known():
            self._tf.publish(TFMessage(transforms=[
                transform_to_message(car(index), "odom", "base_link", START_NS + index * STEP_NS)
                for index in range(-1, 40)]))
            return self.node._tf_buffer.can_transform(
                "odom", "lidar", Time(nanoseconds=START_NS + 39 * STEP_NS))
        wait_until(known, "the odometry in the detector's tf")

    def send(self, index):
        """Publish a set, and wait until all of it is taken."""
        stamp_ns = START_NS + index * STEP_NS
        before = [flow.received for flow in self.flows()]
        for number, camera in enumerate(CAMERAS):
            self.rig.infos[number].publish(camera_info(stamp_ns, camera))
            self.rig.images[number].publish(image(stamp_ns, camera))
        points = np.zeros((len(PILLAR), 4), np.float32)
        points[:, :3] = pillar_seen(index)
        fields = [PointField(name=name, offset=4 * column, datatype=PointField.FLOAT32, count=1)
                  for column, name in enumerate(("x", "y", "z", "intensity"))]
        self.rig.cloud.publish(create_cloud(header_of(stamp_ns, "lidar"), fields, points))
        wait_until(lambda: all(now.received > then for now, then in zip(self.flows(), before)),
                   f"set {index} in the node")

    def flows(self):
        return self.node._loop.health().flows

    def wait_frames(self, count):
        wait_until(lambda: len(self.pipeline.frames) >= count, f"{count} frames")
        return self.pipeline.frames


@pytest.fixture
def context():
    made = Context()
    yield made
    made.close()


def assert_joined(frame, index, sweeps):
    """The cloud of set ``index`` holds so many sweeps, and all of them lie on the pillar."""
    points = frame.lidar.points
    assert frame.stamp_ns == frame.lidar.stamp_ns == START_NS + index * STEP_NS
    np.testing.assert_allclose(points[:, :3], np.tile(pillar_seen(index), (sweeps, 1)), atol=5e-3)
    np.testing.assert_allclose(points[:, 4], np.repeat(np.arange(sweeps) * 0.1, len(PILLAR)),
                               atol=1e-6)


def test_what_stands_is_one_thing_in_the_sweeps_of_a_moving_car(context):
    moving = Car(context)
    moving.pipeline.go_on.set()
    moving.start_odometry()
    for index in range(6):
        moving.send(index)
        frame = moving.wait_frames(index + 1)[index]
        assert_joined(frame, index, min(4, index + 1))
    moving.rig.wait_results(6)
    wait_until(lambda: values(moving.ear.wait("input LiDAR", "Hz")).get("sweeps_joined") == "4",
               "four sweeps in the diagnostics")


def test_sweeps_that_were_passed_over_are_joined_too(context):
    moving = Car(context)
    moving.start_odometry()
    moving.send(0)
    moving.wait_frames(1)
    for index in range(1, 8):
        moving.send(index)
    wait_until(lambda: moving.node._loop.health().counts.sets == 8, "eight sets")
    moving.pipeline.go_on.set()
    _, newest = moving.wait_frames(2)
    assert_joined(newest, 7, 4)
    assert moving.node._loop.health().passed_over == 6


def test_without_the_fixed_frame_the_newest_sweep_is_alone_and_the_diagnostics_say_why(context):
    moving = Car(context)
    moving.pipeline.go_on.set()
    for index in range(3):
        moving.send(index)
        assert_joined(moving.wait_frames(index + 1)[index], index, 1)
    found = moving.ear.wait("input LiDAR", "its newest sweep alone: tf does not say where the car")
    assert values(found)["sweeps_joined"] == "1"
    moving.start_odometry()
    moving.send(3)
    assert_joined(moving.wait_frames(4)[3], 3, 4)


def test_sweeps_are_joined_as_the_parameters_say(context):
    moving = Car(context, lidar__sweeps=3, lidar__sweep_interval=0.2)
    moving.pipeline.go_on.set()
    moving.start_odometry()
    for index in range(7):
        moving.send(index)
        moving.wait_frames(index + 1)
    points = moving.pipeline.frames[6].lidar.points
    np.testing.assert_allclose(points[:, 4], np.repeat([0, 0.2, 0.4], len(PILLAR)), atol=1e-6)
