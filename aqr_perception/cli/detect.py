"""Run the detector on recorded frames, by the same pipeline that the node runs.

SOURCE is a frame directory, a folder of them, or a rosbag2 bag. Prints a table; with ground truth
beside the frame it says which detections lie within 2 m of an object of their class.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aqr_perception.cli.outputs import check_picture, check_writable

if TYPE_CHECKING:
    from aqr_perception.recordings.rig import Rig
    from aqr_perception.runtime.pipeline import DetectionPipeline, FrameResult
    from aqr_perception.types import Annotations, Detections, SensorFrame

MATCH_DISTANCE = 2.0
"""A detection whose centre lies this close [m] to an object's, seen from above, has found it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("source", type=Path, metavar="SOURCE",
                        help="frame directory, folder of them, or bag")
    parser.add_argument("--config", type=Path, metavar="FILE",
                        help="ROS parameter file with the rig (default: that of nuScenes)")
    parser.add_argument("--weights", type=Path, metavar="FILE",
                        help="weights (.safetensors) instead of those that ship with the package")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--score-threshold", type=float, default=0.1, metavar="SCORE",
                        help="leave out detections below (default: 0.1)")
    parser.add_argument("--frame", type=int, metavar="K", help="only frame K, counted from 0")
    parser.add_argument("--json", type=Path, metavar="FILE",
                        help="write detections as gt_boxes.json holds boxes, with scores; several "
                             "frames as a list 'frames' of such objects")
    parser.add_argument("--image", type=Path, metavar="FILE",
                        help="draw cameras and bird's-eye view; of several frames, the last one")


def run(args: argparse.Namespace) -> int:
    """Detect.

    Raises:
        OSError: A file is not there.
        ValueError: A file is damaged, or an argument does not fit.
    """
    from aqr_perception.recordings.rig import Rig, load_rig
    from aqr_perception.types import Controls

    check_writable(args.json)
    check_picture(args.image)
    rig = load_rig(args.config) if args.config else Rig()
    controls = Controls(score_threshold=args.score_threshold)
    frames = chosen(read_frames(args.source, rig), args.frame, args.source)
    first = next(frames)  # bad input is named before torch is loaded, which takes seconds
    pipeline = _pipeline(args.weights, args.device, rig)
    pipeline.warm_up(first[0], repetitions=1)

    found: list[Detections] = []
    for frame, truth in itertools.chain([first], frames):
        result = pipeline(frame, controls)
        found.append(result.detections)
        _print(result, truth, pipeline)
    _write(args.json, found)
    if args.image:
        _draw(args.image, frame, found[-1], truth, rig)
    return 0


def read_frames(source: Path, rig: Rig) -> Iterator[tuple[SensorFrame, Annotations | None]]:
    """Frames of a frame directory, a folder of them, or a bag, with their truth where it is known.

    Each cloud is joined with the sweeps of the frames before it, as in the node; points in an
    object's box are counted before that.

    Raises:
        OSError: A file is not there.
        ValueError: A file is damaged, or the source is none of these.
    """
    from aqr_perception.runtime.sweeps import SweepAccumulator

    sweeps = SweepAccumulator(rig.sweeps)
    if (source / "metadata.yaml").exists():
        from aqr_perception.geometry.boxes import points_in_boxes
        from aqr_perception.ros.bag_frames import frames_from_bag, truth_from_bag
        by_stamp = truth_from_bag(source)
        for frame in frames_from_bag(source, rig):
            truth = by_stamp.get(frame.stamp_ns)
            if truth is not None and frame.lidar is not None:
                counts = points_in_boxes(frame.lidar.points, truth.boxes).sum(axis=1)
                truth = replace(truth, num_lidar_pts=counts)
            yield sweeps.frame(frame), truth
        return
    from aqr_perception.recordings.boxes_file import read_annotations
    from aqr_perception.recordings.frame_directory import find_frames, read_frame
    for folder in find_frames(source):
        yield sweeps.frame(read_frame(folder, rig)), read_annotations(folder)


def chosen(frames: Iterator[tuple[SensorFrame, Annotations | None]], wanted: int | None,
           source: Path) -> Iterator[tuple[SensorFrame, Annotations | None]]:
    """All frames, or the one that is wanted.

    Raises:
        ValueError: There is none, or there are too few.
    """
    if wanted is not None:
        if wanted < 0:
            raise ValueError(f"--frame is {wanted}; expected 0 or more")
        frames = itertools.islice(frames, wanted, wanted + 1)
    first = next(frames, None)
    if first is None:
        raise ValueError(f"{source}: holds no complete frame" if wanted is None else
                         f"--frame is {wanted}; {source} holds fewer frames")
    yield first
    yield from frames


def table(detections: Detections, annotations: Annotations | None) -> str:
    """One line a detection: class, score, place, size, heading, speed, and whether it is right."""
    heading = (f"{'class':21}{'score':>6}{'x':>8}{'y':>8}{'z':>7}{'length':>8}{'width':>7}"
               f"{'height':>8}{'yaw':>7}{'speed':>7}")
    right = None
    if annotations is not None:
        right = matches(detections, annotations)
        heading += "  truth"
    lines = [heading]
    boxes = detections.boxes
    for i, name in enumerate(detections.class_names):
        x, y, z = boxes.center[i]
        length, width, height = boxes.size[i]
        line = (f"{name:21}{detections.scores[i]:6.2f}{x:8.2f}{y:8.2f}{z:7.2f}{length:8.2f}"
                f"{width:7.2f}{height:8.2f}{np.degrees(boxes.yaw[i]):6.0f}°"
                f"{np.hypot(*boxes.velocity[i]):7.1f}")
        lines.append(line if right is None else f"{line}  {'yes' if right[i] else '-'}")
    if right is not None and annotations is not None:
        near = matches(detections, annotations, any_class=True)
        objects = int((annotations.num_lidar_pts != 0).sum())
        lines.append(f"{right.sum()} of {len(right)} detections lie within {MATCH_DISTANCE:g} m of "
                     f"an object of their class, {near.sum()} of any class; {objects} objects hold "
                     "a LiDAR point")
    return "\n".join(lines)


def matches(detections: Detections, annotations: Annotations, any_class: bool = False
            ) -> NDArray[np.bool_]:
    """(N,) which detections find an object of their class (or of any) that holds a LiDAR point.

    The best score chooses first, and each object is found once.
    """
    free = annotations.num_lidar_pts != 0
    right = np.zeros(len(detections), dtype=bool)
    for i, label in enumerate(detections.labels):
        offsets = annotations.boxes.center[:, :2] - detections.boxes.center[i, :2]
        distance = np.hypot(*offsets.T)
        distance[~(free & (any_class | (annotations.labels == label)))] = np.inf
        if len(distance) and distance.min() <= MATCH_DISTANCE:
            right[i] = True
            free[int(distance.argmin())] = False
    return right


def _pipeline(weights: Path | None, device: str, rig: Rig) -> DetectionPipeline:
    from aqr_perception.runtime.pipeline import DetectionPipeline

    pipeline = DetectionPipeline.load(weights, device, rig.mounting)
    if not pipeline.detector.trained:
        print("note: these weights are not trained; what follows shows the path, not a detector")
    return pipeline


def _print(result: FrameResult, truth: Annotations | None, pipeline: DetectionPipeline) -> None:
    found = result.detections
    seconds, nanoseconds = divmod(found.stamp_ns, 1_000_000_000)
    stages = ", ".join(f"{stage} {ms:.0f}" for stage, ms in vars(result.times).items())
    print(table(found, truth))
    print(f"{len(found)} detections at stamp {seconds}.{nanoseconds:09d} in frame "
          f"'{found.frame_id}'; {result.times.total:.0f} ms on {pipeline.device} ({stages})"
          f"{': ' + result.note if result.note else ''}", flush=True)


def _write(path: Path | None, found: list[Detections]) -> None:
    from aqr_perception.recordings.boxes_file import (
        write_detections,
        write_detections_of_frames,
    )

    if path is None:
        return
    if len(found) == 1:
        write_detections(path, found[0])
    else:
        write_detections_of_frames(path, found)


def _draw(path: Path, frame: SensorFrame, detections: Detections,
          annotations: Annotations | None, rig: Rig) -> None:
    import cv2

    from aqr_perception.visualization.picture import draw_frame

    if not cv2.imwrite(str(path), draw_frame(frame, detections, annotations, rig.mounting)):
        raise OSError(5, "the picture could not be written", str(path))
