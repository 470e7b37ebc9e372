"""The launch files: they compile everywhere; where ROS 2's launch is installed, they are made."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from source_imports import REPOSITORY

FILES = sorted((REPOSITORY / "launch").glob("*.launch.py"))
ARGUMENTS = {
    "perception": {"params_file", "namespace", "weights", "device", "output_frame", "respawn",
                   "use_sim_time", "autostart", "rviz", "image5_topic", "detections_topic"},
    "replay": {"source", "rate", "loop", "namespace", "respawn", "params_file", "rviz"},
    "simulation": {"seed", "frames", "size", "namespace", "respawn", "params_file", "rviz"}}


@pytest.fixture
def launch_ros():
    """ROS 2's packages; the repository's folder ``launch`` can be imported too, and is not it."""
    pytest.importorskip("launch.launch_description",
                        reason="ROS 2's launch is in no package index; a distribution has it")
    pytest.importorskip("launch_ros.actions", reason="launch_ros is not installed")
    index = pytest.importorskip("ament_index_python")
    try:
        index.get_package_share_directory("aqr_perception")
    except index.PackageNotFoundError:
        pytest.skip("the package is not installed: started outside of scripts/env")


def name_of(path: Path) -> str:
    return path.name.removesuffix(".launch.py")


def description(name: str):
    module = runpy.run_path(str(REPOSITORY / "launch" / f"{name}.launch.py"))
    return module["generate_launch_description"]()


def started(name: str, **given: str):
    """The processes that a launch file comes to with these arguments, and its context."""
    from launch.actions import ExecuteProcess, RegisterEventHandler

    from launch import LaunchContext

    context = LaunchContext()
    context.launch_configurations.update(given)
    processes, waiting = [], [description(name)]
    while waiting:
        entity = waiting.pop(0)
        if isinstance(entity, ExecuteProcess):  # a Node is one too
            processes.append(entity)
        elif not isinstance(entity, RegisterEventHandler):
            waiting = [*(entity.visit(context) or ()), *waiting]
    return context, processes


def words(context, process):
    """Its command line."""
    return ["".join(part.perform(context) for part in word) for word in process.cmd]


def test_each_file_is_known_here():
    assert set(map(name_of, FILES)) == set(ARGUMENTS)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_it_compiles(path):
    compile(path.read_text(), str(path), "exec")


@pytest.mark.parametrize("name", ARGUMENTS)
def test_it_is_made_and_every_argument_is_described(launch_ros, name):
    arguments = description(name).get_launch_arguments()
    assert {argument.name for argument in arguments} >= ARGUMENTS[name]
    for argument in arguments:
        assert argument.description != "no description given", argument.name


def test_namespace_respawn_and_overrides_reach_the_node(launch_ros, monkeypatch):
    context, (node,) = started("perception")
    assert node.node_package == "aqr_perception"
    made = []
    monkeypatch.setattr("launch_ros.actions.Node", lambda **options: made.append(options))
    module = runpy.run_path(str(REPOSITORY / "launch" / "perception.launch.py"))
    context.launch_configurations.update(
        namespace="car", respawn="true", output_frame="map", rviz="true",
        pointcloud_topic="/lidar", use_compressed="true")
    list(module["nodes"](context))
    detector, rviz = made
    context.launch_configurations |= {"rviz": "false", "autostart": "false", "output_frame": "",
                                      "use_compressed": ""}
    list(module["nodes"](context))
    assert made.pop()["parameters"][1] == {"autostart": False}
    context.launch_configurations["autostart"] = ""
    list(module["nodes"](context))
    assert len(made.pop()["parameters"]) == 1  # all is as the file of parameters says
    assert (detector["namespace"], detector["respawn"]) == ("car", True)
    assert ("~/input/pointcloud", "/lidar") in detector["remappings"]
    overrides = detector["parameters"][1]
    assert set(overrides) == {"output_frame", "image_transport"}
    assert dict(rviz["remappings"])["/LIDAR_TOP/points"] == "/lidar"
    assert dict(rviz["remappings"])["/detector/output/markers"] == "detector/output/markers"


def test_a_recording_is_played_to_a_node_that_reads_its_topics(launch_ros, tmp_path):
    context, (player, _) = started("replay", source=str(tmp_path), loop="true", rviz="false",
                                   use_compressed="true")
    player = words(context, player)
    assert player[1:5] == ["-m", "aqr_perception", "play", str(tmp_path)]
    assert {"--clock", "--loop", "--compressed"} <= set(player)
    assert context.launch_configurations["image0_topic"] == "/CAM_FRONT/image_raw"
    assert context.launch_configurations["use_sim_time"] == "true"


def test_a_bag_goes_out_as_it_is(launch_ros, tmp_path):
    (tmp_path / "metadata.yaml").touch()
    context, (player, *_) = started("replay", source=str(tmp_path), use_compressed="true")
    assert "--compressed" not in words(context, player)


def test_a_drive_is_rendered_before_it_is_played(launch_ros, tmp_path):
    from aqr_perception.simulation.cache import drive_path

    context, (render,) = started("simulation", drives=str(tmp_path), seed="7", rviz="false")
    command = words(context, render)
    assert command[:4] == [sys.executable, "-m", "aqr_perception", "simulate"]
    folder = Path(command[4])
    assert folder.parent == tmp_path
    module = runpy.run_path(str(REPOSITORY / "launch" / "simulation.launch.py"))
    assert module["after_rendering"](SimpleNamespace(returncode=2), "play") != "play"
    assert module["after_rendering"](SimpleNamespace(returncode=0), "play") == "play"
    source = module["drive_folder"](folder, 7)
    assert source == folder / drive_path(folder, 7).stem
