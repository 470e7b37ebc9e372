"""Everything that the diagnostics say of the running detector, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aqr_perception.runtime.calibration_check import CalibrationReport
from aqr_perception.runtime.health import FlowReport, RunReport
from aqr_perception.runtime.latency import Percentiles
from aqr_perception.runtime.synchronizer import SynchronizerCounts


@dataclass(frozen=True)
class LoopHealth:
    """Of the detector while it is active.

    Attributes:
        listening_s: Since it subscribed [s].
        flows: (S,) how the messages of each input come.
        incompatible: Topic, and what of its publisher's QoS does not fit, by sensor.
        counts: Of the synchroniser.
        restarts: How often a recording was seen to start again.
        passed_over: Sets that a newer one replaced before their turn.
        run: What became of the frames.
        latency: By stage [ms].
        aqr: What AQR did to the last frame, see `aqr_values`; empty where it is off.
        calibration: How well the sensors' edges line up; None while nobody looks at the picture.
    """

    listening_s: float
    flows: tuple[FlowReport, ...]
    incompatible: Mapping[int, str]
    counts: SynchronizerCounts
    restarts: int
    passed_over: int
    run: RunReport
    latency: Mapping[str, Percentiles]
    aqr: Mapping[str, float] = field(default_factory=dict)
    calibration: CalibrationReport | None = None
