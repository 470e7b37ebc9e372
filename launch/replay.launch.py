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
from aqr_perception.ros.topics import input_topics
from launch import LaunchContext, LaunchDescription

SHARE = Path(get_package_share_directory("aqr_perception"))


def arguments():
    yield DeclareLaunchArgument("source", description="What to play")
    yield DeclareLaunchArgument("rate", default_value="1.0",
                                description="Seconds of the recording in one second")
    yield DeclareLaunchArgument("loop", default_value="false", choices=["true", "false"],
                                description="Begin again at the end")
    yield DeclareLaunchArgument("use_compressed", default_value="false",
                                choices=["true", "false"], description="Play CompressedImage")
    yield DeclareLaunchArgument("cameras", default_value=",".join(NUSCENES_CAMERAS),
                                description="Names of the recording's cameras, as in params_file")
    yield DeclareLaunchArgument("params_file",
                                default_value=str(SHARE / "config" / "perception.yaml"),
                                description="File of the node's parameters")
    yield DeclareLaunchArgument("weights", default_value="",
                                description="File of weights; empty: as params_file says")
    yield DeclareLaunchArgument("device", default_value="",
                                description="auto, cpu, cuda or cuda:N; empty: as params_file says")
    yield DeclareLaunchArgument("rviz", default_value="true", choices=["true", "false"],
                                description="Show points, images and detections in rviz")


def player(context: LaunchContext):
    def value(name: str):
        return LaunchConfiguration(name).perform(context)

    command = [sys.executable, "-m", "aqr_perception", "play", value("source"), "--clock",
               "--rate", value("rate"), "--wait-for-subscribers", "120"]
    command += ["--loop"] if value("loop") == "true" else []
    command += ["--compressed"] if value("use_compressed") == "true" else []
    topics = {f"{name}_topic": topic
              for name, topic in input_topics(tuple(value("cameras").split(","))).items()}
    passed = {name: LaunchConfiguration(name)
              for name in ("params_file", "weights", "device", "use_compressed", "rviz")}
    return [
        ExecuteProcess(cmd=command, output="screen"),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(str(SHARE / "launch" / "perception.launch.py")),
            launch_arguments={"use_sim_time": "true", **passed, **topics}.items())]


def generate_launch_description():
    return LaunchDescription([*arguments(), OpaqueFunction(function=player)])
