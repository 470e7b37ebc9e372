"""Recorded messages as sensors with faults would have sent them. Needs no rclpy.

An absent sensor's messages are left out, a camera's calibration too. Other faults take the frame
that a message is of, spoil it, and send what has become of the picture or the cloud under the same
stamp; a spoiled cloud has the fields x, y, z, intensity, and dt where the recording has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from aqr_perception.recordings.frame_directory import (
    DEFAULT_INTENSITY_MAX,
    read_frame,
    read_record,
)
from aqr_perception.recordings.rig import Rig
from aqr_perception.ros import topics
from aqr_perception.ros.frame_messages import (
    FrameMessages,
    compressed_image,
    image_of,
    point_cloud_of,
    serialised,
)
from aqr_perception.ros.recorded import SerializedMessage
from aqr_perception.runtime.fault_runs import HISTORY_S
from aqr_perception.runtime.fault_schedule import ABSENT, LIDAR, ScheduledFault, parse, spoil
from aqr_perception.types import SensorFrame

FRAMES_HELD = 32
"""That many frames are kept where a fault looks back; those of 2.5 s at 10 Hz fit."""


def with_faults(messages: Iterable[SerializedMessage], faults: Sequence[ScheduledFault],
                frames: SpoiledFrames | None = None) -> Iterator[SerializedMessage]:
    """Pass messages on, those of broken sensors spoiled or not at all.

    Args:
        messages: In order of their stamps; time counts from the first.
        faults: Applied in this order where several hold.
        frames: What the messages are of; None where all faults are absences.
    """
    first_ns = None
    for message in messages:
        first_ns = message.stamp_ns if first_ns is None else first_ns
        seconds = (message.stamp_ns - first_ns) * 1e-9
        sensor = _sensor_of(message.topic)
        active = tuple(fault for fault in faults
                       if sensor and fault.at(seconds) and fault.is_of(sensor))
        if any(fault.fault == ABSENT for fault in active):
            continue
        if not active or message.topic.endswith("/camera_info"):
            yield message
        elif frames is not None:
            spoiled = frames.message(message, sensor, active)
            if spoiled is not None:
                yield spoiled


def absences(texts: Sequence[str], types: Mapping[str, str]) -> list[ScheduledFault]:
    """Read the faults of a bag, whose messages can be left out and not changed.

    Args:
        texts: As `fault_schedule.parse` reads them.
        types: Message type by topic; names the cameras.

    Raises:
        ValueError: One cannot be read, or is another fault.
    """
    cameras = sorted({sensor for sensor in map(_sensor_of, types) if sensor not in ("", LIDAR)})
    faults = [parse(text, cameras) for text in texts]
    for text, fault in zip(texts, faults):
        if fault.fault != ABSENT:
            raise ValueError(f"fault '{text}' is '{fault.fault}'; a bag's messages go out as they "
                             f"are: expected {ABSENT}, or play frame directories")
    return faults


class SpoiledFrames:
    """Frame directories, and what faults make of them.

    Args:
        source: What the messages come from.
    """

    def __init__(self, source: FrameMessages) -> None:
        self._records = [read_record(folder).select(source.cameras) for folder in source.folders]
        self._rig = Rig(source.cameras)
        self._numbers: dict[tuple[str, int], int] = {}
        for number, record in enumerate(self._records):
            self._numbers[LIDAR, record.lidar.stamp_ns] = number
            self._numbers |= {(camera.name, camera.stamp_ns): number for camera in record.cameras}
        self._read = lru_cache(FRAMES_HELD)(self._read_frame)
        self._spoil = lru_cache(4)(self._spoil_frame)

    def message(self, message: SerializedMessage, sensor: str, faults: tuple[ScheduledFault, ...]
                ) -> SerializedMessage | None:
        """What comes of a picture or a cloud; None where the faults leave nothing to send."""
        number = self._numbers[sensor, message.stamp_ns]
        frame = self._spoil(number, faults)
        content = (self._cloud(frame, number) if sensor == LIDAR
                   else self._picture(frame, sensor, number, message))
        return None if content is None else serialised(message.topic, message.stamp_ns, content)

    def _read_frame(self, number: int) -> SensorFrame:
        return read_frame(self._records[number].folder, self._rig)

    def _spoil_frame(self, number: int, faults: tuple[ScheduledFault, ...]) -> SensorFrame:
        frame = self._read(number)
        past = self._before(number) if any(fault.needs_history for fault in faults) else []
        for fault in faults:
            frame = spoil(fault, [*past, frame], number)
        return frame

    def _before(self, number: int) -> list[SensorFrame]:
        stamp = self._records[number].lidar.stamp_ns
        return [self._read(k) for k in range(number)
                if stamp - self._records[k].lidar.stamp_ns <= HISTORY_S * 1e9]

    def _cloud(self, frame: SensorFrame, number: int) -> Any:
        if frame.lidar is None:
            return None
        record = self._records[number].lidar
        rows = frame.lidar.points.copy()
        rows[:, 3] *= record.intensity_max or DEFAULT_INTENSITY_MAX
        names = ("x", "y", "z", "intensity", "dt")[:5 if "dt" in record.fields else 4]
        return point_cloud_of(rows[:, :len(names)], names, record.stamp_ns)

    def _picture(self, frame: SensorFrame, name: str, number: int, message: SerializedMessage
                 ) -> Any:
        index = self._rig.camera_names.index(name)
        image = frame.images[index]
        if image is None:
            return None
        if message.message_type != "sensor_msgs/msg/CompressedImage":
            return image_of(image.pixels, name, message.stamp_ns)
        done, data = cv2.imencode(".jpg", image.pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])
        assert done
        return compressed_image(self._records[number].cameras[index], np.asarray(data).tobytes())


def _sensor_of(topic: str) -> str:
    """Name of the camera that a topic is of, `fault_schedule.LIDAR`, or empty."""
    if topic == topics.points_topic():
        return LIDAR
    name = topic[1:].partition("/")[0]
    own = (topics.image_topic(name), topics.compressed_topic(name), topics.camera_info_topic(name))
    return name if topic in own else ""
