"""What the machine brings: its Python, a sourced ROS 2 distribution, a torch."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from bootstrapping.places import REPOSITORY, UNDERLAY, VENV
from bootstrapping.steps import SetupError

PATH_VARIABLES = ("PATH", "PYTHONPATH", "AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH", "LD_LIBRARY_PATH")


@dataclass(frozen=True)
class Outside:
    """What the interpreter that runs this finds outside of our own virtual environment."""

    ros: bool
    torch: bool
    lacking: tuple[str, ...]  # packages of underlay/ that have to be built, in order

    @classmethod
    def look(cls) -> Outside:
        """Look, without importing anything: this runs at every start."""
        ros = "AMENT_PREFIX_PATH" in os.environ and importable("rclpy")
        names = [path.parent.name for path in REPOSITORY.glob("underlay/*/package.xml")]
        lacking = [name for name in names if not ros or not importable(name)]
        return cls(ros=ros, torch=importable("torch"),  # interfaces first: the others import them
                   lacking=tuple(sorted(lacking, key=lambda name: (name[-5:] != "_msgs", name))))

    @property
    def interpreter(self) -> str:
        """All that a virtual environment depends on."""
        distribution = os.environ.get("ROS_DISTRO", "") if self.ros else ""
        return (f"{Path(sys.executable).resolve()} {sys.prefix} {sys.version} "
                f"{self.ros} {distribution} {self.torch}")

    def __str__(self) -> str:
        name = f"ROS 2 {os.environ.get('ROS_DISTRO', '')}".strip()
        ros = f"{name} as sourced" if self.ros else "ROS 2 from wheels"
        torch = "torch of the system" if self.torch else "torch of its own"
        return f"Python {sys.version.split()[0]}, {ros}, {torch}"


def importable(name: str) -> bool:
    """Whether the interpreter outside has a module; a mere folder of that name does not count."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None


def leave_own_environment() -> None:
    """Start again with the interpreter and paths outside, where env.sh was sourced before.

    Otherwise our own wheels would look like a distribution.
    """
    environment = dict(os.environ)
    for variable in PATH_VARIABLES:
        parts = [part for part in environment.pop(variable, "").split(os.pathsep)
                 if part and part != str(REPOSITORY)
                 and not part.startswith((str(VENV) + os.sep, str(UNDERLAY) + os.sep))
                 and part != str(VENV)]
        if parts:
            environment[variable] = os.pathsep.join(parts)
    inside = Path(sys.prefix).resolve() == VENV.resolve()
    changed = any(environment.get(name) != os.environ.get(name) for name in PATH_VARIABLES)
    if not (inside or changed) or "_AQR_BOOTSTRAP_OUTSIDE" in environment:
        return
    environment["_AQR_BOOTSTRAP_OUTSIDE"] = "1"
    interpreter = sys.executable
    if inside:
        environment.pop("VIRTUAL_ENV", None)
        home = re.search(r"^home *= *(.+)$", (VENV / "pyvenv.cfg").read_text(), re.MULTILINE)
        interpreter = str(Path(home[1]) / "python3") if home else "python3"
    os.execve(interpreter, [interpreter, *sys.argv], environment)


def check_python() -> None:
    """The interpreter that runs this is the one that everything is installed for."""
    if not (3, 10) <= sys.version_info[:2] <= (3, 14):
        raise SetupError(f"this is Python {sys.version.split()[0]} ({sys.executable}); expected "
                         "3.10 to 3.14; put one of these first on the PATH as python3")


def check_tools(outside: Outside) -> None:
    """What a set-up needs and pip cannot bring."""
    if not outside.ros and (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise SetupError(f"no ROS 2 is sourced, and its wheels exist for Linux on x86_64 only, not "
                         f"for {platform.system()} on {platform.machine()}; install a ROS 2 "
                         "distribution and source it")
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            raise SetupError(f"{sys.executable} has no module '{module}'; install python3-venv")
    if any(name.endswith("_msgs") for name in outside.lacking):
        for compiler in ("gcc", "g++"):
            if shutil.which(compiler) is None:
                raise SetupError(f"{compiler} is not on the PATH; install a C and C++ compiler")
        if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
            raise SetupError(f"{sys.executable} has no C headers; install python3-dev")
    for module, there in (("rclpy", outside.ros), ("torch", outside.torch)):
        if not there:
            continue
        trial = subprocess.run([sys.executable, "-c", f"import {module}"], check=False,
                               capture_output=True, text=True)
        if trial.returncode:
            last = (trial.stderr.strip().splitlines() or ["no message"])[-1]
            raise SetupError(f"{sys.executable} finds {module} but cannot import it ({last}); put "
                             "the Python that it belongs to first on the PATH, or take it off "
                             "PYTHONPATH")
