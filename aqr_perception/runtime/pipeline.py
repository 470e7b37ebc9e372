"""SensorFrame → Detections: the one object that runs the network, offline and on the vehicle."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from pathlib import Path

import torch

from aqr_perception.model import checkpoint
from aqr_perception.model.aqr.monitor import AqrReport
from aqr_perception.model.aqr.output import AqrOutput
from aqr_perception.model.aqr.strength import check_strength
from aqr_perception.model.aqr.temporal import TemporalMemory
from aqr_perception.model.box_coder import decode
from aqr_perception.model.detector import Detector
from aqr_perception.model.inputs import prepare, to_device
from aqr_perception.types import (
    Batch,
    Controls,
    Detections,
    Mounting,
    SensorFrame,
    WeightMapStrength,
)

CONTROLS_AS_TRAINED = Controls()
LONGEST_STEP_NS = 1_000_000_000
"""A frame that follows the one before by more than this has no history."""


@dataclass(frozen=True)
class StageTimes:
    """Milliseconds that one frame spent in each stage; the device is synchronised between them."""

    preprocess: float
    transfer: float
    inference: float
    postprocess: float

    @property
    def total(self) -> float:
        """Sum of the stages [ms]."""
        return sum(getattr(self, stage.name) for stage in fields(self))


@dataclass(frozen=True)
class FrameResult:
    """What one frame gave.

    Attributes:
        detections: In the frame's LiDAR frame, best first.
        times: Where the time went.
        aqr: What AQR did with this frame; None where it is off.
        note: Empty, or in words why there can be no boxes (no sensor could be used).
        used: (S,) which sensors the network looked at: delivered, for the LiDAR with a point in
            range, gain above 0, and known to the network.
    """

    detections: Detections
    times: StageTimes
    aqr: AqrReport | None = None
    note: str = ""
    used: tuple[bool, ...] = ()


class DetectionPipeline:
    """Owns the network, its device and the preprocessing; takes frames one at a time, in order."""

    def __init__(self, detector: Detector, device: torch.device, mounting: Mounting) -> None:
        self.detector = detector.to(device).eval()
        self.device = device
        self.mounting = mounting
        self._set = _in_router(CONTROLS_AS_TRAINED)
        self.reset()

    @classmethod
    def load(cls, weights: str | Path | None = None, device: str = "auto",
             mounting: Mounting | None = None) -> DetectionPipeline:
        """Build a pipeline from a weights file.

        Args:
            weights: A safetensors file of this package; None takes the weights that ship with it.
            device: ``auto`` (the first GPU, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.
            mounting: How the rig's LiDAR frame lies to the model frame; default nuScenes'.

        Raises:
            ValueError: The device is unknown or absent, or the file is not one of this package.
        """
        chosen = resolve_device(device)
        detector = checkpoint.load(weights, chosen) if weights else checkpoint.load_default(chosen)
        return cls(detector, chosen, mounting or Mounting())

    def warm_up(self, frame: SensorFrame, repetitions: int = 2) -> None:
        """Run a frame of the real shapes, so that the first one on the road is not the slow one."""
        for _ in range(repetitions):
            self(frame)
        self.reset()

    def reset(self) -> None:
        """Forget earlier frames, so that the next one is treated as the first."""
        self._history: TemporalMemory | None = None
        self._last_stamp_ns: int | None = None

    def follow(self, other: DetectionPipeline) -> None:
        """Go on as if the frames that another one of the same network saw had been seen here."""
        self._history, self._last_stamp_ns = other._history, other._last_stamp_ns

    def check(self, controls: Controls) -> None:
        """Tell whether the network can be run so; may be called from any thread.

        Raises:
            ValueError: It lacks what is to be changed; says what applies instead.
        """
        check_strength(self.detector.config.aqr, controls.weight_map)

    def facts(self) -> dict[str, str]:
        """What network this is, where it runs and what it takes there; from any thread."""
        config = self.detector.config.aqr
        facts = {"device": str(self.device), "aqr_mode": config.mode,
                 "target_band": f"{config.target_band[0]:g} to {config.target_band[1]:g}",
                 "trained": str(self.detector.trained),
                 "weights_mib": f"{_weights_mib(self.detector):.1f}"}
        if self.device.type == "cuda":
            facts |= {"device_name": torch.cuda.get_device_name(self.device),
                      "memory_mib": f"{torch.cuda.memory_allocated(self.device) / 2**20:.0f}",
                      "memory_reserved_mib":
                          f"{torch.cuda.memory_reserved(self.device) / 2**20:.0f}"}
        return facts

    @torch.inference_mode()
    def __call__(self, frame: SensorFrame, controls: Controls = CONTROLS_AS_TRAINED) -> FrameResult:
        """Detect objects in one frame.

        Args:
            frame: What the sensors saw; absent ones are None in it.
            controls: Gains, AQR's say and thresholds for this frame.

        Returns:
            Detections with the frame's stamp and frame, and the time that each stage took.

        Raises:
            ValueError: The network cannot be run with these controls, see `check`; or what it says
                is not finite.
        """
        self._use(controls)
        clock = _StageClock(self.device)
        batch = prepare([frame], self.detector.config, self.mounting, controls)
        used = self._used(batch)
        clock.lap("preprocess")
        batch = to_device(batch, self.device)
        clock.lap("transfer")
        output = self.detector(batch, history=self._history_for(frame))
        clock.lap("inference")
        detections = decode(output, [frame], self.mounting, controls,
                            self.detector.config.separation, self.detector.config.post_range)[0]
        clock.lap("postprocess")
        report = self._history = None  # what AQR saw before it was off is too old when it is on
        if isinstance(output.aqr, AqrOutput):
            report, self._history = output.aqr.report, output.aqr.history
        note = "" if any(used) else _why_blind(frame, batch)
        return FrameResult(detections, StageTimes(**clock.laps), report, note, used)

    def _used(self, batch: Batch) -> tuple[bool, ...]:
        """(S,) what the network will look at, of a batch of one that is on the CPU yet."""
        config = self.detector.config
        delivered = [batch.lidar_present & (config.lidar is not None),
                     *(batch.camera_present[0] & (config.image is not None))]
        return tuple(bool(there) and gain > 0
                     for there, gain in zip(delivered, batch.gains[0].tolist()))

    def _use(self, controls: Controls) -> None:
        """Set what is not handed in with each batch, before the frame."""
        used = _in_router(controls)
        if used != self._set:
            self.check(controls)
            self.detector.decoder.router.use(*used)
            self._set = used

    def _history_for(self, frame: SensorFrame) -> TemporalMemory | None:
        """What AQR kept of the frame before, unless time went back (a bag in a loop) or too far."""
        last, self._last_stamp_ns = self._last_stamp_ns, frame.stamp_ns
        if last is None or not 0 < frame.stamp_ns - last <= LONGEST_STEP_NS:
            return None
        return self._history


def _in_router(controls: Controls) -> tuple[WeightMapStrength, bool]:
    """What is set in the network itself."""
    return controls.weight_map, controls.align


def _weights_mib(detector: Detector) -> float:
    return sum(tensor.numel() * tensor.element_size()
               for tensor in (*detector.parameters(), *detector.buffers())) / 2**20


def _why_blind(frame: SensorFrame, batch: Batch) -> str:
    if not frame.present.any():
        return "no sensor delivered anything for this frame"
    if frame.lidar is not None and not batch.lidar_present.any() and not frame.present[1:].any():
        return ("no point of the cloud lies in the detection range, and no camera delivered: look "
                "at the units of its fields, lidar.height and lidar.forward_axis")
    return "each sensor that delivered has gain 0, or the network was not trained with it"


def resolve_device(name: str) -> torch.device:
    """Turn a device's name into a device that is there.

    Raises:
        ValueError: The name is unknown, or no such GPU exists; the message says which do.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ValueError(f"device '{name}' is unknown; expected auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        there = torch.cuda.device_count()
        raise ValueError(f"device '{name}' is not there: torch {torch.__version__} sees "
                         f"{there or 'no'} CUDA device{'' if there == 1 else 's'}; "
                         "use --device auto or cpu")
    return device


class _StageClock:
    """Wall time between laps, with the device's queue drained at each, so that no stage hides."""

    def __init__(self, device: torch.device) -> None:
        self.laps: dict[str, float] = {}
        self._device = device
        self._last = self._now()

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    def lap(self, stage: str) -> None:
        now = self._now()
        self.laps[stage] = (now - self._last) * 1e3
        self._last = now
