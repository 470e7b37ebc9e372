"""A small made-up rig: messages of its sensors, and a node and a listener to work with."""

from __future__ import annotations

import array
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from sensor_msgs_py.point_cloud2 import create_cloud
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray

from aqr_perception.geometry import rigid
from aqr_perception.ros.messages import header_of, transform_to_message
from aqr_perception.ros.node import DetectorNode

CAMERAS = ("LEFT", "RIGHT")
WIDTH, HEIGHT = 32, 24
WAIT_S = 20.0
STEP_NS = 100_000_000
START_NS = 1_700_000_000_000_000_000
CAMERA_LEADS_NS = 20_000_000


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {WAIT_S:g} s: {what}"
        time.sleep(0.01)


def cloud(stamp_ns: int, seed: int = 0) -> PointCloud2:
    fields = [PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
              for index, name in enumerate(("x", "y", "z", "intensity"))]
    points = np.random.default_rng(seed).uniform(0, 50, (100, 4)).astype(np.float32)
    return create_cloud(header_of(stamp_ns, "lidar"), fields, points)


def image(stamp_ns: int, camera: str, value: int = 100, width: int = WIDTH) -> Image:
    message = Image(header=header_of(stamp_ns, camera.lower()), height=HEIGHT, width=width,
                    encoding="bgr8", step=3 * width)
    message.data = array.array("B", bytes([value]) * (3 * width * HEIGHT))
    return message


def camera_info(stamp_ns: int, camera: str) -> CameraInfo:
    return CameraInfo(header=header_of(stamp_ns, camera.lower()), height=HEIGHT, width=WIDTH,
                      distortion_model="plumb_bob", d=[0.0] * 5,
                      k=[20.0, 0.0, 16.0, 0.0, 20.0, 12.0, 0.0, 0.0, 1.0])


class Context:
    """Nodes of a test and the thread that spins them."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(args=[], context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self.nodes: list[Any] = []

    def add(self, node: Any) -> Any:
        self.nodes.append(node)
        self.executor.add_node(node)
        return node

    def detector(self, pipeline: Any, **parameters: Any) -> DetectorNode:
        values = {"cameras": list(CAMERAS), "fixed_frame": "", **parameters}
        return self.add(DetectorNode(
            lambda config: pipeline, context=self.context, use_global_arguments=False,
            parameter_overrides=[Parameter(name.replace("__", "."), value=value)
                                 for name, value in values.items()]))

    def spin(self) -> None:
        def work() -> None:
            while not self._stop.is_set():
                self.executor.spin_once(timeout_sec=0.05)

        self._thread = threading.Thread(target=work)
        self._thread.start()

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call in the thread that spins, where services would.

        rclpy's executor does not bear it that another thread destroys what it is about to wait for.
        """
        if self._thread is None:
            return function(*arguments)
        result: Future[Any] = Future()

        def work() -> None:
            try:
                result.set_result(function(*arguments))
            except BaseException as error:  # the test's to see, and not the end of the thread
                result.set_exception(error)

        self.executor.create_task(work)
        return result.result(3 * WAIT_S)

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self.executor.shutdown()
        for node in self.nodes:
            node.destroy_node()
        self.context.try_shutdown()


class Rig:
    """Publishes the rig's topics, and collects what the detector says."""

    def __init__(self, context: Context, static_tf: bool = True) -> None:
        self.node = context.add(rclpy.create_node(
            "rig", context=context.context, use_global_arguments=False))
        create = self.node.create_publisher
        self.cloud = create(PointCloud2, "/detector/input/pointcloud", 10)
        self.images = [create(Image, f"/detector/input/image{i}", 10)
                       for i in range(len(CAMERAS))]
        self.infos = [create(CameraInfo, f"/detector/input/camera_info{i}", 10)
                      for i in range(len(CAMERAS))]
        self.tf_static = create(TFMessage, "/tf_static", QoSProfile(
            depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL))
        self.results: list[Detection3DArray] = []
        self.node.create_subscription(
            Detection3DArray, "/detector/output/detections", self.results.append, 50)
        if static_tf:
            self.send_static_tf()

    def send_static_tf(self) -> None:
        poses = {"left": (0.0, 0.5, 0.0), "right": (0.0, -0.5, 0.0), "lidar": (0.0, 0.0, 1.0)}
        self.tf_static.publish(TFMessage(transforms=[
            transform_to_message(rigid.from_rotation_translation(np.eye(3), position),
                                 "base_link", frame, 0) for frame, position in poses.items()]))

    def matched(self) -> bool:
        publishers = (self.cloud, *self.images, *self.infos)
        return all(publisher.get_subscription_count() for publisher in publishers)

    def wait_matched(self) -> None:
        wait_until(self.matched, "the detector's subscriptions")
        time.sleep(0.3)  # the other side must have matched too

    def send(self, index: int, value: int = 100, width: int = WIDTH, stamp_ns: int | None = None,
             leave_out: tuple[str, ...] = ()) -> int:
        """Publish set ``index``; returns its LiDAR stamp."""
        stamp_ns = START_NS + index * STEP_NS if stamp_ns is None else stamp_ns
        for i, camera in enumerate(CAMERAS):
            if camera in leave_out:
                continue
            self.infos[i].publish(camera_info(stamp_ns - CAMERA_LEADS_NS, camera))
            self.images[i].publish(image(stamp_ns - CAMERA_LEADS_NS, camera, value, width))
        if "lidar" not in leave_out:
            self.cloud.publish(cloud(stamp_ns, index))
        return stamp_ns

    def wait_results(self, count: int) -> list[Detection3DArray]:
        wait_until(lambda: len(self.results) >= count, f"{count} results")
        return self.results
