"""Imports go down the levels of docs/architecture.md, ROS stays in ros/, torch stays out of sight.

Everything is read from the sources: nothing is imported here.
"""

from __future__ import annotations

import re
import sys

import pytest
from source_imports import PACKAGE, REPOSITORY, imports_of, modules

LEVELS = {
    "geometry": 0, "image_file": 0, "types": 1,
    "model": 2, "recordings": 2, "simulation": 2, "evaluation": 2, "visualization": 2,
    "training": 3, "runtime": 3,
    "ros": 4, "experiment": 4, "cli": 5, "__main__": 6,
}
THIRD_PARTY = {"numpy", "cv2", "scipy", "torch", "yaml", "safetensors", "rosbags", "tqdm",
               "matplotlib", "tensorboard", "trimesh", "embreex", "spconv", "cumm"}
ROS = {"rclpy", "cv_bridge", "message_filters", "sensor_msgs_py", "tf2_ros", "builtin_interfaces",
       "diagnostic_msgs", "geometry_msgs", "lifecycle_msgs", "nav_msgs", "rcl_interfaces",
       "rosgraph_msgs", "sensor_msgs", "std_msgs", "tf2_msgs", "vision_msgs", "visualization_msgs",
       "rosidl_runtime_py", "ament_index_python"}
# These start, and fail, without a second of torch's start-up before their first word.
WITHOUT_TORCH = ("types", "geometry", "recordings", "simulation", "evaluation", "visualization",
                 "cli", "runtime.synchronizer", "runtime.reasons", "runtime.health", "ros.play")

MODULES = modules()


def part_of(module: str) -> str:
    """The part of the package that a module belongs to; empty for the package itself."""
    return module.split(".")[1] if "." in module else ""


def resolve(name: str) -> str | None:
    """The module of ours that an imported name lies in, None for a foreign one."""
    while name not in MODULES and "." in name:
        name = name.rpartition(".")[0]
    return name if name in MODULES else None


def test_every_part_has_a_level() -> None:
    assert {part_of(module) for module in MODULES} - {""} <= set(LEVELS)


def test_imports_go_down() -> None:
    wrong = []
    for module, path in MODULES.items():
        mine = part_of(module)
        for entry in imports_of(path) if mine else []:
            target = resolve(entry.name)
            theirs = part_of(target) if target else ""
            if theirs and theirs != mine and LEVELS[theirs] >= LEVELS[mine]:
                wrong.append(f"{module}, line {entry.line}: {mine} imports {theirs}")
    assert not wrong


def test_only_known_packages_are_imported_and_ros_only_under_ros() -> None:
    wrong = []
    for module, path in MODULES.items():
        for entry in imports_of(path):
            allowed = {PACKAGE} | THIRD_PARTY | sys.stdlib_module_names
            if part_of(module) == "ros":
                allowed |= ROS
            elif part_of(module) == "cli" and not entry.at_module_level:
                allowed |= {"rclpy"}  # a command may start and stop what it runs
            if entry.top not in allowed:
                wrong.append(f"{module}, line {entry.line}: {entry.name}")
    assert not wrong


def loaded_with(module: str, seen: dict[str, str]) -> dict[str, str]:
    """All modules of ours that importing this one runs, each with the one that asked for it."""
    for entry in imports_of(MODULES[module]):
        target = resolve(entry.name) if entry.at_module_level else None
        while target:
            if target not in seen:
                seen[target] = module
                loaded_with(target, seen)
            target = target.rpartition(".")[0]
    return seen


@pytest.mark.parametrize("start", WITHOUT_TORCH)
def test_importing_light_parts_does_not_import_torch(start: str) -> None:
    prefix = f"{PACKAGE}.{start}"
    starts = [name for name in MODULES if name == prefix or name.startswith(prefix + ".")]
    assert starts, f"{prefix} is no module any more"
    wrong = []
    for module in starts:
        loaded = loaded_with(module, {module: module})
        wrong += [f"{module} loads {name} (through {by}), which imports torch in line {entry.line}"
                  for name, by in loaded.items() for entry in imports_of(MODULES[name])
                  if entry.at_module_level and entry.top == "torch"]
    assert not wrong


def test_stand_ins_know_nothing_of_the_package() -> None:
    sources = list((REPOSITORY / "underlay").glob("*/**/*.py"))
    assert sources
    imported = re.compile(rf"^\s*(from|import) {PACKAGE}\b", re.MULTILINE)
    assert not [str(path) for path in sources if imported.search(path.read_text())]


def test_test_modules_have_names_of_their_own():
    """pytest imports them by their bare names; two of one name stop the whole run."""
    names = [path.name for pattern in ("test/**/*.py", "underlay/*/test/*.py")
             for path in REPOSITORY.glob(pattern)
             if path.name not in ("conftest.py", "__init__.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []
