"""Publish a frame directory, a folder of them, or a rosbag2 bag over ROS 2 at its own pace.

Stamps are the sensors' own. With --wait-for-subscribers it starts when the detector (or whoever)
has subscribed to all sensors, so that nothing of a short recording is missed.

--fault breaks a sensor for some time, counted in seconds of the recording since its start:

    play DRIVE --fault CAM_FRONT:absent@3s..5s --fault LIDAR:lidar_fog/3@4s..
    play DRIVE --fault all:camera_dirty

SENSOR is LIDAR, all, or the name of a camera. FAULT is absent, or one of docs/simulation.md that
changes pictures or points; its SEVERITY is 1, 2 (where none is named) or 3. Of a bag's sensors all
that can be said is that they are absent.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aqr_perception.ros.play import Player
    from aqr_perception.ros.recorded import SerializedMessage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("source", type=Path, help="frame directory, folder of them, or bag")
    parser.add_argument("--rate", type=float, default=1.0, metavar="FACTOR",
                        help="seconds of the recording in one second (default: 1)")
    parser.add_argument("--loop", action="store_true", help="begin again at the end, until Ctrl-C")
    parser.add_argument("--clock", action="store_true",
                        help="publish the recording's time on /clock, for use_sim_time")
    parser.add_argument("--wait-for-subscribers", type=float, metavar="SECONDS",
                        help="start when all sensor topics have a subscriber; fail after this long")
    parser.add_argument("--compressed", action="store_true",
                        help="of frame directories, publish CompressedImage instead of Image")
    parser.add_argument("--qos", choices=("auto", "reliable", "best_effort"), default="auto",
                        help="reliability of images and cloud; auto: as those who have subscribed "
                             "ask for, reliable where nobody has (default: auto)")
    parser.add_argument("--fault", action="append", default=[],
                        metavar="SENSOR:FAULT[/SEVERITY][@FROM..TO]",
                        help="break a sensor; may be given several times")
    parser.add_argument("--topics", nargs="+", metavar="TOPIC", help="play only these")


def run(args: argparse.Namespace) -> int:
    """Play.

    Raises:
        ValueError: The source is none of the three or damaged, an argument does not fit, or nobody
            subscribed in time.
        OSError: A file is not there.
    """
    if not 0.001 <= args.rate <= 1000:
        raise ValueError(f"--rate is {args.rate:g}; expected 0.001 to 1000")
    if args.wait_for_subscribers is not None and not 0 <= args.wait_for_subscribers <= 86400:
        raise ValueError(f"--wait-for-subscribers is {args.wait_for_subscribers:g}; expected 0 to "
                         "86400 seconds")
    types, read = open_source(args.source, args.compressed, args.topics, args.fault)

    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from aqr_perception.ros.interrupt import stop_on_signals
    from aqr_perception.ros.play import Player, play_source

    with stop_on_signals() as stop:
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        node = rclpy.create_node("aqr_player", use_global_arguments=False)
        try:
            player = Player(node, types, args.qos, stop, publish_clock=args.clock)
            for topic in player.left_out:
                print(f"left out {topic}")
            play_source(player, read, args.rate, args.loop, stop, args.wait_for_subscribers)
        finally:
            node.destroy_node()
            rclpy.try_shutdown()
    _print_report(player)
    return 0


def open_source(source: Path, compressed: bool, wanted: list[str] | None,
                faults: Sequence[str] = ()
                ) -> tuple[dict[str, str], Callable[[], Iterable[SerializedMessage]]]:
    """Find out what a source is.

    Args:
        source: Frame directory, folder of them, or bag.
        compressed: Images of frame directories as CompressedImage.
        wanted: Topics; None for all.
        faults: As `runtime.fault_schedule.parse` reads them.

    Returns:
        Message type by topic, and what starts to read the messages from the beginning.

    Raises:
        ValueError: It is none of the three, has not the topics that are wanted, or a fault cannot
            be read.
        OSError: It is not there.
    """
    from aqr_perception.ros.bag import Bag, is_bag
    from aqr_perception.ros.spoiled_messages import SpoiledFrames, absences, with_faults
    from aqr_perception.runtime.fault_schedule import parse

    if is_bag(source):
        if compressed:
            raise ValueError(f"--compressed is of frame directories; {source} is a bag, and goes "
                             "out as it is")
        bag = Bag(source)
        bag.require(wanted or ())
        types = {topic: kind for topic, kind in bag.types.items()
                 if wanted is None or topic in wanted}
        absent = absences(faults, bag.types)
        return types, lambda: with_faults(bag.messages(wanted), absent)

    from aqr_perception.recordings.frame_directory import find_frames
    from aqr_perception.ros.frame_messages import FrameMessages

    frames = FrameMessages(find_frames(source), compressed)
    missing = [topic for topic in wanted or () if topic not in frames.types]
    if missing:
        raise ValueError(f"{source}: has no topic {', '.join(missing)}; it has "
                         f"{', '.join(sorted(frames.types))}")
    types = {topic: kind for topic, kind in frames.types.items()
             if wanted is None or topic in wanted}
    scheduled = [parse(text, frames.cameras) for text in faults]
    spoiled = SpoiledFrames(frames) if scheduled else None
    return types, lambda: (message for message in with_faults(frames, scheduled, spoiled)
                           if message.topic in types)


def _print_report(player: Player) -> None:
    report = player.report
    counts = {topic: count for topic, count in report.messages.items() if count}
    print(f"played {sum(counts.values())} messages on {len(counts)} topics in "
          f"{report.seconds:.1f} s, at most {report.late_ms_max:.0f} ms late")
