"""A bag's messages → SensorFrames, offline: the node's assembly, with the bag's time as clock."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rclpy.duration import Duration
from rclpy.serialization import deserialize_message
from tf2_msgs.msg import TFMessage
from tf2_ros import Buffer

from aqr_perception.recordings.rig import Rig
from aqr_perception.ros import topics
from aqr_perception.ros.bag import Bag, deserialize
from aqr_perception.ros.calibration import CameraModels, RigTransforms
from aqr_perception.ros.conversions import detections_from_message, stamp_to_ns
from aqr_perception.ros.frames import FrameAssembler
from aqr_perception.ros.parameters import NodeConfig
from aqr_perception.ros.synchronization import LIDAR_ANCHORED, SyncConfig
from aqr_perception.runtime.sample_set import SampleSet
from aqr_perception.runtime.synchronizer import MILLISECOND, Synchronizer, SynchronizerSettings
from aqr_perception.types import Annotations, SensorFrame

TOLERANCE_NS = 60 * MILLISECOND
TF_TYPE = "tf2_msgs/msg/TFMessage"


def frames_from_bag(path: str | Path, rig: Rig) -> Iterator[SensorFrame]:
    """Read the frames of a bag, one a sweep, with the images closest to it.

    A camera whose nearest image is more than 60 ms away is absent from that frame.

    Args:
        path: Folder of the bag; its topics are named as `ros.topics` says.
        rig: Cameras and mounting.

    Raises:
        ValueError: The bag is damaged, lacks a topic of the rig (those that it has are listed), or
            a message does not fit.
    """
    bag = Bag(path)
    images = [topics.compressed_topic(name) if topics.compressed_topic(name) in bag.types
              else topics.image_topic(name) for name in rig.camera_names]
    infos = [topics.camera_info_topic(name) for name in rig.camera_names]
    bag.require_types({
        topics.points_topic(): "sensor_msgs/msg/PointCloud2",
        **{topic: "sensor_msgs/msg/CompressedImage" if topic.endswith("/compressed")
           else "sensor_msgs/msg/Image" for topic in images},
        **dict.fromkeys(infos, "sensor_msgs/msg/CameraInfo"),
        topics.TF_STATIC: TF_TYPE}, "name the rig's cameras in a file and pass it with --config")

    cameras = CameraModels(rig.camera_names)
    transforms = RigTransforms(_transforms(bag), topics.FIXED_FRAME, 0.0, threading.Event())
    assembler = FrameAssembler(_config(rig), cameras, transforms)
    sensors = {topic: sensor for sensor, topic in enumerate([topics.points_topic(), *images])}
    try:
        for sample_set in _sets(bag, sensors, {topic: i for i, topic in enumerate(infos)}, cameras):
            yield _assembled(assembler, sample_set, bag.path)
    finally:
        assembler.close()


def truth_from_bag(path: str | Path) -> dict[int, Annotations]:
    """Read the truth that `to-bag` put into a bag, by stamp [ns]; empty where there is none.

    How many points each box holds does not travel, nor does its velocity: -1 and NaN.

    Raises:
        ValueError: The bag is damaged, or its truth is of a class that is none of ours.
    """
    bag = Bag(path)
    if bag.types.get(topics.GROUND_TRUTH) != "vision_msgs/msg/Detection3DArray":
        return {}
    found = {}
    for recorded in bag.messages([topics.GROUND_TRUTH]):
        message = deserialize(recorded)
        truth = detections_from_message(message)
        ids = [detection.id for detection in message.detections]
        found[truth.stamp_ns] = Annotations(
            truth.boxes, truth.labels, np.full(len(truth), -1, np.int64),
            np.full(len(truth), np.nan, np.float32),
            np.array([int(name) if name.isdecimal() else -1 for name in ids], np.int64))
    return found


def _sets(bag: Bag, sensors: dict[str, int], infos: dict[str, int], cameras: CameraModels
          ) -> Iterator[SampleSet]:
    synchronizer = Synchronizer(SynchronizerSettings(
        camera_offsets_ns=(0,) * (len(sensors) - 1), tolerance_ns=TOLERANCE_NS,
        stale_ns=TOLERANCE_NS, deadline_ns=TOLERANCE_NS, silent_ns=bag.duration_ns + TOLERANCE_NS,
        stand_in=False, eager_start=False))
    now = bag.start_ns
    for recorded in bag.messages([*sensors, *infos]):
        now = max(now, recorded.stamp_ns)
        message = deserialize(recorded)
        if recorded.topic in infos:
            cameras.update(infos[recorded.topic], message)
            continue
        synchronizer.add(sensors[recorded.topic], stamp_to_ns(message.header.stamp), message, now)
        yield from synchronizer.poll(now)
    yield from synchronizer.poll(now + TOLERANCE_NS)


def _assembled(assembler: FrameAssembler, sample_set: SampleSet, path: Path) -> SensorFrame:
    try:
        assembled = assembler.assemble(sample_set)
        if problem := next((use.problem for use in assembled.sensors if use.problem), ""):
            raise ValueError(problem)  # the vehicle goes on without that sensor; a file is mended
        return assembled.frame
    except ValueError as error:
        raise ValueError(f"{path}: in the frame at {sample_set.stamp_ns} ns: {error}") from None


def _transforms(bag: Bag) -> Buffer:
    """All transforms of the bag; unlike on the road, those of the future are known too."""
    buffer = Buffer(cache_time=Duration(nanoseconds=bag.duration_ns + 10**10))
    for recorded in bag.messages([topics.TF, topics.TF_STATIC]):
        put = (buffer.set_transform_static if recorded.topic == topics.TF_STATIC
               else buffer.set_transform)
        try:
            for transform in deserialize_message(recorded.data, TFMessage).transforms:
                put(transform, "bag")
        except Exception as error:  # of the middleware for bytes that are no message, and of tf2
            raise ValueError(f"{bag.path}: a message on {recorded.topic} is no {TF_TYPE} that tf2 "
                             f"takes: {' '.join(str(error).split())}") from None
    return buffer


def _config(rig: Rig) -> NodeConfig:
    """What the assembly needs to know; the rest has no meaning offline."""
    return NodeConfig(
        autostart=False, weights=None, device="cpu", cameras=rig.camera_names,
        image_transport="raw", mounting=rig.mounting, intensity_max=rig.intensity_max or 255.0,
        intensity_field="intensity", fixed_frame=topics.FIXED_FRAME, tf_timeout_s=0.0,
        lidar_frame_id="", sync=SyncConfig(LIDAR_ANCHORED, 0.06, 0.06, 0.06, 1.0,
                                           (0.0,) * len(rig.camera_names), 1, 0.0))
