"""A simulated drive: renders it, unless that was done before; then plays it to the detector."""

import os
import sys
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

from aqr_perception.simulation.cache import drive_path
from launch import LaunchContext, LaunchDescription

SHARE = Path(get_package_share_directory("aqr_perception"))
YES_NO = ["true", "false"]
DRIVES = Path(os.environ.get("ROS_HOME", Path.home() / ".ros")) / "aqr_perception" / "drives"

# Arguments that replay.launch.py takes as they are → default, meaning, choices.
PASSED_ON = {
    "rate": ("1.0", "Seconds of the drive in one second", None),
    "loop": ("true", "Begin again at the end", YES_NO),
    "params_file": (str(SHARE / "config" / "perception.yaml"), "File of the node's parameters",
                    None),
    "namespace": ("", "Namespace of the node and of rviz", None),
    "weights": ("", "File of weights; empty: as params_file says", None),
    "device": ("", "auto, cpu, cuda or cuda:N; empty: as params_file says", None),
    "output_frame": ("", "tf frame of the detections; empty: as params_file says", None),
    "use_compressed": ("false", "Play and read CompressedImage", YES_NO),
    "log_level": ("info", "What the node logs", ["debug", "info", "warn", "error", "fatal"]),
    "respawn": ("false", "Start the node again, 2 s after it has died", YES_NO),
    "rviz": ("true", "Show points, a camera and detections in rviz", YES_NO),
    "rviz_config": (str(SHARE / "config" / "aqr.rviz"), "What rviz shows", None),
    "rviz_fixed_frame": ("", "tf frame that rviz draws in; empty: as rviz_config says", None),
}


def arguments():
    yield DeclareLaunchArgument("seed", default_value="0",
                                description="Which drive: the same number gives the same drive")
    yield DeclareLaunchArgument("frames", default_value="20", description="Length of the drive")
    yield DeclareLaunchArgument("frames_per_second", default_value="2.0",
                                description="Frames in a second of the drive")
    yield DeclareLaunchArgument("size", default_value="800x450", description="Of the pictures")
    yield DeclareLaunchArgument("drives", default_value=str(DRIVES),
                                description="Folder that rendered drives are kept in")
    for name, (default, meaning, choices) in PASSED_ON.items():
        yield DeclareLaunchArgument(name, default_value=default, choices=choices,
                                    description=meaning)


def render_then_play(context: LaunchContext):
    def value(name: str):
        return LaunchConfiguration(name).perform(context)

    # A folder for each form of a drive: `simulate` leaves alone what is there already.
    folder = Path(value("drives")) / "_".join(map(value, ("size", "frames", "frames_per_second")))
    render = ExecuteProcess(
        cmd=[sys.executable, "-m", "aqr_perception", "simulate", str(folder), "--format", "frames",
             "--seed", value("seed"), "--frames", value("frames"), "--size", value("size"),
             "--rate", value("frames_per_second")],
        name="simulate", output="screen")
    play = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch" / "replay.launch.py")),
        launch_arguments={
            "source": str(drive_folder(folder, int(value("seed")))),
            **{name: LaunchConfiguration(name) for name in PASSED_ON}}.items())

    return [RegisterEventHandler(OnProcessExit(
        target_action=render, on_exit=lambda event, _: after_rendering(event, play))), render]


def drive_folder(folder: Path, seed: int):
    """Where `simulate` puts the frames of a drive."""
    return folder / drive_path(folder, seed).stem


def after_rendering(event: ProcessExited, play: IncludeLaunchDescription):
    if event.returncode == 0:
        return play
    return EmitEvent(event=Shutdown(reason="the drive could not be rendered"))


def generate_launch_description():
    return LaunchDescription([*arguments(), OpaqueFunction(function=render_then_play)])
