"""Run the detector on recorded frames, by the same pipeline that the node runs.

SOURCE is a frame directory, a folder of them, or a rosbag2 bag. Prints a table; with ground truth
beside the frame it says which detections lie within 2 m of an object of their class.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from aqr_perception.recordings.rig import Rig
    from aqr_perception.types import Annotations, Detections, SensorFrame

MATCH_DISTANCE = 2.0


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
    from aqr_perception.runtime.pipeline import DetectionPipeline
    from aqr_perception.types import Controls

    rig = load_rig(args.config) if args.config else Rig()
    controls = Controls(score_threshold=args.score_threshold)
    frames = _chosen(read_frames(args.source, rig), args.frame)
    first = next(frames)  # bad input is named before the network is loaded
    pipeline = DetectionPipeline.load(args.weights, args.device, rig.mounting)
    if not pipeline.detector.trained:
        print("note: these weights are not trained; what follows shows the path, not a detector")
    pipeline.warm_up(first[0])

    documents = []
    for frame, truth in itertools.chain([first], frames):
        result = pipeline(frame, controls)
        found = result.detections
        print(table(found, truth))
        print(f"{len(found)} detections at stamp {found.stamp_ns / 1e9:.6f} in frame "
              f"'{found.frame_id}', {result.times.total:.0f} ms on {pipeline.device}"
              f"{': ' + result.note if result.note else ''}")
        documents.append(_document(found))
    if args.json:
        content = documents[0] if len(documents) == 1 else {"frames": documents}
        args.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if args.image:
        _draw(args.image, frame, found, truth, rig)
    return 0


def read_frames(source: Path, rig: Rig) -> Iterator[tuple[SensorFrame, Annotations | None]]:
    """Frames of a frame directory, a folder of them, or a bag, with their truth where it is known.

    Raises:
        OSError: A file is not there.
        ValueError: A file is damaged, or the source is none of these.
    """
    if (source / "metadata.yaml").exists():
        from aqr_perception.ros.bag_frames import frames_from_bag
        for frame in frames_from_bag(source, rig):
            yield frame, None
        return
    from aqr_perception.recordings.boxes_file import read_annotations
    from aqr_perception.recordings.frame_directory import find_frames, read_frame
    for folder in find_frames(source):
        yield read_frame(folder, rig), read_annotations(folder)


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
        seen = int((annotations.num_lidar_pts != 0).sum())
        lines.append(f"{int(right.sum())} of {len(right)} detections lie within "
                     f"{MATCH_DISTANCE:g} m of an object of their class; {seen} objects hold at "
                     "least one LiDAR point")
    return "\n".join(lines)


def matches(detections: Detections, annotations: Annotations) -> np.ndarray:
    """(N,) which detections take an object of their class within 2 m; the best score chooses first,
    and each object is taken once.
    """
    free = annotations.num_lidar_pts != 0
    right = np.zeros(len(detections), dtype=bool)
    for i, label in enumerate(detections.labels):
        offsets = annotations.boxes.center[:, :2] - detections.boxes.center[i, :2]
        distance = np.hypot(*offsets.T)
        distance[~free | (annotations.labels != label)] = np.inf
        if len(distance) and distance.min() <= MATCH_DISTANCE:
            right[i] = True
            free[int(distance.argmin())] = False
    return right


def _chosen(frames: Iterator[tuple[SensorFrame, Annotations | None]], wanted: int | None
            ) -> Iterator[tuple[SensorFrame, Annotations | None]]:
    """All frames or one; at least one, or a ValueError."""
    count = 0
    for index, item in enumerate(frames):
        if wanted is None or index == wanted:
            count += 1
            yield item
    if not count:
        raise ValueError("the source holds no complete frame" if wanted is None else
                         f"--frame is {wanted}; the source has fewer frames")


def _document(detections: Detections) -> dict[str, object]:
    from aqr_perception.recordings.boxes_file import detections_to_entries
    return {"frame": detections.frame_id, "stamp_ns": detections.stamp_ns,
            "boxes": detections_to_entries(detections)}


def _draw(path: Path, frame: SensorFrame, detections: Detections,
          annotations: Annotations | None, rig: Rig) -> None:
    import cv2

    from aqr_perception.visualization.picture import draw_frame
    picture = draw_frame(frame, detections, annotations, rig.mounting)
    try:
        written = cv2.imwrite(str(path), picture)
    except cv2.error:
        written = False
    if not written:
        raise ValueError(f"{path}: the picture could not be written; expected a name that ends in "
                         ".png or .jpg, in a folder that is there")
