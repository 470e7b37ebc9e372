"""A bag's messages → SensorFrames, offline: the node's assembly, with the bag's time as clock."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from rclpy.duration import Duration
from rclpy.serialization import deserialize_message
from tf2_msgs.msg import TFMessage
from tf2_ros import Buffer

from aqr_perception.recordings.rig import Rig
from aqr_perception.ros import topics
from aqr_perception.ros.bag import Bag, deserialize
from aqr_perception.ros.calibration import CameraModels, RigTransforms
from aqr_perception.ros.conversions import stamp_to_ns
from aqr_perception.ros.frames import FrameAssembler
from aqr_perception.ros.parameters import NodeConfig
from aqr_perception.runtime.synchronizer import (
    MILLISECOND,
    SampleSet,
    Synchronizer,
    SynchronizerSettings,
)
from aqr_perception.types import SensorFrame

TOLERANCE_NS = 100 * MILLISECOND
LIDAR = 0


def frames_from_bag(path: str | Path, rig: Rig) -> Iterator[SensorFrame]:
    """Read the frames of a bag, one a sweep, with the images closest to it.

    A camera whose nearest image is more than 0.1 s away is absent from that frame.

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
    bag.require([topics.points_topic(), *images, *infos, topics.TF_STATIC])

    cameras = CameraModels(rig.camera_names)
    transforms = RigTransforms(_transforms(bag), topics.FIXED_FRAME, 0.0, threading.Event())
    assembler = FrameAssembler(_config(rig), cameras, transforms)
    sensors = {topic: sensor for sensor, topic in enumerate([topics.points_topic(), *images])}
    for sample_set in _sets(bag, sensors, {topic: i for i, topic in enumerate(infos)}, cameras):
        yield assembler.assemble(sample_set).frame


def _sets(bag: Bag, sensors: dict[str, int], infos: dict[str, int], cameras: CameraModels
          ) -> Iterator[SampleSet]:
    synchronizer = Synchronizer(SynchronizerSettings(
        camera_offsets_ns=(0,) * (len(sensors) - 1), tolerance_ns=TOLERANCE_NS,
        stale_ns=TOLERANCE_NS, deadline_ns=TOLERANCE_NS, silent_ns=bag.duration_ns + TOLERANCE_NS))
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


def _transforms(bag: Bag) -> Buffer:
    """All transforms of the bag; unlike on the road, those of the future are known too."""
    buffer = Buffer(cache_time=Duration(nanoseconds=bag.duration_ns + 10**10))
    for recorded in bag.messages([topics.TF, topics.TF_STATIC]):
        for transform in deserialize_message(recorded.data, TFMessage).transforms:
            if recorded.topic == topics.TF_STATIC:
                buffer.set_transform_static(transform, "bag")
            else:
                buffer.set_transform(transform, "bag")
    return buffer


def _config(rig: Rig) -> NodeConfig:
    """What the assembly needs to know; the rest has no meaning offline."""
    return NodeConfig(
        autostart=False, weights=None, device="cpu", cameras=rig.camera_names,
        image_transport="raw", mounting=rig.mounting, intensity_max=rig.intensity_max or 255.0,
        intensity_field="intensity", fixed_frame=topics.FIXED_FRAME, tf_timeout_s=0.0,
        sync_queue_size=1, sync_slop_s=0.0)
