"""Run the detector as a ROS 2 node, until Ctrl-C.

Its inputs come from the topics that `play` and `to-bag` use; with your own topics, remap them:
  --ros-args -r ~/input/pointcloud:=/lidar/points -r ~/input/image0:=/front/image_raw
`ros2 run aqr_perception detector` is the same node with all inputs at ~/input/..., as --no-remap.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from aqr_perception.recordings.rig import check_nodes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--config", type=Path, metavar="FILE",
                        help="file of ROS parameters, as config/perception.yaml")
    parser.add_argument("--weights", metavar="FILE",
                        help="weights (.safetensors) instead of those that ship with the package")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--compressed", action="store_true",
                        help="read CompressedImage instead of Image")
    parser.add_argument("--param", action="append", default=[], metavar="NAME:=VALUE",
                        help="set a parameter; may be given more than once")
    parser.add_argument("--no-remap", action="store_true",
                        help="leave inputs that are not remapped at ~/input/...")
    parser.add_argument("--ros-args", nargs=argparse.REMAINDER, default=[], metavar="...",
                        help="arguments of ROS 2: remapping, log level, namespace")


def run(args: argparse.Namespace) -> int:
    """Run the node.

    Raises:
        ValueError: An argument, a parameter, the weights or the device do not fit.
        OSError: A file cannot be read.
    """
    from aqr_perception.ros import node, topics

    return node.run(ros_arguments(args), default_topics=node.no_defaults if args.no_remap
                    else topics.input_topics)


def ros_arguments(args: argparse.Namespace) -> list[str]:
    """What the node's command line means in the arguments of ROS 2."""
    given = list(args.ros_args)
    parameters: list[str] = []
    if args.config is not None:
        if not any("__node:=" in argument for argument in given):
            check_nodes(args.config, "detector")
        parameters += ["--params-file", str(args.config)]
    settings = list(args.param)
    if args.weights is not None:
        settings.append(f"weights:={args.weights}")
    if args.device is not None:
        settings.append(f"device:={args.device}")
    if args.compressed:
        settings.append("image_transport:=compressed")
    for setting in settings:
        if ":=" not in setting:
            raise ValueError(f"--param is '{setting}'; expected NAME:=VALUE")
        parameters += ["-p", setting]
    return ["--ros-args", *given, *parameters]
