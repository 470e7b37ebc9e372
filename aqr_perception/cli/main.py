"""The command line: finds the command, runs it, and turns errors at the edges into one line.

A command is a module of this package with ``add_arguments(parser)`` and ``run(args) -> int``; it is
imported only when it is called, so that ``play`` starts without torch and ``detect`` without ROS.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from aqr_perception import __version__

COMMANDS = {
    "demo": "play a simulated drive over ROS 2, detect, and compare with the truth",
    "detect": "run the detector on recorded frames; print, save or draw what it finds",
    "node": "run the detector as a ROS 2 node",
    "play": "publish recorded frames or a bag over ROS 2 at their own pace",
    "to-bag": "turn recorded frames into a rosbag2 bag",
    "check-transport": "measure how many complete sets of images and clouds arrive over DDS",
    "check-vehicle": "kill and revive sensors while the node runs; measure what it does meanwhile",
    "import-checkpoint": "turn a published CMT checkpoint into a file of this package",
    "benchmark": "measure speed, memory and cost of AQR, beside the floor the device sets",
    "simulate": "render a simulated drive",
    "train": "train a detector on simulated drives",
    "experiment": "compare the baseline with every kind of AQR, clean and with failing sensors",
    "evaluate": "nuScenes metrics of a detector or of a results file",
    "model-card": "write the model card of a weights file from what 'evaluate' measured",
}
USAGE_ERROR = 2
BROKEN_PIPE = 141
"""As a shell says of a program that the signal ended: whoever read its output has enough."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0, or what the command returned; 2 for a usage error or an input that does not fit, after
        one line on standard error that says what, where and what to do.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="aqr_perception", description="Camera and LiDAR 3D detection for ROS 2.",
        epilog="commands:\n" + "\n".join(f"  {name:18}{text}" for name, text in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="see below")
    if not arguments:
        parser.print_help(sys.stderr)
        return USAGE_ERROR
    command = parser.parse_args(arguments[:1]).command

    module = importlib.import_module(f"aqr_perception.cli.{command.replace('-', '_')}")
    command_parser = argparse.ArgumentParser(
        prog=f"aqr_perception {command}", description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    module.add_arguments(command_parser)
    try:
        return int(module.run(command_parser.parse_args(arguments[1:])) or 0)
    except BrokenPipeError:  # who read has enough; nothing is left to be said at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (ValueError, OSError) as error:
        if os.environ.get("AQR_TRACEBACK"):
            raise
        print(f"aqr_perception {command}: {_one_line(error)}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        return 130


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())
