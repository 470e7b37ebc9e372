"""Steps with stamps, and the tools that they run."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bootstrapping.places import LOG, STAMPS, UNDERLAY

STARTED = time.monotonic()
# Never part of what is installed.
ASIDE = {"test", "__pycache__", ".pytest_cache", ".hypothesis", ".mypy_cache", ".ruff_cache"}


class SetupError(Exception):
    """One line for the user: what is missing and what to do."""


@dataclass(frozen=True)
class Step:
    """One thing to do; the digest stands for all that its result depends on.

    The action is told whether it was begun before and not finished.
    """

    name: str
    digest: str
    action: Callable[[bool], None]

    @property
    def stamp(self) -> Path:
        """The file that says with which digest the step was last finished."""
        return STAMPS / re.sub(r"\W+", "_", self.name)

    def is_done(self) -> bool:
        """Whether it was finished with the same digest."""
        return self.stamp.is_file() and self.stamp.read_text() == self.digest

    def run(self) -> None:
        """Do it; the stamp comes last."""
        say(f"{self.name} ...")
        started = time.monotonic()
        begun = self.stamp.with_suffix(".begun")
        interrupted = begun.exists()
        STAMPS.mkdir(parents=True, exist_ok=True)
        begun.touch()
        self.stamp.unlink(missing_ok=True)
        self.action(interrupted)
        STAMPS.mkdir(exist_ok=True)  # a new virtual environment makes all stamps void
        partial = self.stamp.with_suffix(".partial")
        partial.write_text(self.digest)
        partial.replace(self.stamp)
        begun.unlink(missing_ok=True)
        say(f"{self.name}: done in {time.monotonic() - started:.0f} s")


def digest(*facts: object) -> str:
    """One short name for a list of facts."""
    return hashlib.sha256("\0".join(map(str, facts)).encode()).hexdigest()


def file_facts(folder: Path) -> list[str]:
    """Names and contents of a package's files, without tests and what tools leave aside."""
    facts = []
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not ASIDE & set(parts) and ".egg-info" not in str(path):
            facts.append(f"{'/'.join(parts)} {hashlib.sha256(path.read_bytes()).hexdigest()}")
    return facts


def run(command: list[str], show: str | None = None, **variables: str) -> None:
    """Run a command with its output in the log; show the end of it when it fails.

    Args:
        command: Program and arguments.
        show: Lines that match this are progress and shown too.
        **variables: Added to the environment.

    Raises:
        SetupError: If it ends with a status other than 0.
    """
    lines: list[str] = []
    with LOG.open("a") as log:
        log.write(f"$ {shlex.join(command)}\n")
        # A process group of its own, so that an interruption ends all of it.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", cwd=UNDERLAY, env={**os.environ, **variables},
            start_new_session=True, close_fds=False)
        assert process.stdout is not None
        try:
            for line in process.stdout:
                log.write(line)
                lines.append(line)
                if show and re.search(show, line):
                    say(f"  {line.strip()}")
            code = process.wait()
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            end_group(process)
            raise
    if code:
        say("".join(["the last lines of its output:\n", *lines[-25:]]).rstrip())
        raise SetupError(f"'{Path(command[0]).name}' failed with status {code}; all of its output "
                         f"is in {LOG}; run this again once the cause is gone")


def end_group(process: subprocess.Popen[str]) -> None:
    """Ask a command and its children to stop; make them after five seconds."""
    for number in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(5.0)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def say(text: str) -> None:
    """A line of progress with the time since the start."""
    print(f"bootstrap [{time.monotonic() - STARTED:4.0f} s] {text}", flush=True)
