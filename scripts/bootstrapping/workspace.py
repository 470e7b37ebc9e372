"""ROS packages that are built here, and the environment that finds them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from bootstrapping.outside import Outside
from bootstrapping.places import PREFIX, PYTHON, REPOSITORY, STAMPS, UNDERLAY, VENV
from bootstrapping.steps import run
from bootstrapping.virtual_environment import pins, pip

BUILD = UNDERLAY / "build"
OWN_PACKAGE = "aqr_perception"


def repair_cmake_exports() -> None:
    """Point the wheels' CMake exports at this machine.

    They carry the include folders of the machine that built them: Python's and NumPy's.
    """
    numpy_include = subprocess.run(
        [str(PYTHON), "-c", "import numpy; print(numpy.get_include())"],
        check=True, capture_output=True, text=True).stdout.strip()
    here = {r"/opt/python/[^;\"\s)]*/numpy/_core/include": numpy_include,
            r"/opt/python/[^;\"\s)]*/include/python3\.\d+": sysconfig.get_path("include")}
    for export in VENV.glob("share/*/cmake/*.cmake"):
        text = fixed = export.read_text()
        for pattern, folder in here.items():
            fixed = re.sub(pattern, folder.replace("\\", r"\\"), fixed)
        if fixed != text:
            export.write_text(fixed)


def clear_of_others(outside: Outside) -> None:
    """Start the workspace anew if it holds a package that is not to be built any more.

    Else it would hide the distribution's own. Packages share one prefix and cannot be removed from
    it one by one.
    """
    built = {path.parent.name for path in BUILD.glob("*/colcon_build.rc")}
    if built - set(outside.lacking) - {OWN_PACKAGE}:
        for folder in (BUILD, PREFIX):
            shutil.rmtree(folder, ignore_errors=True)
        for stamp in [*STAMPS.glob("underlay_*"), STAMPS / OWN_PACKAGE]:
            stamp.unlink(missing_ok=True)


def colcon_build(folder: Path, interrupted: bool, *options: str) -> None:
    """Build one package into the prefix."""
    if interrupted:
        name = OWN_PACKAGE if folder == REPOSITORY else folder.name
        shutil.rmtree(BUILD / name, ignore_errors=True)
    path = f"{VENV / 'bin'}{os.pathsep}{os.environ['PATH']}"
    if (folder / "CMakeLists.txt").exists() and not shutil.which("cmake", path=path):
        pip(pins(), ["cmake", "ninja"])
    write_environment(environment_text(Outside.look()))
    jobs = str(min(2, os.cpu_count() or 1))
    run(["sh", "-c", '. "$0" && exec "$@"', str(UNDERLAY / "env.sh"),
         # Not the script "colcon": this one builds for our own interpreter, whosever colcon it is.
         str(PYTHON), "-c", "from colcon_core.command import main; raise SystemExit(main())",
         "--log-base", str(UNDERLAY / "log"), "build", "--merge-install", *options,
         "--build-base", str(BUILD), "--install-base", str(PREFIX), "--paths", str(folder),
         "--cmake-args", *(["-GNinja"] if shutil.which("ninja", path=path) else []),
         "-DBUILD_TESTING=OFF", "-DCMAKE_POLICY_VERSION_MINIMUM=3.10",
         f"-DPython3_EXECUTABLE={PYTHON}"],
        COLCON_HOME=str(UNDERLAY / "colcon"),
        # With -j given, colcon adds no limit by load, which starves a build on a busy machine.
        MAKEFLAGS=f"-j{jobs}", CMAKE_BUILD_PARALLEL_LEVEL=jobs)


def build_own_package(interrupted: bool) -> None:
    """Build the package itself, linked to its sources.

    setuptools puts a path with a space in quotes after "#!", which no kernel understands; a line of
    shell, which Python takes for a string, does.
    """
    colcon_build(REPOSITORY, interrupted, "--symlink-install")
    for script in (PREFIX / "lib" / OWN_PACKAGE).iterdir():
        first, _, rest = script.read_text().partition("\n")
        if first.startswith('#!"'):
            script.write_text(f"#!/bin/sh\n'''exec' {first[2:]} \"$0\" \"$@\"\n' '''\n{rest}")


def environment_text(outside: Outside) -> str:
    """What a shell (sh, bash, zsh) sources to use all of it; the scripts do."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    prefixes = [PREFIX] if outside.ros else [PREFIX, VENV]
    # Where Python packages of a prefix go is for the distribution to say; Debian's is another.
    packages = [PREFIX / "lib" / version / "site-packages", PREFIX / "lib/python3/dist-packages",
                PREFIX / "local/lib" / version / "dist-packages"]
    lines = ["# Made by scripts/bootstrap. Source it to use the package from this shell.",
             r'_aqr_prepend() { eval "case \":\${$1-}:\" in *\":\$2:\"*) ;;'
             r' *) export $1=\"\$2\${$1:+:\$$1}\" ;; esac"; }']
    for variable, values in (
            ("PATH", [PREFIX / "bin", VENV / "bin"]),
            ("AMENT_PREFIX_PATH", prefixes),
            ("CMAKE_PREFIX_PATH", prefixes),
            ("LD_LIBRARY_PATH", [path / "lib" for path in prefixes]),
            ("PYTHONPATH", [REPOSITORY, BUILD / OWN_PACKAGE, *packages])):
        lines += [f"_aqr_prepend {variable} {shlex.quote(str(path))}" for path in reversed(values)]
    if not outside.ros:
        # What the wheels' start-up hook would do, which starts Python a second time for it.
        libraries = shlex.quote(str(VENV / "lib" / version / "site-packages"))
        lines += [f"for _aqr_folder in {libraries}/ros_*.libs; do",
                  '  _aqr_prepend LD_LIBRARY_PATH "$_aqr_folder"', "done",
                  "export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1"]
    profile = shlex.quote(str(REPOSITORY / "config" / "fastdds.xml"))
    ask = '[ -z "${FASTDDS_DEFAULT_PROFILES_FILE-}${FASTRTPS_DEFAULT_PROFILES_FILE-}" ]'
    lines += ["unset -f _aqr_prepend",
              f"export VIRTUAL_ENV={shlex.quote(str(VENV))}",
              'export RMW_IMPLEMENTATION="${RMW_IMPLEMENTATION:-rmw_fastrtps_cpp}"',
              f"if {ask}; then",
              f"  export FASTDDS_DEFAULT_PROFILES_FILE={profile}",
              # its name in Humble; later releases warn when it is set
              '  [ "${ROS_DISTRO-}" != humble ] || '
              f"export FASTRTPS_DEFAULT_PROFILES_FILE={profile}", "fi"]
    return "\n".join(lines) + "\n"


def write_environment(text: str) -> None:
    """Replace env.sh in one go: a script may be reading it."""
    partial = UNDERLAY / "env.sh.partial"
    partial.write_text(text)
    partial.replace(UNDERLAY / "env.sh")
