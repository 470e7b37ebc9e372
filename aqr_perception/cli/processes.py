"""Commands of this package in processes of their own, on a DDS domain of their own."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

END_S = 15.0
"""From the interrupt to the end of a process, before it is killed [s]."""
DOMAINS = range(1, 102)
"""Ports of those above may be taken by outgoing traffic."""


def use_own_domain() -> None:
    """Let this process and those it starts neither hear nor disturb anybody on this machine."""
    domains = random.SystemRandom().sample(DOMAINS, len(DOMAINS))
    os.environ["ROS_DOMAIN_ID"] = str(next(filter(_is_free, domains), domains[0]))
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    if os.environ.get("ROS_DISTRO") == "humble":
        os.environ["ROS_LOCALHOST_ONLY"] = "1"  # what Humble has instead


def _is_free(domain: int) -> bool:
    """Whether nobody on this machine uses a domain: domain d has the UDP port 7400 + 250 d."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", 7400 + 250 * domain))
        except OSError:
            return False
    return True


@contextmanager
def process(command: str, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command; at the end of the block it is ended by SIGINT, as from a keyboard.

    Args:
        command: Of this package.
        folder: What it says goes to a file of its name in there, ``.log``.
        arguments: The command's.
    """
    with (folder / f"{command}.log").open("wb") as log:
        child = subprocess.Popen([sys.executable, "-m", "aqr_perception", command, *arguments],
                                 stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            yield child
        finally:
            if child.poll() is None:
                child.send_signal(signal.SIGINT)
            try:
                child.wait(timeout=END_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def last_line(folder: Path, command: str) -> str:
    """The last thing that a process said."""
    lines = (folder / f"{command}.log").read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "nothing was said"
