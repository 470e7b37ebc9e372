"""The virtual environment and the packages from package indices."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path

from bootstrapping.outside import Outside, importable
from bootstrapping.places import PREFIX, PYTHON, REQUIREMENTS, STAMPS, UNDERLAY, VENV
from bootstrapping.steps import SetupError, run, say

TORCH = os.environ.get("AQR_TORCH") or "torch==2.13.0"
if Path(TORCH).is_file():
    TORCH = str(Path(TORCH).resolve())
TORCH_INDEX = os.environ.get("AQR_TORCH_INDEX", "")

# Compiled packages that others on the system were built against: never replaced where they exist.
KEPT = ("numpy", "scipy", "matplotlib", "opencv-python", "opencv-python-headless", "torch")
MODULES = {"opencv-python": "cv2", "opencv-python-headless": "cv2"}
LARGE_DOWNLOAD = r"Downloading .*\((\d{2,}\.\d MB|.* GB)\)"


def make(outside: Outside) -> None:
    """Make a new one; it sees the system's packages where those are to be used.

    Whatever was built on an older one is void and removed.
    """
    mark = VENV / "made_by_aqr_perception"
    if mark.exists():
        say(f"  {mark.read_text().strip()} was before; making it anew")
    elif VENV.exists() and any(VENV.iterdir()):
        raise SetupError(f"{VENV} was not made by this script and would be overwritten; remove it, "
                         "or name another folder with AQR_VENV")
    for folder in (STAMPS, UNDERLAY / "build", PREFIX, UNDERLAY / "log"):
        shutil.rmtree(folder, ignore_errors=True)
    VENV.mkdir(parents=True, exist_ok=True)
    mark.touch()  # an interrupted one is ours, too
    see_system = outside.ros or outside.torch
    for entry in VENV.iterdir():
        if entry != mark:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    run([sys.executable, "-m", "venv", *(["--system-site-packages"] if see_system else []),
         str(VENV)])
    mark.write_text(f"{outside}\n")
    if see_system and sys.prefix != sys.base_prefix:
        # venv looks through to the base interpreter only; this one is itself a virtual environment.
        site_packages = next(VENV.glob("lib/python*/site-packages"))
        (site_packages / "outer.pth").write_text(f"{sysconfig.get_path('purelib')}\n")


def install(group: str, outside: Outside, interrupted: bool) -> None:
    """Install one requirements file at its pinned versions.

    Beside packages of the system, nothing compiled that they share (NumPy, OpenCV) is replaced; the
    pins then hold as far as they go with that, and where they do not, pip chooses.
    """
    if interrupted:
        remove_half_installed()
    lines = (REQUIREMENTS / f"{group}.txt").read_text().splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    if not (outside.ros or outside.torch):
        pip(pins(), wanted)
        return
    kept = {name: version for name in KEPT if (version := version_outside(name))}
    wanted = [line for line in wanted if project(line) in kept or project(line) not in KEPT
              or not importable(MODULES.get(project(line), project(line)))]
    held = [f"{name}=={version}" for name, version in kept.items()]
    try:
        pip([*held, *(line for line in pins() if project(line) not in kept)], wanted)
    except SetupError:
        say(f"  not all pins go with {', '.join(held)} of the system; leaving the choice to pip")
        pip(held, wanted)


def install_torch(interrupted: bool) -> None:
    """Install the pinned torch, or the one that the variables ask for.

    From a chosen index comes torch alone; what it needs may not be there.
    """
    if interrupted:
        remove_half_installed()
    if TORCH_INDEX:
        pip([], [TORCH], "--index-url", TORCH_INDEX, "--no-deps")
    pip(pins(), ["torch" if TORCH_INDEX else TORCH])


def pins() -> list[str]:
    """The exact version of everything."""
    return (REQUIREMENTS / "constraints.txt").read_text().splitlines()


def pip(constraints: Iterable[str], wanted: Sequence[str], *options: str) -> None:
    """Install requirements under constraints."""
    file = UNDERLAY / "constraints.txt"
    file.write_text("\n".join(constraints) + "\n")
    run([str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-input",
         "-c", str(file), *options, *wanted], show=LARGE_DOWNLOAD, PIP_USER="no")


def remove_half_installed() -> None:
    """Forget packages of which files are missing, as an interrupted pip leaves them.

    pip writes a package's list of files last, but takes it for installed as soon as its folder of
    metadata is there.
    """
    for folder in VENV.glob("lib/python*/site-packages/*.dist-info"):
        record = folder / "RECORD"
        names = [line.rsplit(",", 2)[0].strip('"')
                 for line in (record.read_text().splitlines() if record.exists() else []) if line]
        if not names or not all((folder.parent / name).exists() for name in names):
            say(f"  {folder.name.removesuffix('.dist-info')} is there in part; installing it again")
            shutil.rmtree(folder)


def project(requirement: str) -> str:
    """The project's name in a requirement."""
    return re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0].lower()


def version_outside(name: str) -> str | None:
    """The version of a project that the interpreter outside has, None without."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
