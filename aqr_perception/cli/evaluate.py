"""nuScenes detection metrics of a detector, or of a results file.

SOURCE is a folder of simulated drives, a frame directory, or a folder of them. With --results the
boxes come from a file in nuScenes' submission format, whose sample tokens name the frames.

Attributes (moving, parked, ...) are those that the speed suggests, of truth and detections alike,
since neither carries any.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aqr_perception.evaluation.frames import EvaluationFrame
    from aqr_perception.recordings.rig import Rig
    from aqr_perception.types import Annotations, Detections, SensorFrame

SENSORS = ("both", "lidar", "camera")
REAR_AXLE = 0.94
"""From the middle of the rear axle forward to nuScenes' LiDAR [m]; ranges count from the axle."""


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
    parser.add_argument("--frames", type=int, metavar="N", help="only the first N frames")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")


def run(args: argparse.Namespace) -> int:
    """Evaluate.

    Raises:
        OSError: A file is not there.
        ValueError: A file is damaged, there is no truth, or an argument does not fit.
    """
    from aqr_perception.evaluation.report import Report

    frames = list(_from_results(args) if args.results else _from_detector(args))
    if not frames:
        raise ValueError(f"{args.source}: holds no frame with ground truth; expected some")
    report = Report.of(frames)
    print(report.table())
    if args.json:
        args.json.write_text(json.dumps(report.to_json(), indent=1) + "\n", encoding="utf-8")
    return 0


def _from_detector(args: argparse.Namespace) -> Iterator[EvaluationFrame]:
    """What the pipeline finds in each frame."""
    from tqdm import tqdm

    from aqr_perception.recordings.rig import Rig, load_rig
    from aqr_perception.runtime.pipeline import DetectionPipeline
    from aqr_perception.types import Controls

    rig = load_rig(args.config) if args.config else Rig()
    pipeline = DetectionPipeline.load(args.weights, args.device, rig.mounting)
    everything = Controls(score_threshold=0.0)
    for frame, truth in tqdm(_frames(args, rig), unit="frame", disable=None):
        seen = _only(frame, args.sensors)
        yield _entry(pipeline(seen, everything).detections, truth, rig)


def _frames(args: argparse.Namespace, rig: Rig) -> Iterator[tuple[SensorFrame, Annotations]]:
    """Frames with truth, up to ``--frames`` of them."""
    from aqr_perception.cli.detect import read_frames
    from aqr_perception.simulation.cache import DriveFolder

    if any(args.source.glob("drive-*.safetensors")):
        drives = DriveFolder(args.source)
        source = (drives.read(index) for index in range(len(drives)))
    else:
        source = ((frame, truth) for frame, truth in read_frames(args.source, rig)
                  if truth is not None)
    return itertools.islice(source, args.frames)


def _from_results(args: argparse.Namespace) -> Iterator[EvaluationFrame]:
    """What a results file says about each frame."""
    from aqr_perception.evaluation.results_file import read_results
    from aqr_perception.geometry import rigid
    from aqr_perception.recordings.boxes_file import read_annotations
    from aqr_perception.recordings.frame_directory import LIDAR_FRAME, find_frames, read_record
    from aqr_perception.recordings.rig import Rig, load_rig

    rig = load_rig(args.config) if args.config else Rig()
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
    from aqr_perception.evaluation.attributes import attributes_from_motion
    from aqr_perception.evaluation.frames import EvaluationFrame

    behind = -REAR_AXLE if rig.mounting.forward_axis == "y" else 0.0
    return EvaluationFrame(
        found, truth, range_origin=(0.0, behind),
        detection_attributes=attributes_from_motion(found.boxes, found.labels),
        truth_attributes=attributes_from_motion(truth.boxes, truth.labels))


def _only(frame: SensorFrame, sensors: str) -> SensorFrame:
    """Leave out the sensors that are not asked for."""
    if sensors == "lidar":
        return replace(frame, images=(None,) * len(frame.images))
    if sensors == "camera":
        return replace(frame, lidar=None)
    return frame
