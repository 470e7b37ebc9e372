"""Measure how many complete sets of six 1600×900 images and a 34,720-point cloud arrive over DDS.

One process sends, another receives through an ApproximateTimeSynchronizer. Prints how many of the
sets came complete, how long they took, and what was lost.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from aqr_perception.cli.outputs import check_writable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--sets", type=int, default=100, help="sets to send (default: 100)")
    parser.add_argument("--rate", type=float, default=10.0,
                        help="sets a second (default: 10)")
    parser.add_argument("--qos", choices=("best_effort", "reliable"), default="best_effort",
                        help="reliability of both sides (default: best_effort, as the node asks)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file too")


def run(args: argparse.Namespace) -> int:
    """Measure and print.

    Returns:
        0 when every set came complete, else 1.
    """
    from aqr_perception.ros.transport import PROFILE_VARIABLES, check_transport

    if args.sets < 1 or not 0 < args.rate <= 1000:
        raise ValueError(f"--sets is {args.sets} and --rate {args.rate}; expected at least 1 set, "
                         "and a rate above 0 and up to 1000 Hz")
    check_writable(args.json)
    report = check_transport(args.sets, args.rate, args.qos)
    print(f"{report.middleware}, {report.reliability}, Fast DDS profile: "
          f"{report.profile or f'none (set {PROFILE_VARIABLES[0]})'}")
    print(f"complete sets: {report.sets_arrived} of {report.sets_sent} at {report.rate_hz:g} Hz")
    if report.latency_ms_p50 is not None:
        print(f"stamp to callback of the complete set: p50 {report.latency_ms_p50:.1f} ms, "
              f"p95 {report.latency_ms_p95:.1f} ms")
    lost = {topic: count for topic, count in report.lost.items() if count}
    print("lost messages: " + (", ".join(f"{topic} {count}" for topic, count in lost.items())
                               or "none"))
    if report.sender_late_ms_max > 1e3 / report.rate_hz:
        print(f"the sender itself was up to {report.sender_late_ms_max:.0f} ms late: this machine "
              "is too busy to tell what the transport can do")
    if args.json:
        args.json.write_text(json.dumps(asdict(report), indent=2) + "\n")
    return 0 if report.sets_arrived == report.sets_sent else 1
