"""Malformed messages through the node's own inputs and assembly, in process: what each one costs.

Every set holds a malformed message. The messages are handed to the callbacks of the inputs'
subscriptions; each frame that comes of them must have all the other sensors in it. Nothing goes
over DDS, and deadlines do not run: where a set lacks a message, a good one follows and settles it.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import rclpy
from rclpy.node import Node
from tf2_ros import Buffer

from aqr_perception.recordings.rig import Rig
from aqr_perception.ros import malformed_messages as malformed
from aqr_perception.ros.calibration import CameraModels, RigTransforms
from aqr_perception.ros.detection import Pipeline
from aqr_perception.ros.frames import AssembledFrame, FrameAssembler
from aqr_perception.ros.graph_facts import input_topics
from aqr_perception.ros.inputs import Inputs
from aqr_perception.ros.messages import ns_to_stamp
from aqr_perception.ros.parameters import NodeConfig
from aqr_perception.ros.rehearsal import rehearsal_frame
from aqr_perception.ros.sensor_stream import (
    camera_info_message,
    cloud_message,
    image_message,
    static_transforms,
)
from aqr_perception.ros.synchronization import LIDAR_ANCHORED, SyncConfig
from aqr_perception.runtime.malformed_report import MalformedReport, pattern_of
from aqr_perception.runtime.memory import own_mib
from aqr_perception.runtime.sample_set import LIDAR, SampleSet
from aqr_perception.types import Controls, Detections

INTENSITY_MAX = 255.0
SHRINK = 10
"""Pictures of 160×90, and as much less of a sweep: it is not good ones that are looked at."""
STEP_NS, START_NS = 100_000_000, 1_700_000_000_000_000_000
WARM_UP, LEAST_WARM_UP = 0.1, 100
"""Part of the sets, and least number, before memory is first read."""
SETTLE_SETS = 40
"""More than the messages of a sensor that are kept for later sets."""
NETWORK_RUNS = 20
"""So many of the frames with a malformed message go through the network too."""
ALL_BOXES = Controls(score_threshold=0.0)

Make = Callable[[np.random.Generator, Any], Any]
OF_IMAGES: tuple[Make, ...] = (
    *(malformed.bad_image,) * 6, *(malformed.bad_compressed,) * 6, malformed.without_stamp,
    malformed.without_content, malformed.huge)
OF_CLOUDS: tuple[Make, ...] = (
    *(malformed.bad_cloud,) * 8, *(malformed.nan_cloud,) * 4, malformed.without_stamp,
    malformed.without_content, malformed.huge)
OF_INFOS: tuple[Make, ...] = (*(malformed.bad_info,) * 9, malformed.without_content)
CLOUDS, INFOS = 0.35, 0.2
"""Part of the malformed messages that are clouds and camera_infos; the rest are images."""


def run_malformed(count: int, rig: Rig, pipeline: Pipeline, seed: int = 0) -> MalformedReport:
    """Send malformed messages, one a set.

    Args:
        count: How many.
        rig: The sensors.
        pipeline: Runs a good set before and after, and some of the others.
        seed: Of what is spoiled.
    """
    report = MalformedReport(sent=count)
    with _bench(rig) as bench:
        stamps = itertools.count(START_NS, STEP_NS)
        before = _good_detections(bench, pipeline, stamps)
        rng = np.random.default_rng(seed)
        warm_up = min(max(round(WARM_UP * count), LEAST_WARM_UP), count // 2)
        waiting: dict[int, int] = {}
        for number in range(count):
            if number == warm_up:
                report.before_mib = _settled_mib(bench, stamps)
            stamp_ns = next(stamps)
            sensor, make = bench.send_spoiled(stamp_ns, rng)
            if make is malformed.without_stamp:  # the next set settles this one
                bench.send_good(next(stamps))
            if sensor != LIDAR or make is not malformed.without_stamp:
                waiting[stamp_ns] = sensor
            _judge(bench, waiting, report)
            if number % max(count // NETWORK_RUNS, 1) == 0 and bench.last is not None:
                pipeline(bench.last.frame, ALL_BOXES)
        after = _good_detections(bench, pipeline, stamps)
        report.after_mib = _settled_mib(bench, stamps)
        _judge(bench, waiting, report)
        report.lost = len(waiting)
        report.same = _equal(before, after)
    return report


class _Bench:
    """A node's inputs and assembly, fed by hand.

    Attributes:
        frames: What came of the sets since this was last emptied.
        reasons: Why messages were refused at the inputs, likewise.
        last: The newest frame.
    """

    def __init__(self, node: Node, rig: Rig) -> None:
        frame = rehearsal_frame(rig.camera_names, rig.mounting, SHRINK)
        cameras = [image for image in frame.images if image is not None]
        sync = SyncConfig(LIDAR_ANCHORED, 0.06, 0.06, 0.08, 0.35, (0.0,) * len(cameras), 10, 0.08)
        config = NodeConfig(
            autostart=False, weights=None, device="cpu", cameras=rig.camera_names,
            image_transport="raw", mounting=rig.mounting, intensity_max=INTENSITY_MAX,
            intensity_field="intensity", fixed_frame="", tf_timeout_s=0.0, lidar_frame_id="",
            sync=sync)
        buffer = Buffer()
        for transform in static_transforms(frame.frame_id, cameras).transforms:
            buffer.set_transform_static(transform, "check")
        models = CameraModels(rig.camera_names)
        self._assembler = FrameAssembler(config, models, RigTransforms(
            buffer, "", 0.0, threading.Event()))
        topics = input_topics(node, config, {})
        self._inputs = Inputs(node, config, models, topics, self._take, self._refuse)
        callbacks: dict[str, Any] = {
            subscription.topic_name: subscription.callback
            for subscription in node.subscriptions}
        self._to_data = [callbacks[topic] for topic in topics.data]
        self._to_infos = [callbacks[topic] for topic in topics.infos]
        self._data = [cloud_message(frame, INTENSITY_MAX), *map(image_message, cameras)]
        self._infos = [camera_info_message(camera) for camera in cameras]
        self.frames: list[AssembledFrame] = []
        self.reasons: list[str] = []
        self.last: AssembledFrame | None = None

    def close(self) -> None:
        self._inputs.close()
        self._assembler.close()

    def send_good(self, stamp_ns: int) -> None:
        """Hand a whole set over."""
        self._send(self._good(stamp_ns), self._infos)

    def send_spoiled(self, stamp_ns: int, rng: np.random.Generator) -> tuple[int, Make]:
        """Hand over a set with a malformed message; gives its sensor, and what spoiled it."""
        data, infos = self._good(stamp_ns), list(self._infos)
        kind = rng.random()
        sensor = LIDAR if kind < CLOUDS else int(rng.integers(1, len(data)))
        if CLOUDS <= kind < CLOUDS + INFOS:
            make = OF_INFOS[int(rng.integers(len(OF_INFOS)))]
            infos[sensor - 1] = make(rng, infos[sensor - 1])
        else:
            choice = OF_CLOUDS if sensor == LIDAR else OF_IMAGES
            make = choice[int(rng.integers(len(choice)))]
            data[sensor] = make(rng, data[sensor])
        self._send(data, infos)
        return sensor, make

    def _good(self, stamp_ns: int) -> list[Any]:
        made = [malformed.again(message) for message in self._data]
        for message in made:
            message.header.stamp = ns_to_stamp(stamp_ns)
        return made

    def _send(self, data: Sequence[Any], infos: Sequence[Any]) -> None:
        """Calibration, the pictures, then the cloud, as a vehicle sends them."""
        for callback, message in zip(self._to_infos, infos):
            callback(message)
        for callback, message in reversed(list(zip(self._to_data, data))):
            callback(message)

    def _take(self, samples: SampleSet) -> None:
        try:
            self.last = self._assembler.assemble(samples)
        except ValueError as error:  # it counts as lost
            self.reasons.append(str(error))
        else:
            self.frames.append(self.last)

    def _refuse(self, reason: str) -> None:
        self.reasons.append(reason)


@contextmanager
def _bench(rig: Rig) -> Iterator[_Bench]:
    context = rclpy.Context()
    rclpy.init(args=[], context=context)
    node = Node("aqr_malformed", context=context, use_global_arguments=False)
    try:
        bench = _Bench(node, rig)
        try:
            yield bench
        finally:
            bench.close()
    finally:
        node.destroy_node()
        context.try_shutdown()


def _judge(bench: _Bench, waiting: dict[int, int], report: MalformedReport) -> None:
    """Compare what came with what was spoiled."""
    for reason in bench.reasons:
        report.refused += 1
        report.reasons[pattern_of(reason)] += 1
    for frame in bench.frames:
        spoiled = waiting.pop(frame.frame.stamp_ns, None)
        for sensor, (use, present) in enumerate(zip(frame.sensors, frame.frame.present)):
            if sensor != spoiled:
                report.others += not present
            elif use.problem:
                report.refused += 1
                report.reasons[pattern_of(use.problem)] += 1
    bench.reasons.clear()
    bench.frames.clear()


def _settled_mib(bench: _Bench, stamps: Iterator[int]) -> float:
    """Memory [MiB] after as many good sets as it takes for no malformed message to be kept."""
    for _ in range(SETTLE_SETS):
        bench.send_good(next(stamps))
    return own_mib()


def _good_detections(bench: _Bench, pipeline: Pipeline, stamps: Iterator[int]) -> Detections:
    """What comes of a good set, with another one before it that settles what waits."""
    for stamp_ns in (next(stamps), next(stamps)):
        bench.send_good(stamp_ns)
    assert bench.last is not None
    found: Detections = pipeline(bench.last.frame, ALL_BOXES).detections
    return found


def _equal(one: Detections, other: Detections) -> bool:
    return len(one) > 0 and all(np.array_equal(first, second) for first, second in (
        (one.scores, other.scores), (one.labels, other.labels),
        (one.boxes.center, other.boxes.center), (one.boxes.size, other.boxes.size)))
