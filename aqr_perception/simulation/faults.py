"""Faults of sensors, for simulated and for real frames: by name, in three severities.

``apply(name, severity, frames, rng)`` takes the last of ``frames`` (the others are what came
before, for faults that hold on to the past) and returns a new frame and its labels. Absent sensors
are None in the frame; all other faults are silent: stamps and calibration claim that all is well.

Ten of them are MultiCorrupt's (Beemelmanns et al., 2024), with its severities where it states them
as numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from aqr_perception.simulation import camera_faults, common_faults, lidar_faults
from aqr_perception.simulation.fault_case import AGES, Case, Result
from aqr_perception.simulation.fault_labels import clean_labels
from aqr_perception.types import Annotations, SensorFrame

SEVERITIES = (1, 2, 3)
Spoil = Callable[[Case], Result]


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
        name: What it is called.
        description: In a line, with what the severities mean.
        sensors: ``lidar``, ``camera`` or ``both``.
        flagged: The sensor is known to be absent; all others nobody notices.
        needs_history: It shows old data: without a history the frame stays as it is.
        by_chance: Whether it strikes is drawn, frame by frame; others always do.
        only_calibration: Pictures and points stay as they are; what is claimed about them is wrong.
        multicorrupt: It is one of MultiCorrupt's ten.
        spoil: Does it.
    """

    name: str
    description: str
    sensors: str
    spoil: Spoil
    flagged: bool = False
    needs_history: bool = False
    by_chance: bool = False
    only_calibration: bool = False
    multicorrupt: bool = False


def apply(name: str, severity: int, frames: Sequence[SensorFrame], rng: np.random.Generator,
          annotations: Annotations | None = None) -> Result:
    """Spoil the last of some frames.

    Args:
        name: One of `FAULTS`, or ``none``.
        severity: 1 to 3.
        frames: Consecutive frames of one drive, oldest first; at least one. None is changed.
        rng: Source of every draw: the same state gives the same result.
        annotations: The truth about the last frame; faults of objects use it if it is there.

    Raises:
        ValueError: There is no such fault or severity, or no frame.
    """
    if not frames:
        raise ValueError(f"fault '{name}': there is no frame to apply it to")
    if name == "none":
        return frames[-1], clean_labels(frames[-1])
    if name not in FAULTS:
        raise ValueError(f"fault is '{name}'; expected one of {', '.join(FAULTS)}")
    if severity not in SEVERITIES:
        raise ValueError(f"severity of '{name}' is {severity}; expected 1, 2 or 3")
    frame, labels = FAULTS[name].spoil(Case(frames[-1], frames[:-1], severity, rng, annotations))
    return frame, replace(labels, fault=name, severity=severity)


FAULTS: dict[str, Fault] = {fault.name: fault for fault in (
    Fault("lidar_absent", "no LiDAR", "lidar", lidar_faults.absent, flagged=True),
    Fault("camera_absent", "1, 3 or 5 of six cameras absent", "camera",
          lambda case: camera_faults.absent(case, case.cameras_of_level()), flagged=True),
    Fault("all_cameras_absent", "no camera", "camera",
          lambda case: camera_faults.absent(case, case.all_cameras()), flagged=True),
    Fault("camera_black", "1, 3 or 5 pictures black", "camera",
          lambda case: camera_faults.uniform(case, case.cameras_of_level(), 0)),
    Fault("all_cameras_black", "all pictures black", "camera",
          lambda case: camera_faults.uniform(case, case.all_cameras(), 0)),
    Fault("camera_white", "1, 3 or 5 pictures white", "camera",
          lambda case: camera_faults.uniform(case, case.cameras_of_level(), 255)),
    Fault("camera_frozen", "1, 3 or 5 pictures of 0.5, 1 or 2 s ago", "camera",
          lambda case: camera_faults.frozen(case, case.cameras_of_level(), case.level(AGES)),
          needs_history=True),
    Fault("all_cameras_stale", "all pictures of 0.5, 1 or 2 s ago", "camera",
          lambda case: camera_faults.frozen(case, case.all_cameras(), case.level(AGES)),
          needs_history=True),
    Fault("camera_dirty", "15, 35 or 60 % of three lenses covered", "camera", camera_faults.dirty),
    Fault("camera_blurred", "three pictures out of focus, σ 6, 14 or 30 px of 1600", "camera",
          camera_faults.blurred),
    Fault("camera_noisy", "noise of σ 20, 45 or 90 grey levels on three pictures", "camera",
          camera_faults.noisy),
    Fault("camera_decalibrated", "three cameras turned by 2.5, 6 or 12°", "camera",
          camera_faults.decalibrated, only_calibration=True),
    Fault("camera_swapped", "2, 4 or 6 pictures under each other's names", "camera",
          camera_faults.swapped),
    Fault("all_cameras_rotated", "all cameras about the vertical by 5, 15 or 40°", "camera",
          camera_faults.rotated, only_calibration=True),
    Fault("all_cameras_late", "clocks of all cameras off by 0.1, 0.2 or 0.4 s", "camera",
          camera_faults.late, needs_history=True, only_calibration=True),
    Fault("lidar_narrow", "60, 180 or 270° of the view gone", "lidar", lidar_faults.narrow),
    Fault("lidar_objects_missing", "no points on 30, 60 or 100 % of the objects", "lidar",
          lidar_faults.objects_missing),
    Fault("lidar_ghosts", "5, 12 or 25 objects that are not there", "lidar", lidar_faults.ghosts),
    Fault("lidar_fog", "extinction of 0.02, 0.03 or 0.06 a metre", "lidar", lidar_faults.air),
    Fault("lidar_stale", "the sweep of 0.5, 1 or 2 s ago", "lidar", lidar_faults.stale,
          needs_history=True),
    Fault("lidar_rotated", "the cloud about the vertical by 5, 15 or 40°", "lidar",
          lidar_faults.rotated),
    Fault("lidar_jittered", "every point off by σ 0.1, 0.25 or 0.5 m", "lidar",
          lidar_faults.jittered),
    Fault("lidar_empty", "points up to 15 m, 7 m or none", "lidar", lidar_faults.empty),
    Fault("lidar_late", "clock of the LiDAR off by 0.1, 0.2 or 0.4 s", "lidar", lidar_faults.late,
          needs_history=True),
    Fault("beams_reducing", "16, 8 or 4 of 32 beams", "lidar", lidar_faults.fewer_beams,
          multicorrupt=True),
    Fault("points_reducing", "20, 40 or 60 % of the points gone", "lidar",
          lidar_faults.fewer_points, multicorrupt=True),
    Fault("missing_camera", "each picture black with chance 0.2, 0.4 or 0.6", "camera",
          camera_faults.missing, by_chance=True, multicorrupt=True),
    Fault("brightness", "pictures brighter by 0.1, 0.3 or 0.5 of full scale", "camera",
          camera_faults.brighter, multicorrupt=True),
    Fault("dark", "pictures at 60, 40 or 30 % of the light, with noise", "camera",
          camera_faults.dark, multicorrupt=True),
    Fault("motion_blur", "pictures smeared, points off by σ 0.06, 0.1 or 0.13 m", "both",
          common_faults.motion_blur, multicorrupt=True),
    Fault("fog", "fog of 0.02, 0.03 or 0.06 a metre for all sensors", "both", common_faults.fog,
          multicorrupt=True),
    Fault("snow", "light to heavy snowfall for all sensors", "both", common_faults.snow,
          multicorrupt=True),
    Fault("spatial_misalignment", "with chance 0.2, 0.4, 0.6 the cloud turned 1, 2, 3° and moved "
          "2 m", "lidar", lidar_faults.misaligned, by_chance=True, multicorrupt=True),
    Fault("temporal_misalignment", "each sensor half a second late with chance 0.2, 0.4 or 0.6",
          "both", common_faults.late_by_chance, needs_history=True, by_chance=True,
          multicorrupt=True),
)}
"""All faults by name."""

MULTICORRUPT = tuple(name for name, fault in FAULTS.items() if fault.multicorrupt)
"""MultiCorrupt's ten."""

MATCHED_PAIRS = (("lidar_stale", "all_cameras_stale"), ("lidar_rotated", "all_cameras_rotated"),
                 ("lidar_late", "all_cameras_late"))
"""Faults that look alike in one frame and differ only in who lies; the same state of the random
generator gives the same age or angle to both."""
