"""See the detector at work: play a drive over DDS, run the node, compare with the truth.

Three processes: `play` publishes six cameras, their calibration, the cloud and tf; `node` detects;
this one listens. Without --source the drive is a simulated one that training never saw, rendered
once. Prints mAP, NDS, latencies and missed frames; writes picture.png, and index.html with all of
it.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from aqr_perception.cli.processes import last_line, process, use_own_domain

if TYPE_CHECKING:
    from aqr_perception.cli.demo_report import Heard
    from aqr_perception.types import Detections

SIZE = (800, 450)
START_SECONDS = 90.0
SILENCE_SECONDS = 6.0
OUTPUT = "/detector/output"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--source", type=Path,
                        help="frame directory, or a folder of them, instead of a simulated drive")
    parser.add_argument("--config", type=Path, metavar="FILE", help="ROS parameter file of the rig")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="other weights")
    parser.add_argument("--frames", type=int, default=10, help="length of the simulated drive")
    parser.add_argument("--rate", type=float, default=1.0, help="speed of playing (default: 1)")
    parser.add_argument("--out", type=Path, default=Path("demo_output"),
                        help="folder of the result (default: demo_output)")


def run(args: argparse.Namespace) -> int:
    """Run the demo.

    Returns:
        0 when detections crossed DDS; 1 when none did, with the end of the node's log.

    Raises:
        ValueError: An argument or the source does not fit.
        OSError: A file cannot be read or written.
    """
    if args.frames < 1:
        raise ValueError(f"--frames is {args.frames}; expected 1 or more")
    args.out.mkdir(parents=True, exist_ok=True)
    source = args.source or _simulate(args.out, args.frames)
    from aqr_perception.recordings.frame_directory import find_frames
    folders = find_frames(source)
    heard = _through_dds(args, source, len(folders))
    if not heard.received:
        print((args.out / "node.log").read_text(errors="replace")[-2000:], file=sys.stderr)
        print("no detections came; the node's log is above", file=sys.stderr)
        return 1
    _report(args, folders, heard)
    return 0


def _simulate(out: Path, frames: int) -> Path:
    """A held-out drive as frame directories; rendered once, and again where that was cut short."""
    from tqdm import tqdm

    from aqr_perception.recordings.frame_writer import write_frame
    from aqr_perception.simulation.drive import DriveSettings, simulate_drive
    from aqr_perception.simulation.rig import load_rig
    from aqr_perception.simulation.splits import HELD_OUT, SWEEPS

    folder = out / f"drive_{frames}x{SIZE[0]}x{SIZE[1]}x{SWEEPS}"
    done = folder / "complete"
    if done.exists():
        return folder
    rig = load_rig().resized(*SIZE)
    on_car = {camera.name: camera.ego_from_camera for camera in rig.cameras}
    print(f"rendering {frames} frames of a drive that training never saw (once)", flush=True)
    for k, (frame, truth) in enumerate(tqdm(simulate_drive(HELD_OUT.start, frames, rig,
                                                           DriveSettings(sweeps=SWEEPS)),
                                            total=frames, unit="frame", disable=None)):
        write_frame(folder / f"frame_{k:04d}", frame, truth, rig.lidar.ego_from_lidar, on_car)
    done.touch()
    return folder


def _through_dds(args: argparse.Namespace, source: Path, frames: int) -> Heard:
    """Start node and player; listen until as many messages came as frames went out, or none."""
    use_own_domain()
    config = [] if args.config is None else ["--config", str(args.config)]
    weights = [] if args.weights is None else ["--weights", str(args.weights)]

    import rclpy

    from aqr_perception.cli.demo_report import Heard
    from aqr_perception.ros.recorder import Recorder
    from aqr_perception.ros.topics import points_topic

    rclpy.init(args=[])
    try:
        with Recorder(f"{OUTPUT}/detections", f"{OUTPUT}/velocities",
                      points_topic()) as recorder, \
                process("node", args.out, *config, *weights, "--param",
                        "score_threshold:=0.02") as node:
            if not recorder.wait_for_detector(START_SECONDS, lambda: node.poll() is not None):
                raise ValueError(f"the node did not come up: {last_line(args.out, 'node')}")
            with process("play", args.out, str(source), "--rate", str(args.rate),
                         "--wait-for-subscribers", str(START_SECONDS)) as player:
                while player.poll() is None and node.poll() is None:
                    recorder.spin(0.2)
            if player.returncode or node.poll() is not None:
                name = "play" if player.returncode else "node"
                raise ValueError(f"{name} ended early: {last_line(args.out, name)}")
            waited = 0.0
            while recorder.complete < frames and waited < SILENCE_SECONDS:
                before = recorder.complete
                recorder.spin(0.2)
                waited = 0.0 if recorder.complete > before else waited + 0.2
            recorder.hear_last_word()
            return Heard(recorder.received(), recorder.stages)
    finally:
        rclpy.try_shutdown()


def _report(args: argparse.Namespace, folders: list[Path], heard: Heard) -> None:
    """Print figures; write the picture and the page."""
    import cv2

    from aqr_perception.cli.demo_report import lines, page, result_of
    from aqr_perception.recordings.boxes_file import read_annotations
    from aqr_perception.recordings.frame_directory import read_frame
    from aqr_perception.recordings.rig import Rig, load_rig
    from aqr_perception.visualization.picture import draw_frame

    rig = load_rig(args.config) if args.config else Rig()
    frames = [(read_frame(folder, rig), read_annotations(folder)) for folder in folders]
    result = result_of(frames, heard, rig.mounting, _is_trained(args.weights))
    shown, found = next((k, one.detections) for k, one in enumerate(result.seen)
                        if one.detections is not None)
    picture = draw_frame(frames[shown][0], _worth_showing(found), frames[shown][1], rig.mounting)
    for path, data in ((args.out / "picture.png", cv2.imencode(".png", picture)[1]),
                       (args.out / "index.html",
                        page(result, cv2.imencode(".jpg", picture)[1].tobytes()).encode())):
        path.write_bytes(bytes(data))
    print("\n".join(lines(result)))
    print(f"{args.out / 'picture.png'} and {args.out / 'index.html'} show it")


def _is_trained(weights: Path | None) -> bool:
    from aqr_perception.model import checkpoint

    return (checkpoint.load(weights) if weights else checkpoint.load_default()).trained


def _worth_showing(found: Detections) -> Detections:
    """What the counts beside the picture speak of."""
    from aqr_perception.evaluation.counts import SCORE

    kept = found.scores > SCORE
    return replace(found, boxes=found.boxes[kept], scores=found.scores[kept],
                   labels=found.labels[kept])
