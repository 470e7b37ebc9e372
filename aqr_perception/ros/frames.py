"""A set of messages → SensorFrame."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from aqr_perception.ros.calibration import CameraModels, FrameTransforms, RigTransforms
from aqr_perception.ros.conversions import (
    cloud_from_message,
    cloud_note,
    pixels_from_message,
)
from aqr_perception.ros.parameters import NodeConfig
from aqr_perception.runtime.synchronizer import Sample, SampleSet
from aqr_perception.types import Calibration, CameraImage, LidarCloud, SensorFrame

DECODERS = 6


@dataclass(frozen=True)
class AssembledFrame:
    """A frame, and in words what had to be taken instead of what was missing."""

    frame: SensorFrame
    notes: tuple[str, ...]


class FrameAssembler:
    """Decodes the messages of a set and joins them with calibration.

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
        # Decoding JPEGs takes longest of all, and OpenCV lets go of Python's lock meanwhile.
        self._decoders = ThreadPoolExecutor(min(DECODERS, os.cpu_count() or 1), "aqr_decode")

    def close(self) -> None:
        """End the threads that decode."""
        self._decoders.shutdown()

    def assemble(self, samples: SampleSet) -> AssembledFrame:
        """Build the frame.

        Raises:
            ValueError: A message, a calibration or a transform does not fit; names the sensor.
        """
        lidar, *images = samples.samples
        if lidar is None:
            raise ValueError("the set holds no point cloud")
        message = lidar.payload
        frame_id = message.header.frame_id
        if not frame_id:
            raise ValueError("the point cloud's header.frame_id is empty; expected the LiDAR's tf "
                             "frame")
        note = cloud_note(message, self._config.intensity_field)
        points = cloud_from_message(message, self._config.intensity_max,
                                    self._config.intensity_field)
        transforms = self._transforms.begin(frame_id)
        fixed_from_lidar = transforms.fixed_from_lidar(lidar.stamp_ns)
        calibrations = [image and self._calibration(index, image, transforms, lidar.stamp_ns)
                        for index, image in enumerate(images)]
        frame = SensorFrame(
            stamp_ns=lidar.stamp_ns, frame_id=frame_id,
            lidar=LidarCloud(lidar.stamp_ns, points),
            images=tuple(self._decoders.map(
                _camera_image, self._config.cameras, images, calibrations)),
            camera_names=self._config.cameras, fixed_from_lidar=fixed_from_lidar)
        return AssembledFrame(frame, tuple(filter(None, (note, *transforms.notes))))

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


def _camera_image(name: str, sample: Sample | None, calibration: Calibration | None
                  ) -> CameraImage | None:
    if sample is None or calibration is None:
        return None
    try:
        pixels = pixels_from_message(sample.payload)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return CameraImage(name, sample.stamp_ns, pixels, calibration)
