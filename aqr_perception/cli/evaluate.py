"""nuScenes detection metrics of a detector, or of a results file.

SOURCE is a folder of simulated drives, a frame directory, a folder of them, or a bag. With
--results the boxes come from a file in nuScenes' submission format, whose sample tokens name the
frames.

    evaluate drives                                    as the drives are
    evaluate drives --faults                           under every fault of the simulator as well
    evaluate drives --faults multicorrupt              under MultiCorrupt's ten
    evaluate drives --faults fog camera_black --severities 3 --every 5

Under faults, resistance (RA) is the mean over severities of the metric under the fault, divided by
the metric without it.

Attributes (moving, parked, ...) are those that the speed suggests, of truth and detections alike,
since neither carries any.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aqr_perception.cli.outputs import check_writable

if TYPE_CHECKING:
    from aqr_perception.evaluation.frames import EvaluationFrame
    from aqr_perception.evaluation.report import Report
    from aqr_perception.recordings.rig import Rig
    from aqr_perception.types import Annotations, Detections, SensorFrame

SENSORS = ("both", "lidar", "camera")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("source", type=Path, metavar="SOURCE",
                        help="folder of drives, frame directory, or folder of them")
    parser.add_argument("--results", type=Path, metavar="FILE",
                        help="evaluate this file in nuScenes' submission format instead")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="other weights")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--config", type=Path, metavar="FILE", help="ROS parameter file of the rig")
    parser.add_argument("--sensors", choices=SENSORS, default="both",
                        help="leave the others out (default: both)")
    parser.add_argument("--faults", nargs="*", metavar="NAME",
                        help="once more under each of these faults; without a name under all; "
                             "multicorrupt stands for its ten")
    parser.add_argument("--severities", nargs="+", type=int, default=[1, 2, 3], metavar="LEVEL",
                        help="of the faults, 1 is the mildest (default: 1 2 3)")
    parser.add_argument("--frames", type=int, metavar="N", help="only the first N frames")
    parser.add_argument("--every", type=int, default=1, metavar="K",
                        help="only the K-th, 2K-th ... frame, as if drives had been recorded at a "
                             "lower rate; faults that show old data know the frames between")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")


def run(args: argparse.Namespace) -> int:
    """Evaluate.

    Raises:
        OSError: A file is not there.
        ValueError: A file is damaged, there is no truth, or an argument does not fit.
    """
    _check(args)
    report, about = _of_results(args) if args.results else _of_detector(args)
    print(report.table())
    if args.json:
        args.json.write_text(json.dumps(report.to_json() | about, indent=1) + "\n",
                             encoding="utf-8")
    return 0


def _check(args: argparse.Namespace) -> None:
    for name in ("frames", "every"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} is {value}; expected 1 or more")
    if args.results and (args.faults is not None or args.every != 1):
        raise ValueError("--faults and --every are of a detector; expected none with --results")
    check_writable(args.json)


def _of_detector(args: argparse.Namespace) -> tuple[Report, dict[str, Any]]:
    from aqr_perception.cli.evaluation_run import detect
    from aqr_perception.evaluation.metrics import evaluate
    from aqr_perception.evaluation.report import FaultResult, Report
    from aqr_perception.runtime.fault_runs import CLEAN

    rig = _rig(args)
    found = detect(args, rig, lambda frame: _only(frame, args.sensors))
    frames = {setting: [_entry(detections, truth, rig) for detections, truth in pairs]
              for setting, pairs in found.frames.items()}
    clean = frames.pop(CLEAN, [])
    _require(clean, args)
    report = Report.of(clean, [FaultResult(setting.fault, setting.severity, evaluate(entries))
                               for setting, entries in frames.items()])
    return report, {"run": found.about, "set": _difficulty([entry.truth for entry in clean])}


def _difficulty(truths: list[Annotations]) -> dict[str, Any]:
    """How hard the set is, over all and by class; what no box defines is None."""
    from aqr_perception.simulation.statistics import Difficulty, difficulty, difficulty_by_class

    def plain(one: Difficulty) -> dict[str, Any]:
        return {name: value if math.isfinite(value) else None
                for name, value in asdict(one).items()}

    return plain(difficulty(truths)) | {
        "by_class": {name: plain(one) for name, one in difficulty_by_class(truths).items()}}


def _of_results(args: argparse.Namespace) -> tuple[Report, dict[str, Any]]:
    from aqr_perception.evaluation.report import Report

    frames = list(_from_results(args))
    _require(frames, args)
    return Report.of(frames), {}


def _rig(args: argparse.Namespace) -> Rig:
    from aqr_perception.recordings.rig import Rig, load_rig

    return load_rig(args.config) if args.config else Rig()


def _require(frames: list[EvaluationFrame], args: argparse.Namespace) -> None:
    if not frames:
        expected = "one" if args.every == 1 else f"{args.every}, for --every {args.every}"
        raise ValueError(f"{args.source}: holds too few frames with ground truth; expected at "
                         f"least {expected}")


def _from_results(args: argparse.Namespace) -> Iterator[EvaluationFrame]:
    """What a results file says about each frame."""
    from aqr_perception.evaluation.results_file import read_results
    from aqr_perception.geometry import rigid
    from aqr_perception.recordings.boxes_file import read_annotations
    from aqr_perception.recordings.frame_directory import LIDAR_FRAME, find_frames, read_record

    rig = _rig(args)
    results = read_results(args.results)
    for folder in find_frames(args.source)[:args.frames]:
        record, truth = read_record(folder), read_annotations(folder)
        if truth is None:
            continue
        if record.token not in results or record.world_from_lidar is None:
            raise ValueError(f"{args.results}: has nothing about the sample {record.token} of "
                             f"{folder}; expected an entry, empty where nothing was found")
        found, attributes = results[record.token].in_frame(
            rigid.inverse(record.world_from_lidar), record.lidar.stamp_ns, LIDAR_FRAME)
        yield replace(_entry(found, truth, rig), detection_attributes=attributes)


def _entry(found: Detections, truth: Annotations, rig: Rig) -> EvaluationFrame:
    from aqr_perception.evaluation.frames import EvaluationFrame

    return EvaluationFrame.from_motion(found, truth, rig.mounting)


def _only(frame: SensorFrame, sensors: str) -> SensorFrame:
    """Leave out the sensors that are not asked for."""
    if sensors == "lidar":
        return replace(frame, images=(None,) * len(frame.images))
    if sensors == "camera":
        return replace(frame, lidar=None)
    return frame
