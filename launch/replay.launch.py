"""A recording (frame directory, folder of them, or bag), the detector, and rviz."""

import sys
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

from aqr_perception.recordings.rig import NUSCENES_CAMERAS
from aqr_perception.ros.bag import is_bag
from aqr_perception.ros.topics import input_topics
from launch import LaunchContext, LaunchDescription

SHARE = Path(get_package_share_directory("aqr_perception"))
YES_NO = ["true", "false"]
WAIT_S = "120"
"""How long the player waits for the node: a large network takes time to load."""

# Arguments that perception.launch.py takes as they are → default, meaning, choices.
PASSED_ON = {
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
    yield DeclareLaunchArgument("source", description="What to play")
    yield DeclareLaunchArgument("rate", default_value="1.0",
                                description="Seconds of the recording in one second")
    yield DeclareLaunchArgument("loop", default_value="false", choices=YES_NO,
                                description="Begin again at the end")
    yield DeclareLaunchArgument("cameras", default_value=",".join(NUSCENES_CAMERAS),
                                description="Names of the recording's cameras, as in params_file")
    for name, (default, meaning, choices) in PASSED_ON.items():
        yield DeclareLaunchArgument(name, default_value=default, choices=choices,
                                    description=meaning)


def player_and_node(context: LaunchContext):
    def value(name: str):
        return LaunchConfiguration(name).perform(context)

    command = [sys.executable, "-m", "aqr_perception", "play", value("source"), "--clock",
               "--rate", value("rate"), "--wait-for-subscribers", WAIT_S]
    command += ["--loop"] if value("loop") == "true" else []
    if value("use_compressed") == "true" and not is_bag(value("source")):
        command += ["--compressed"]  # a bag goes out as it is
    topics = {f"{name}_topic": topic
              for name, topic in input_topics(tuple(value("cameras").split(","))).items()}
    passed = {name: LaunchConfiguration(name) for name in PASSED_ON}
    return [
        ExecuteProcess(cmd=command, name="player", output="screen"),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(str(SHARE / "launch" / "perception.launch.py")),
            launch_arguments={"use_sim_time": "true", **passed, **topics}.items())]


def generate_launch_description():
    return LaunchDescription([*arguments(), OpaqueFunction(function=player_and_node)])
