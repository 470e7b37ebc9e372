"""Detections → another tf frame, at their own stamp."""

from __future__ import annotations

import time
from dataclasses import replace

from tf2_ros import TransformException

from aqr_perception.ros.calibration import RigTransforms
from aqr_perception.types import Detections

UPRIGHT = 0.9
"""Smallest cosine between the z axes of the two frames; boxes stand upright in both."""


class OutputFrame:
    """The frame that results are given in.

    Args:
        name: Of the tf frame; empty leaves detections in the LiDAR's.
        transforms: Looks it up.
        timeout_s: How long tf may take to know the transform at a frame's stamp [s].
    """

    def __init__(self, name: str, transforms: RigTransforms, timeout_s: float) -> None:
        self._name = name
        self._transforms = transforms
        self._timeout_s = timeout_s

    def express(self, detections: Detections) -> Detections:
        """Detections in this frame: centres, yaws and velocities moved, header's frame replaced.

        Velocities stay those over ground, in the axes of the new frame.

        Raises:
            ValueError: tf does not join the two frames at the stamp in time, or z does not point
                up in both.
        """
        source = detections.frame_id
        if self._name in ("", source):
            return detections
        stamp_ns = detections.stamp_ns
        try:
            output_from_lidar = self._transforms.look_up(
                time.monotonic() + self._timeout_s, self._name, stamp_ns, source, stamp_ns, "")
        except TransformException as error:
            raise ValueError(f"output_frame: tf does not know '{self._name}' from '{source}' at "
                             f"the frame's stamp within {self._timeout_s:g} s: {error}") from None
        if output_from_lidar[2, 2] < UPRIGHT:
            raise ValueError(f"output_frame: z of '{self._name}' does not point up as that of "
                             f"'{source}' does; expected a frame such as base_link, odom or map")
        return replace(detections, frame_id=self._name,
                       boxes=detections.boxes.transformed(output_from_lidar))
