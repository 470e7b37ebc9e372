"""A set of messages → SensorFrame, with what fits of it."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry import rigid
from aqr_perception.ros.calibration import CameraModels, FrameTransforms, RigTransforms
from aqr_perception.ros.conversions import (
    cloud_from_message,
    cloud_note,
    pixels_from_message,
)
from aqr_perception.ros.parameters import NodeConfig
from aqr_perception.ros.pictures import is_bgr8
from aqr_perception.runtime.mode import SensorUse
from aqr_perception.runtime.sample_set import LIDAR, Sample, SampleSet, SampleState
from aqr_perception.runtime.sweeps import JoinedCloud, KeptSweep, joined
from aqr_perception.types import Calibration, CameraImage, LidarCloud, SensorFrame

DECODERS = 6


@dataclass(frozen=True)
class AssembledFrame:
    """A frame, and what became of each sensor.

    Attributes:
        frame: What the detector gets; at least one sensor is in it.
        sensors: (S,) each with its state, age and, where its message did not fit, the reason.
        notes: In words, what had to be taken instead of what was missing.
    """

    frame: SensorFrame
    sensors: tuple[SensorUse, ...]
    notes: tuple[str, ...]


class FrameAssembler:
    """Decodes the messages of a set and joins them with calibration.

    A message that does not fit costs its own sensor's part in this frame; the others go on.

    Args:
        config: The rig.
        cameras: The cameras' models.
        transforms: Where the sensors are.
    """

    def __init__(self, config: NodeConfig, cameras: CameraModels, transforms: RigTransforms
                 ) -> None:
        self._config = config
        self._cameras = cameras
        self._transforms = transforms
        self._lidar_frame = config.lidar_frame_id
        # Decoding JPEGs takes longest of all, and OpenCV lets go of Python's lock meanwhile; what
        # needs no decoding is not worth the way to another thread and back.
        self._decoders = ThreadPoolExecutor(min(DECODERS, os.cpu_count() or 1), "aqr_decode")

    def close(self) -> None:
        """End the threads that decode."""
        self._decoders.shutdown()

    def assemble(self, samples: SampleSet) -> AssembledFrame:
        """Build the frame.

        Its frame is that of the cloud; without one, that of the last cloud, or ``lidar.frame_id``.

        Raises:
            ValueError: Not one sensor can be used, or no frame is known for the detections; says
                why, sensor by sensor.
        """
        problems: dict[int, str] = {}
        notes: list[str] = []
        frame_id = self._frame(samples, problems)
        lidar = self._cloud(samples, problems, notes)
        if not frame_id:
            raise ValueError(self._without_frame(problems))
        transforms = self._transforms.begin(frame_id)
        fixed_from_lidar = transforms.fixed_from_lidar(samples.stamp_ns)
        images = self._images(samples, transforms, problems)
        cloud = self._joined(samples, lidar, transforms, fixed_from_lidar)
        if lidar is not None and cloud is not None:
            lidar = replace(lidar, points=cloud.points)
        notes += transforms.notes
        frame = SensorFrame(samples.stamp_ns, frame_id, lidar, images,
                            self._config.cameras, fixed_from_lidar)
        if not frame.present.any():
            raise ValueError("; ".join(problems[sensor] for sensor in sorted(problems)))
        names = ("LiDAR", *self._config.cameras)
        missed = samples.missed_ns or (None,) * len(names)
        sensors = tuple(
            SensorUse(name, state if present else SampleState.ABSENT, float(age),
                      problems.get(sensor, ""),
                      missed_s=None if late_ns is None else late_ns * 1e-9)
            for sensor, (name, state, present, age, late_ns) in enumerate(
                zip(names, samples.states, frame.present, frame.ages_s, missed)))
        if cloud is not None:
            sensors = (replace(sensors[LIDAR], sweeps=cloud.sweeps, remark=cloud.remark),
                       *sensors[1:])
        return AssembledFrame(frame, sensors, tuple(notes))

    def _frame(self, samples: SampleSet, problems: dict[int, str]) -> str:
        """The frame of a set: its cloud's, else that of the last cloud; empty where none is known.

        A cloud in a frame that tf joins to none of the cameras, though it joins the last one to
        them, would cost all of them: it is left out itself.
        """
        sample, known = samples.samples[LIDAR], self._lidar_frame
        if sample is None:
            return known
        found = self._frame_of(sample.payload)
        if not found:
            problems[LIDAR] = ("LiDAR: the point cloud's header.frame_id is empty; expected the "
                               "LiDAR's tf frame")
        if found in ("", known):
            return known
        cameras = {image.payload.header.frame_id for image in samples.samples[1 + LIDAR:]
                   if image is not None} - {""}
        joined = self._transforms.joins(found, cameras)
        if known and not joined and self._transforms.joins(known, cameras):
            problems[LIDAR] = (f"LiDAR: the point cloud's header.frame_id is '{found}', which tf "
                               f"joins to no camera; expected a frame such as '{known}'")
            return known
        if joined or not known:
            self._lidar_frame = found
        return found

    def _cloud(self, samples: SampleSet, problems: dict[int, str], notes: list[str]
               ) -> LidarCloud | None:
        sample = samples.samples[LIDAR]
        if sample is None or LIDAR in problems:
            return None
        message = sample.payload
        try:
            points = self._points_of(message)
            if not len(points):
                raise ValueError("the point cloud holds no point")
        except ValueError as error:
            problems[LIDAR] = f"LiDAR: {error}"
            return None
        notes += filter(None, [cloud_note(message, self._config.intensity_field)])
        return LidarCloud(sample.stamp_ns, points)

    def _frame_of(self, message: Any) -> str:
        return message.header.frame_id or self._config.lidar_frame_id

    def _points_of(self, message: Any) -> NDArray[np.float32]:
        return cloud_from_message(message, self._config.intensity_max,
                                  self._config.intensity_field)

    def _joined(self, samples: SampleSet, lidar: LidarCloud | None, transforms: FrameTransforms,
                fixed_from_lidar: rigid.Matrix | None) -> JoinedCloud | None:
        """The cloud with the sweeps before it; what is found out of each is kept for later sets."""
        if lidar is None:
            return None
        own, *earlier = samples.sweeps or (KeptSweep(lidar.stamp_ns),)
        own.points, own.fixed_from_lidar = lidar.points, fixed_from_lidar
        if fixed_from_lidar is not None:
            own.message = None
        return joined(own, earlier, lambda sweep: self._complete(sweep, transforms))

    def _complete(self, sweep: KeptSweep, transforms: FrameTransforms) -> None:
        """Find out what is not known yet of an earlier sweep: its set may have been passed over.

        One that does not fit stays without points; where it has a set of its own, that one says so.
        """
        if sweep.message is None:
            return
        if sweep.fixed_from_lidar is None:
            sweep.fixed_from_lidar = transforms.earlier_pose(
                self._frame_of(sweep.message), sweep.stamp_ns)
        if sweep.fixed_from_lidar is None:
            return  # it may be known for the next set
        if sweep.points is None:
            with contextlib.suppress(ValueError):
                sweep.points = self._points_of(sweep.message)
        sweep.message = None

    def _images(self, samples: SampleSet, transforms: FrameTransforms, problems: dict[int, str]
                ) -> tuple[CameraImage | None, ...]:
        decoding: dict[int, Callable[[], CameraImage]] = {}
        for sensor, sample in enumerate(samples.samples):
            if sensor == LIDAR or sample is None:
                continue
            index = sensor - 1
            try:
                calibration = self._calibration(index, sample, transforms, samples.stamp_ns)
            except ValueError as error:
                problems[sensor] = str(error)
                continue
            read = functools.partial(
                _camera_image, self._config.cameras[index], sample, calibration)
            decoding[sensor] = (read if is_bgr8(sample.payload)
                                else self._decoders.submit(read).result)
        images: list[CameraImage | None] = [None] * len(self._config.cameras)
        for sensor, result in decoding.items():
            try:
                images[sensor - 1] = result()
            except ValueError as error:
                problems[sensor] = str(error)
        return tuple(images)

    def _calibration(self, index: int, sample: Sample, transforms: FrameTransforms, lidar_ns: int
                     ) -> Calibration:
        name, frame_id = self._config.cameras[index], sample.payload.header.frame_id
        if not frame_id:
            raise ValueError(f"{name}: the image's header.frame_id is empty; expected the camera's "
                             "optical tf frame")
        camera = self._cameras.camera(index)
        try:
            return Calibration(camera, transforms.camera_from_lidar(
                frame_id, sample.stamp_ns, lidar_ns), frame_id)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None

    @staticmethod
    def _without_frame(problems: dict[int, str]) -> str:
        reason = problems.get(LIDAR, "no point cloud has come yet")
        return (f"{reason}; so the LiDAR's tf frame, in which detections are given, is not known: "
                "set lidar.frame_id to have them from the cameras alone")


def _camera_image(name: str, sample: Sample, calibration: Calibration) -> CameraImage:
    try:
        pixels = pixels_from_message(sample.payload)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return CameraImage(name, sample.stamp_ns, pixels, calibration)
