"""What the detector costs: a frame of the rig it was made for, and AQR beside none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from aqr_perception.geometry import rigid
from aqr_perception.geometry.camera import PinholeCamera
from aqr_perception.model.aqr.config import AqrConfig, RendererConfig
from aqr_perception.model.aqr.output import AqrOutput
from aqr_perception.model.aqr.weight_map import published
from aqr_perception.model.checkpoint import untrained
from aqr_perception.model.config import DetectorConfig
from aqr_perception.model.detector import Detector
from aqr_perception.model.inputs import prepare, to_device
from aqr_perception.types import (
    Batch,
    Calibration,
    CameraImage,
    Controls,
    DetectorOutput,
    LidarCloud,
    Mounting,
    SensorFrame,
)

POINTS = 34_720
CAMERA_YAWS = {"CAM_FRONT": 90, "CAM_FRONT_RIGHT": 35, "CAM_FRONT_LEFT": 145, "CAM_BACK": -90,
               "CAM_BACK_LEFT": -160, "CAM_BACK_RIGHT": -20}
"""Degrees from x to y in the model frame."""


def synthetic_frame(number: int = 0, seed: int = 0, sweeps: int = 1) -> SensorFrame:
    """A frame of six 1600×900 pictures and a cloud of the size and spread of a 32-beam LiDAR.

    Args:
        number: Of the frame in its sequence, at 10 Hz and 5 m/s.
        seed: Of what is seen.
        sweeps: That the cloud is joined of, 0.1 s apart, each of `POINTS` points.
    """
    rng = np.random.default_rng(seed)
    stamp_ns = 1_000_000_000 + number * 100_000_000
    beam = np.deg2rad(np.linspace(-30.0, 10.0, 32))
    count = sweeps * POINTS
    azimuth, elevation = rng.uniform(-np.pi, np.pi, count), rng.choice(beam, count)
    reach = np.minimum(np.where(elevation < 0, 1.84 / -np.sin(np.minimum(elevation, -1e-3)), 70.0),
                       rng.uniform(3.0, 70.0, count))
    points = np.stack([reach * np.cos(elevation) * np.cos(azimuth),
                       reach * np.cos(elevation) * np.sin(azimuth), reach * np.sin(elevation),
                       rng.random(count), np.repeat(np.arange(sweeps) * 0.1, POINTS)],
                      axis=1).astype(np.float32)
    lens = PinholeCamera(1600, 900, np.array([[1260.0, 0, 800.0], [0, 1260.0, 450.0], [0, 0, 1]]))
    coarse = rng.integers(0, 256, (6, 90, 160, 3), dtype=np.uint8)
    images = tuple(
        CameraImage(name, stamp_ns, np.repeat(np.repeat(pixels, 10, axis=0), 10, axis=1),
                    Calibration(lens, _camera_from_lidar(np.deg2rad(yaw)), name))
        for pixels, (name, yaw) in zip(coarse, CAMERA_YAWS.items()))
    return SensorFrame(stamp_ns, "lidar", LidarCloud(stamp_ns, points), images, tuple(CAMERA_YAWS),
                       rigid.from_xyz_yaw(0.0, 0.5 * number, 0.0, 0.0))


def _camera_from_lidar(yaw: float) -> rigid.Matrix:
    forward = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    rotation = np.stack([[np.sin(yaw), -np.cos(yaw), 0.0], [0.0, 0.0, -1.0], forward])
    return rigid.from_rotation_translation(rotation, -rotation @ (1.5 * forward))


def batch_of(config: DetectorConfig, device: torch.device, number: int = 0) -> Batch:
    """The synthetic frame, ready for a network."""
    return to_device(prepare([synthetic_frame(number)], config, Mounting(), Controls()), device)


@dataclass(frozen=True)
class Stopwatch:
    """Wall time of calls, the device's queue drained before and after.

    Attributes:
        device: Where they run.
    """

    device: torch.device

    def __call__(self, call: Callable[[], object]) -> float:
        """Seconds that a call takes."""
        self._wait()
        started = time.perf_counter()
        call()
        self._wait()
        return time.perf_counter() - started

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def interleaved(calls: Sequence[Callable[[], object]], repeats: int, device: torch.device
                ) -> list[list[float]]:
    """Time several calls in turn, so that what slows the machine slows all of them.

    Every other round runs backwards. One round before is not counted.

    Returns:
        For each call its times [s], round by round.
    """
    watch = Stopwatch(device)
    times: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call()
    for number in range(repeats):
        order = range(len(calls)) if number % 2 == 0 else reversed(range(len(calls)))
        for index in order:
            times[index].append(watch(calls[index]))
    return times


def ratio(times: Sequence[float], base: Sequence[float]) -> float:
    """Median over the rounds of one call's time over another's."""
    return float(np.median(np.array(times) / np.array(base)))


def gate_cost(config: DetectorConfig, device: torch.device, repeats: int, training: bool
              ) -> tuple[float, float]:
    """Time `gate` and `off` side by side: the same network, the same frame.

    Forward passes hand the gate its history, as on the vehicle. A training step is forward,
    backward and an AdamW update of a loss that reaches every output; matching and augmentation,
    which cost the same in both, are left out, so that the ratio is, if anything, too high.

    Returns:
        Times of ``off`` and of ``gate`` over it: seconds (median) and ratio.
    """
    calls = []
    for mode in ("off", "gate"):
        detector = untrained(replace(config, aqr=AqrConfig(mode=mode))).to(device)
        calls.append(_training_call(detector, device) if training
                     else _forward_call(detector, device))
    off, gate = interleaved(calls, repeats, device)
    return float(np.median(off)), ratio(gate, off)


def _forward_call(detector: Detector, device: torch.device) -> Callable[[], object]:
    batches = [batch_of(detector.config, device, number) for number in range(2)]
    with torch.inference_mode():
        before = detector(batches[0]).aqr

    @torch.inference_mode()
    def call() -> object:
        history = before.history if isinstance(before, AqrOutput) else None
        return detector(batches[1], history=history)

    return call


def _training_call(detector: Detector, device: torch.device) -> Callable[[], object]:
    batch = batch_of(detector.config, device)
    detector.train()
    optimizer = torch.optim.AdamW(detector.parameters(), lr=1e-6)

    def call() -> object:
        optimizer.zero_grad(set_to_none=True)
        loss = sum((tensor.float().square().mean() for tensor in _outputs(detector(batch))),
                   torch.zeros((), device=device))
        loss.backward()
        optimizer.step()
        return loss

    return call


def _outputs(output: DetectorOutput) -> Iterator[Tensor]:
    """Everything that a loss would look at."""
    yield from (output.logits, output.boxes)
    if output.heat is not None:
        yield from (output.heat.bev, output.heat.image, output.heat.offset)
    if isinstance(output.aqr, AqrOutput) and output.aqr.logits is not None:
        logits = output.aqr.logits
        yield from (part for part in (logits.frame, logits.query, logits.token) if part is not None)
        if output.aqr.contrast is not None:
            yield output.aqr.contrast.similarity


def renderer_speedup(repeats: int, queries: int = 900) -> tuple[float, float, float]:
    """Time our rendering of the published weight maps against one query after the other.

    Both render 900 weights over a bird's-eye view of 128×128 and six images of 20×50 tokens, on the
    CPU, as the published code does: sums of kernels of sum 1, cut at the borders.

    Returns:
        Seconds of ours and of the loop (medians), and the largest difference of the maps.
    """
    generator = torch.Generator().manual_seed(0)
    config = RendererConfig(method="gaussian", gaussian_sigma=2.0, max_weight_clamp=2.5)
    weights = torch.rand(1, queries, 2, generator=generator)
    cells = torch.rand(1, queries, 2, generator=generator).mul(128).long()
    spread = torch.tensor([6, 20, 50])
    places = torch.rand(1, queries, 3, generator=generator).mul(spread).long()

    def ours() -> tuple[Tensor, Tensor]:
        return (published.render_bev(config, weights[..., 0], cells, 128, 128),
                published.render_cameras(config, weights[..., 1], places, 6, 20, 50))

    def loop() -> tuple[Tensor, Tensor]:
        bev = torch.zeros(1, 1, 128, 128)
        _splat_one_by_one(bev[0], weights[0, :, 0], torch.cat(
            [torch.zeros_like(cells[0, :, :1]), cells[0]], dim=1))
        images = torch.zeros(1, 6, 20, 50)
        _splat_one_by_one(images[0], weights[0, :, 1], places[0])
        return tuple(maps.where(maps >= 0.01, 0.0).clamp(0, 2.5)  # type: ignore[return-value]
                     for maps in (bev[:, 0], images))

    difference = max(float((one - two).abs().max()) for one, two in zip(ours(), loop()))
    fast, slow = interleaved([ours, loop], repeats, torch.device("cpu"))
    return float(np.median(fast)), float(np.median(slow)), difference


def _splat_one_by_one(maps: Tensor, weights: Tensor, places: Tensor) -> None:
    """Add a kernel of sum 1 (σ = 2, 13×13) to (M, H, W) maps for each query, at view, row, column.

    One query at a time with numbers read back from tensors, as the published renderer works.
    """
    offset = torch.arange(13) - 6.0
    kernel = torch.exp(-(offset[:, None] ** 2 + offset ** 2) / 8)
    kernel = kernel / kernel.sum()
    height, width = maps.shape[1:]
    for weight, place in zip(weights, places):
        view, row, column = (int(part.item()) for part in place)
        strength = float(weight.item())
        if strength < 0.01:
            continue
        top, bottom = max(0, row - 6), min(height, row + 7)
        left, right = max(0, column - 6), min(width, column + 7)
        part = kernel[top - row + 6:bottom - row + 6, left - column + 6:right - column + 6]
        maps[view, top:bottom, left:right] += strength * part
