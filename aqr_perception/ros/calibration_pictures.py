"""The LiDAR drawn on the images for whoever looks, beside the detector and never in its way."""

from __future__ import annotations

import time
import traceback
from typing import Any

from aqr_perception.ros.outputs import Outputs
from aqr_perception.ros.worker import NewestWorker
from aqr_perception.runtime.calibration_check import CalibrationCheck, CalibrationReport
from aqr_perception.types import Mounting, SensorFrame
from aqr_perception.visualization.lidar_view import draw_lidar_on_images

PERIOD_S = 0.5
"""Shortest time from one picture to the next [s]: a picture costs about 0.1 s of a core."""
FORGET_S = 5.0
"""After so long without a picture [s], what was measured before does not count any more."""
QUIET_S = 5.0
STOP_S = 10.0


class CalibrationPictures:
    """Draws, measures and publishes in a thread of its own, while somebody listens.

    Args:
        outputs: Where pictures go.
        mounting: The rig's.
        log: Of the node.
    """

    def __init__(self, outputs: Outputs, mounting: Mounting, log: Any) -> None:
        self._outputs = outputs
        self._mounting = mounting
        self._log = log
        self._check = CalibrationCheck()
        self._report: CalibrationReport | None = None
        self._offered_s = self._shown_s = -PERIOD_S
        self._worker: NewestWorker[SensorFrame] = NewestWorker(
            self._show, self._failed, "aqr_calibration")

    def offer(self, frame: SensorFrame) -> None:
        """Hand over a frame; returns at once. Only as many are taken as `PERIOD_S` allows."""
        now_s = time.monotonic()
        if self._outputs.calibration_wanted() and now_s - self._offered_s >= PERIOD_S:
            self._offered_s = now_s
            self._worker.submit(frame)

    def report(self) -> CalibrationReport | None:
        """The numbers over the last frames; None while nobody listens, or before the first."""
        return self._report if self._outputs.calibration_wanted() else None

    def close(self) -> None:
        """Finish the picture at work, and end the thread."""
        if not self._worker.stop(STOP_S):
            self._log.error(f"the calibration's picture did not finish within {STOP_S:g} s")

    def _show(self, frame: SensorFrame) -> None:
        begun_s = time.monotonic()
        if begun_s - self._shown_s > FORGET_S:
            self._check = CalibrationCheck()
        alignments = self._check.add(frame)
        picture = draw_lidar_on_images(
            frame, self._mounting, {name: found.words for name, found in alignments.items()})
        self._shown_s = time.monotonic()
        self._report = CalibrationReport(alignments, (self._shown_s - begun_s) * 1e3)
        self._outputs.publish_calibration(picture, frame.stamp_ns, frame.frame_id)

    def _failed(self, error: Exception) -> None:
        self._log.error("the calibration could not be drawn: "
                        + "".join(traceback.format_exception(error)).rstrip(),
                        throttle_duration_sec=QUIET_S)
