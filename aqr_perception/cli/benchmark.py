"""Measure speed, memory and the cost of AQR, beside the floor that the device sets.

A frame is six 1600×900 pictures and four joined sweeps of 34,720 points, made up; its time is from
SensorFrame to Detections. Ratios are measured interleaved in one run. The floor of a stage is the
larger of its arithmetic at the speed of a large matrix product and its compulsory bytes at the
speed of a copy, both measured here.

    benchmark --parts half --device cuda     which boxes stay in half precision, on a GPU
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aqr_perception.cli.outputs import check_writable

if TYPE_CHECKING:
    import torch

PARTS = ("frame", "floor", "gate", "renderer", "memory", "half")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--preset", choices=("tiny", "cmt_r50", "cmt_vov99"), default="tiny",
                        help="network of the frame and floor parts (default: tiny, with the "
                             "weights that ship)")
    parser.add_argument("--weights", type=Path, help="weights file instead of a preset")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, metavar="PART",
                        help=f"what to measure (default: all of {', '.join(PARTS)}); gate and half "
                             "are of cmt_r50, half of tiny too, memory of cmt_vov99")
    parser.add_argument("--repeats", type=int, default=5, help="rounds (default: 5)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's own)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")


def run(arguments: argparse.Namespace) -> int:
    """Measure what was asked for, print it, and write it."""
    import torch

    from aqr_perception.runtime.pipeline import resolve_device

    if arguments.repeats < 1:
        raise ValueError(f"--repeats is {arguments.repeats}; expected 1 or more")
    check_writable(arguments.json)
    if arguments.threads is not None:
        if arguments.threads < 1:
            raise ValueError(f"--threads is {arguments.threads}; expected 1 or more")
        torch.set_num_threads(arguments.threads)
    device = resolve_device(arguments.device)
    name = (torch.cuda.get_device_name(device) if device.type == "cuda"
            else f"CPU, {torch.get_num_threads()} threads")
    print(f"{name}; torch {torch.__version__}")
    measure: dict[str, Callable[[argparse.Namespace, torch.device], dict[str, Any]]] = {
        "frame": _frame, "floor": _floor, "gate": _gate, "renderer": _renderer, "memory": _memory,
        "half": _half}
    numbers: dict[str, Any] = {"device": name, "torch": torch.__version__,
                               "repeats": arguments.repeats}
    for part in arguments.parts:
        numbers |= measure[part](arguments, device)
    if arguments.json:
        arguments.json.write_text(json.dumps(numbers, indent=1) + "\n")
    return 0


def _frame(arguments: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    import numpy as np

    from aqr_perception.runtime.benchmark import synthetic_frame
    from aqr_perception.runtime.pipeline import DetectionPipeline
    from aqr_perception.simulation.splits import SWEEPS
    from aqr_perception.types import Mounting

    detector = _detector(arguments, device)
    pipeline = DetectionPipeline(detector, device, Mounting())
    frames = [synthetic_frame(number, sweeps=SWEEPS) for number in range(arguments.repeats * 4)]
    pipeline.warm_up(frames[0])
    times = [pipeline(frame).times for frame in frames]
    totals = [one.total for one in times]
    numbers: dict[str, Any] = {"preset": detector.config.name, "trained": detector.trained}
    numbers |= {f"frame_ms_p{share}": float(np.percentile(totals, share)) for share in (50, 90, 99)}
    numbers["frame_stages_ms_p50"] = {
        stage: float(np.median([getattr(one, stage) for one in times])) for stage in vars(times[0])}
    print(f"\nframe, {detector.config.name}, {len(frames)} of them: "
          + ", ".join(f"p{share} {numbers[f'frame_ms_p{share}']:.1f} ms" for share in (50, 90, 99)))
    for stage, milliseconds in numbers["frame_stages_ms_p50"].items():
        print(f"  {stage:14}{milliseconds:9.2f} ms")
    return numbers


def _floor(arguments: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    from aqr_perception.runtime.benchmark import batch_of
    from aqr_perception.runtime.floor import measure_device, stages

    detector = _detector(arguments, device)
    best = measure_device(device)
    found = stages(detector, batch_of(detector.config, device), device, arguments.repeats)
    print(f"\nfloor, {detector.config.name}: device reaches {best.flops / 1e9:.0f} GFLOP/s and "
          f"{best.bytes / 1e9:.1f} GB/s")
    print(f"  {'stage':26}{'GFLOP':>9}{'MB':>9}{'floor ms':>10}{'ms':>9}{'floor/ms':>10}")
    rows = []
    for stage in found:
        floor = stage.floor(best)
        rows.append({"stage": stage.name, "flops": stage.flops, "bytes": stage.bytes,
                     "floor_ms": floor * 1e3, "ms": stage.seconds * 1e3})
        print(f"  {stage.name:26}{stage.flops / 1e9:9.2f}{stage.bytes / 1e6:9.1f}"
              f"{floor * 1e3:10.2f}{stage.seconds * 1e3:9.2f}{floor / stage.seconds:10.2f}")
    return {"device_flops": best.flops, "device_bytes_per_s": best.bytes, "stages": rows}


def _gate(arguments: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    from aqr_perception.model.config import cmt_r50
    from aqr_perception.runtime.benchmark import gate_cost

    numbers: dict[str, Any] = {}
    print("\ngate over off, cmt_r50, interleaved:")
    for name, training, wanted in (("forward", False, 5), ("training", True, 10)):
        seconds, over = gate_cost(cmt_r50(), device, arguments.repeats, training)
        numbers |= {f"gate_{name}_ratio": over, f"off_{name}_ms": seconds * 1e3}
        print(f"  {name:9} {100 * (over - 1):+6.1f} % of {seconds * 1e3:9.1f} ms "
              f"(wanted: at most +{wanted} %)")
    return numbers


def _renderer(arguments: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    from aqr_perception.runtime.benchmark import renderer_speedup

    vectorised, loop, difference = renderer_speedup(arguments.repeats)
    print(f"\nrenderer on the CPU, 900 queries on 128×128 and 6×20×50: {vectorised * 1e3:.2f} ms, "
          f"query by query {loop * 1e3:.1f} ms: {loop / vectorised:.0f} times faster, "
          f"largest difference {difference:.1e}")
    return {"renderer_speedup": loop / vectorised, "renderer_ms": vectorised * 1e3,
            "renderer_loop_ms": loop * 1e3}


def _memory(arguments: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    from aqr_perception.model.checkpoint import untrained
    from aqr_perception.model.config import cmt_vov99
    from aqr_perception.runtime.benchmark import batch_of
    from aqr_perception.runtime.floor import memory_of

    config = cmt_vov99()
    used = memory_of(untrained(config).to(device), batch_of(config, device))
    heads, queries = config.decoder.heads, config.decoder.queries
    tokens = 32_400 + 24_000
    dense = 4 * heads * queries * tokens
    print(f"\nmemory, cmt_vov99, batch 1: peak {used.peak / 2**20:.0f} MiB beside "
          f"{used.parameters / 2**20:.0f} MiB of parameters; largest tensor "
          f"{used.largest / 2**20:.0f} MiB (queries × tokens × heads would be "
          f"{dense / 2**20:.0f} MiB)")
    return {"cmt_vov99_peak_bytes": used.peak, "cmt_vov99_parameter_bytes": used.parameters,
            "cmt_vov99_largest_tensor_bytes": used.largest}


def _half(arguments: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    from aqr_perception.model.checkpoint import load, load_default, untrained
    from aqr_perception.model.config import cmt_r50
    from aqr_perception.runtime.benchmark import batch_of
    from aqr_perception.runtime.half import DTYPES, SAME_PLACE, TOP, half_precision_shares

    numbers: dict[str, Any] = {}
    print(f"\nhalf precision, the top {TOP} boxes that stay (same class, {SAME_PLACE:g} m at most "
          "apart; wanted: 99 %), and the same (query, class) pairs:")
    for suffix, detector in (
            ("", load(arguments.weights) if arguments.weights else untrained(cmt_r50())),
            ("_tiny", load_default())):
        batch = batch_of(detector.config, device)
        name = detector.config.name + ("" if detector.trained else ", random weights")
        shares = {str(dtype).removeprefix("torch."): half_precision_shares(
            detector.to(device), batch, dtype) for dtype in DTYPES}
        for dtype, share in shares.items():
            print(f"  {name:24}{dtype:10}{100 * share.kept:6.1f} %{100 * share.same_query:8.1f} %")
        numbers |= {f"half_kept{suffix}": {dtype: share.kept for dtype, share in shares.items()},
                    f"half_same_query{suffix}": {dtype: share.same_query
                                                 for dtype, share in shares.items()}}
    return numbers


def _detector(arguments: argparse.Namespace, device: torch.device) -> Any:
    """The network of the frame and floor parts, AQR as its file or preset says."""
    from aqr_perception.model.checkpoint import load, load_default, untrained
    from aqr_perception.model.config import PRESETS

    if arguments.weights:
        return load(arguments.weights, device)
    if arguments.preset == "tiny":
        return load_default(device)
    return untrained(PRESETS[arguments.preset]()).to(device)
