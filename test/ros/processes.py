"""Processes of the package under test, and what they print."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
WAIT_S = 60.0


def environment(**changes: str) -> dict[str, str]:
    """This process's, with the package on the path and few threads."""
    path = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1",
            **changes}


class Process:
    """A command that runs beside the test; both its streams are kept."""

    def __init__(self, *command: str, **variables: str) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=environment(**variables))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *error: object) -> None:
        """A test that failed leaves nothing running that the next one would hear; it shows why."""
        if error[0] is not None:
            print(self.output)
        if self._process.poll() is None:
            self.kill()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, words: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while words not in self.output:
            assert self._process.poll() is None, f"ended before '{words}':\n{self.output}"
            assert time.monotonic() < deadline, f"no '{words}' in time:\n{self.output}"
            time.sleep(0.02)

    def wait(self, timeout_s: float = WAIT_S) -> int:
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running after {timeout_s:g} s:\n{self.output}") from None
        self._reader.join(5.0)
        return code

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ask it to end, as Ctrl-C or a supervisor does; the exit status."""
        if self._process.poll() is None:
            self.send(number)
        return self.wait()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def aqr(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """``python -m aqr_perception ARGUMENTS``, to its end."""
    return subprocess.run([sys.executable, "-m", "aqr_perception", *arguments], timeout=WAIT_S,
                          capture_output=True, text=True, env=environment(**variables), check=False)
