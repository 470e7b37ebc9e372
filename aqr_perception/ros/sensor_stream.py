"""A vehicle's sensors in a process of their own: one frame again and again, any of them dead."""

from __future__ import annotations

import array
import multiprocessing
import signal
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from sensor_msgs_py.point_cloud2 import create_cloud
from tf2_msgs.msg import TFMessage

from aqr_perception.geometry import rigid
from aqr_perception.ros import topics
from aqr_perception.ros.messages import header_of, ns_to_stamp, transform_to_message
from aqr_perception.runtime.kill_check import Sensors, SentSet
from aqr_perception.types import CameraImage, SensorFrame

SETTLE_S = 1.0
"""After the publishers were matched: the other side's time to match, too [s]."""
END_S = 5.0
POLL_S = 0.02
SENSOR_QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


class SensorStream:
    """Starts the process; it waits for subscribers of all topics, and sends nothing yet.

    Args:
        frame: What the sensors see, with all of them in it.
        intensity_max: Value that full reflection has in the cloud's messages.
        rate_hz: Sets a second.
        match_s: Longest wait for subscribers [s].
    """

    def __init__(self, frame: SensorFrame, intensity_max: float, rate_hz: float, match_s: float
                 ) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, there = spawn.Pipe()
        self._process = spawn.Process(
            target=_stream, args=(there, frame, intensity_max, rate_hz, match_s), daemon=True)
        self._process.start()
        there.close()

    def ready(self) -> bool:
        """Whether all topics have subscribers by now.

        Raises:
            ValueError: The process has ended; some topic had none in time.
        """
        if not self._pipe.poll():
            return False
        self._receive()
        return True

    def let_live(self, alive: Sensors) -> None:
        """From the next set on, these sensors send; with none, the stream pauses."""
        self._pipe.send(alive)

    def finish(self) -> list[SentSet]:
        """End the process; gives what it has sent."""
        self._pipe.send(None)
        sent: list[SentSet] = self._receive()
        return sent

    def close(self) -> None:
        """End the process, whatever it does."""
        self._pipe.close()
        self._process.join(END_S)
        self._process.kill()

    def _receive(self) -> list[SentSet]:
        try:
            answer = self._pipe.recv()
        except EOFError:
            raise ValueError(f"the process of the sensors has ended (exit code "
                             f"{self._process.exitcode})") from None
        if isinstance(answer, str):
            raise ValueError(answer)
        return answer


class _Sensors:
    """The publishers with their messages, sensor by sensor; the node subscribes as best effort."""

    def __init__(self, node: Node, frame: SensorFrame, intensity_max: float) -> None:
        self._tf = node.create_publisher(TFMessage, topics.TF, 10)
        self._static = node.create_publisher(TFMessage, topics.TF_STATIC, QoSProfile(
            depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
        cameras = [image for image in frame.images if image is not None]
        self._static.publish(static_transforms(frame.frame_id, cameras))
        create = node.create_publisher
        self._messages = [[(create(PointCloud2, topics.points_topic(), SENSOR_QOS),
                            cloud_message(frame, intensity_max))]]
        for camera in cameras:
            self._messages.append([
                (create(CameraInfo, topics.camera_info_topic(camera.name), SENSOR_QOS),
                 camera_info_message(camera)),
                (create(Image, topics.image_topic(camera.name), SENSOR_QOS),
                 image_message(camera))])

    def without_subscriber(self) -> list[str]:
        """Topics that nobody takes."""
        return [publisher.topic_name for messages in self._messages for publisher, _ in messages
                if not publisher.get_subscription_count()]

    def publish(self, stamp_ns: int, alive: Sensors) -> None:
        """Send a set: the car's pose, then the cameras, and the cloud when the sweep has ended."""
        self._tf.publish(TFMessage(transforms=[transform_to_message(
            np.eye(4), topics.FIXED_FRAME, topics.BASE_FRAME, stamp_ns)]))
        for sensor in sorted(alive, reverse=True):
            for publisher, message in self._messages[sensor]:
                message.header.stamp = ns_to_stamp(stamp_ns)
                publisher.publish(message)


def _stream(pipe: Connection, frame: SensorFrame, intensity_max: float, rate_hz: float,
            match_s: float) -> None:
    """Send sets as told, until told to end; runs in its own process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other end says when to stop
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = Node("aqr_sensors", use_global_arguments=False)
    try:
        sensors = _Sensors(node, frame, intensity_max)
        deadline = time.monotonic() + match_s
        while missing := sensors.without_subscriber():
            if time.monotonic() > deadline:
                pipe.send(f"nobody subscribed to {', '.join(missing)} within {match_s:g} s")
                return
            if pipe.poll(POLL_S):
                pipe.recv()  # nothing is to be told yet: the other end is gone
        time.sleep(SETTLE_S)
        pipe.send([])
        pipe.send(_send_sets(pipe, sensors, 1.0 / rate_hz))
    except (EOFError, BrokenPipeError):
        pass  # the other end is gone: there is nobody to send for
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def _send_sets(pipe: Connection, sensors: _Sensors, period_s: float) -> list[SentSet]:
    sent: list[SentSet] = []
    alive: Sensors | None = frozenset()
    due_s = time.monotonic()
    while True:
        while pipe.poll(max(due_s - time.monotonic(), 0.0)):
            alive = pipe.recv()
            if alive is None:
                return sent
        now_s = time.monotonic()
        if alive:
            stamp_ns = time.time_ns()
            sent.append(SentSet(stamp_ns, time.monotonic_ns(), round((now_s - due_s) * 1e9), alive))
            sensors.publish(stamp_ns, alive)
        due_s = max(due_s + period_s, time.monotonic())  # what is missed is not caught up with


def static_transforms(lidar_frame: str, cameras: Sequence[CameraImage]) -> TFMessage:
    """Where the sensors are: the LiDAR at the car's own frame, the cameras as calibrated."""
    poses = [transform_to_message(np.eye(4), topics.BASE_FRAME, lidar_frame, 0)]
    poses += [transform_to_message(rigid.inverse(camera.calibration.camera_from_lidar),
                                   lidar_frame, _optical_frame(camera), 0) for camera in cameras]
    return TFMessage(transforms=poses)


def _optical_frame(camera: CameraImage) -> str:
    return camera.calibration.frame_id or f"{camera.name}_optical"


def cloud_message(frame: SensorFrame, intensity_max: float) -> PointCloud2:
    """A frame's cloud with the stamp 0: x, y, z [m], intensity up to the given.

    Where it is joined of several sweeps, dt [s] too.
    """
    assert frame.lidar is not None
    names = ("x", "y", "z", "intensity", "dt")[:5 if frame.lidar.points[:, 4].any() else 4]
    fields = [PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
              for index, name in enumerate(names)]
    points = frame.lidar.points[:, :len(names)].copy()
    points[:, 3] *= intensity_max
    return create_cloud(header_of(0, frame.frame_id), fields, points)


def image_message(camera: CameraImage) -> Image:
    """A camera's picture with the stamp 0."""
    height, width, _ = camera.pixels.shape
    message = Image(header=header_of(0, _optical_frame(camera)), height=height, width=width,
                    encoding="bgr8", step=3 * width)
    message.data = array.array("B", camera.pixels.tobytes())
    return message


def camera_info_message(camera: CameraImage) -> CameraInfo:
    """A camera's calibration with the stamp 0."""
    lens = camera.calibration.camera
    distortion = lens.distortion if lens.distortion.size else np.zeros(5)
    return CameraInfo(header=header_of(0, _optical_frame(camera)), width=lens.width,
                      height=lens.height, distortion_model=lens.distortion_model,
                      d=distortion.tolist(), k=lens.intrinsics.reshape(-1).tolist())
