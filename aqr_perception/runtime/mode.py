"""Which sensors took part in a frame, as values and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aqr_perception.runtime.sample_set import LIDAR, SampleState


@dataclass(frozen=True)
class SensorUse:
    """What a frame had of one sensor.

    Attributes:
        name: ``LiDAR``, or the camera's name.
        state: Fresh, stale or absent.
        age_s: How much older than the frame's stamp its data is [s]; NaN where absent.
        problem: Why its message was left out; empty where there was none or it was taken.
        sweeps: How many sweeps its cloud was joined of; None of a camera.
        remark: What there is to say of those, in words.
        missed_s: Where messages came, but none at the frame's moment: how much later than that the
            nearest was stamped, below 0 for earlier [s].
    """

    name: str
    state: SampleState
    age_s: float
    problem: str = ""
    sweeps: int | None = None
    remark: str = ""
    missed_s: float | None = None


def describe(sensors: Sequence[SensorUse]) -> str:
    """Say who took part: ``LiDAR + 5 of 6 cameras; CAM_FRONT absent``.

    Args:
        sensors: (S,) the LiDAR first.
    """
    lidar, *cameras = sensors
    count = sum(camera.state is not SampleState.ABSENT for camera in cameras)
    head = f"{count} of {len(cameras)} cameras"
    if lidar.state is not SampleState.ABSENT:
        head = f"{lidar.name} + {head}"
    remarks = [", ".join(use.name for use in sensors if use.state is state) + f" {state.value}"
               for state in (SampleState.STALE, SampleState.ABSENT)
               if any(use.state is state for use in sensors)]
    return "; ".join([head, *remarks])


def without_unused(sensors: tuple[SensorUse, ...], used: Sequence[bool]) -> tuple[SensorUse, ...]:
    """Count those as absent that were delivered, but that the network did not look at.

    Args:
        sensors: (S,) the LiDAR first.
        used: (S,) `runtime.pipeline.FrameResult.used`; empty where it is not known.
    """
    if not used:
        return sensors
    result = []
    for sensor, (use, looked_at) in enumerate(zip(sensors, used)):
        if not looked_at and use.state is not SampleState.ABSENT:
            reason = "its gain is 0, or the network does not know it"
            if sensor == LIDAR:
                reason = f"no point lies in the detection range, or {reason}"
            use = SensorUse(use.name, SampleState.ABSENT, float("nan"), f"{use.name}: {reason}")
        result.append(use)
    return tuple(result)
