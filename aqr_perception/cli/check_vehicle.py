"""Kill and revive the sensors of a vehicle while the node runs; measure what it does meanwhile.

Three processes over DDS: one streams six images with camera_info, a cloud and tf, the node detects,
this one listens. Each sensor dies and comes back, then pairs of them. Prints for each kill the
longest time without output, how soon the node says who is missing, and how soon it says that they
are back; then what became of the sets, and the node's time beside the network. The status is 1
where a bound is broken.

--soak kills nothing, and looks at the node's memory meanwhile. --malformed sends malformed messages
through the node's inputs in this process, one a set, and tells what they cost.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aqr_perception.cli.outputs import check_writable
from aqr_perception.cli.processes import last_line, process, use_own_domain

if TYPE_CHECKING:
    from aqr_perception.recordings.rig import Rig
    from aqr_perception.ros.sensor_stream import SensorStream
    from aqr_perception.ros.vehicle_check import Listener
    from aqr_perception.runtime.kill_check import Sensors
    from aqr_perception.types import SensorFrame

START_S = 90.0
Work = Callable[["Listener", "SensorStream", "subprocess.Popen[bytes]"], Any]
"""What is done with a listener, the sensors and the node's process."""
QUICK: tuple[Sensors, ...] = (frozenset({0}), frozenset({1}), frozenset({0, 1}),
                              frozenset({2, 5}))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--rate", type=float, default=5.0, help="sets a second (default: 5)")
    parser.add_argument("--pairs", type=int, metavar="N",
                        help="pairs of sensors to kill, drawn at random (default: all)")
    parser.add_argument("--quick", action="store_true",
                        help="two sensors and two pairs only, in half a minute")
    parser.add_argument("--soak", type=float, metavar="MINUTES",
                        help="kill nothing for so long, and tell how the node's memory grows")
    parser.add_argument("--malformed", type=int, metavar="N",
                        help="send so many malformed messages through the inputs instead, in this "
                             "process")
    parser.add_argument("--frame", type=Path, metavar="FOLDER",
                        help="frame directory that the sensors see (default: flat ground, grey "
                             "1600×900 images)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="ROS parameter file of the rig")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="other weights")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file too")


def run(args: argparse.Namespace) -> int:
    """Measure and print.

    Returns:
        0 when all bounds hold, else 1.

    Raises:
        ValueError: An argument or the frame does not fit, or the node does not come up.
        OSError: A file cannot be read or written.
    """
    from aqr_perception.recordings.rig import Rig, load_rig

    check_writable(args.json)
    if not 1 <= args.rate <= 20:
        raise ValueError(f"--rate is {args.rate:g}; expected 1 to 20 Hz")
    if args.soak is not None and not 0 < args.soak <= 1440:
        raise ValueError(f"--soak is {args.soak:g}; expected above 0 to 1440 minutes")
    if args.malformed is not None and args.malformed < 1:
        raise ValueError(f"--malformed is {args.malformed}; expected 1 or more")
    rig = load_rig(args.config) if args.config else Rig()
    if args.malformed is not None:
        figures, failures = _malformed(args, rig)
    elif args.soak is not None:
        figures, failures = _soak(args, rig)
    else:
        figures, failures = _kills(args, rig)
    for failure in failures:
        print(f"BROKEN: {failure}")
    if args.json:
        args.json.write_text(json.dumps({**figures, "broken": failures}, indent=2) + "\n")
    return 1 if failures else 0


def _kills(args: argparse.Namespace, rig: Rig) -> tuple[dict[str, Any], list[str]]:
    """Kill sensors; gives the figures, and the bounds that are broken."""
    from aqr_perception.ros.vehicle_check import run_kills
    from aqr_perception.runtime.kill_check import choose_kills
    from aqr_perception.runtime.vehicle_report import broken, lines, report_of

    sensors = 1 + len(rig.camera_names)
    kills = choose_kills(sensors, args.pairs)
    if args.quick:
        kills = [killed for killed in QUICK if max(killed) < sensors]
    machine = _Machine()
    found = _over_dds(args, rig, lambda listener, stream, node: run_kills(
        listener, stream, rig.camera_names, kills))
    report = report_of(found, rig.camera_names, args.rate)
    print("\n".join([*lines(report), machine.line()]))
    return {**asdict(report), **asdict(machine)}, broken(report)


def _soak(args: argparse.Namespace, rig: Rig) -> tuple[dict[str, Any], list[str]]:
    """Kill nothing for long, and look at memory; gives what `_kills` does."""
    from aqr_perception.ros.vehicle_check import run_soak
    from aqr_perception.runtime import memory
    from aqr_perception.runtime.vehicle_report import broken, lines, report_of

    machine = _Machine()
    found, samples = _over_dds(args, rig, lambda listener, stream, node: run_soak(
        listener, stream, rig.camera_names, args.soak, lambda: memory.own_mib(node.pid)))
    report, held = report_of(found, rig.camera_names, args.rate), memory.report_of(samples)
    print("\n".join([*lines(report), held.line(), machine.line()]))
    return ({**asdict(report), **asdict(held), **asdict(machine)},
            [*broken(report), *held.broken()])


def _malformed(args: argparse.Namespace, rig: Rig) -> tuple[dict[str, Any], list[str]]:
    """Send malformed messages, in this process; gives what `_kills` does."""
    from aqr_perception.ros.malformed_check import run_malformed
    from aqr_perception.runtime.malformed_report import broken, figures, lines
    from aqr_perception.runtime.pipeline import DetectionPipeline

    use_own_domain()
    report = run_malformed(args.malformed, rig, DetectionPipeline.load(
        args.weights, mounting=rig.mounting))
    print("\n".join(lines(report)))
    return figures(report), broken(report)


@dataclass(frozen=True)
class _Machine:
    """How busy the machine is."""

    cores: int = field(default_factory=lambda: os.cpu_count() or 1)
    load_average: float = field(default_factory=lambda: os.getloadavg()[0])

    def line(self) -> str:
        """In words."""
        return (f"{self.cores} cores with a load of {self.load_average:.1f} at the start"
                + (": too busy to tell how fast the node is"
                   if self.load_average > self.cores / 2 else ""))


def _frame(folder: Path | None, rig: Rig) -> SensorFrame:
    """What the sensors see."""
    if folder is None:
        from aqr_perception.ros.rehearsal import rehearsal_frame
        return rehearsal_frame(rig.camera_names, rig.mounting)
    from aqr_perception.recordings.frame_directory import read_frame
    return read_frame(folder, rig)


def _over_dds(args: argparse.Namespace, rig: Rig, work: Work) -> Any:
    """Start node and sensors, and give what comes of the work with them."""
    frame = _frame(args.frame, rig)
    use_own_domain()
    config = [] if args.config is None else ["--config", str(args.config)]
    weights = [] if args.weights is None else ["--weights", str(args.weights)]

    import rclpy

    from aqr_perception.ros.sensor_stream import SensorStream
    from aqr_perception.ros.vehicle_check import Listener

    rclpy.init(args=[])
    stream = SensorStream(frame, rig.intensity_max or 255.0, args.rate, START_S)
    try:
        with tempfile.TemporaryDirectory() as folder, \
                process("node", Path(folder), *config, *weights, "--param",
                        "image_transport:=raw") as node, \
                closing(Listener(lambda: node.poll() is None)) as listener:
            try:
                if not listener.spin_until(stream.ready, START_S):
                    raise ValueError("the node did not subscribe to all topics within "
                                     f"{START_S:g} s")
                return work(listener, stream, node)
            except ValueError as error:
                raise ValueError(f"{error}; the node's last word: "
                                 f"{last_line(Path(folder), 'node')}") from None
    finally:
        stream.close()
        rclpy.try_shutdown()
