"""The detector node. Include it in your own launch file and set its arguments there."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription

CAMERAS = 6
SHARE = Path(get_package_share_directory("aqr_perception"))

# Input or output of the node → what it is; each can be given another topic.
TOPICS = {
    "input/pointcloud": "the point cloud",
    **{f"input/image{i}": f"the image of camera {i} (compressed: the name without /compressed)"
       for i in range(CAMERAS)},
    **{f"input/camera_info{i}": f"the calibration of camera {i}" for i in range(CAMERAS)},
    "output/detections": "the detections",
}


def topic_argument(topic: str):
    return topic.split("/")[1] + "_topic"


def arguments():
    share_config = SHARE / "config"
    yield DeclareLaunchArgument(
        "params_file", default_value=str(share_config / "perception.yaml"),
        description="File of the node's parameters")
    yield DeclareLaunchArgument(
        "namespace", default_value="", description="Namespace of the node")
    yield DeclareLaunchArgument(
        "weights", default_value="",
        description="File of weights; empty: as params_file says")
    yield DeclareLaunchArgument(
        "device", default_value="",
        description="auto, cpu, cuda or cuda:N; empty: as params_file says")
    yield DeclareLaunchArgument(
        "use_compressed", default_value="", choices=["", "true", "false"],
        description="Read CompressedImage (true) or Image (false); empty: as params_file says")
    yield DeclareLaunchArgument(
        "use_sim_time", default_value="false", choices=["true", "false"],
        description="Take the time from /clock")
    yield DeclareLaunchArgument(
        "autostart", default_value="true", choices=["true", "false"],
        description="Configure and activate the node; false leaves that to a lifecycle manager")
    yield DeclareLaunchArgument(
        "log_level", default_value="info", description="debug, info, warn, error or fatal")
    yield DeclareLaunchArgument(
        "respawn", default_value="false", choices=["true", "false"],
        description="Start the node again when it has died")
    yield DeclareLaunchArgument(
        "rviz", default_value="false", choices=["true", "false"],
        description="Show points, images and detections in rviz")
    yield DeclareLaunchArgument(
        "rviz_config", default_value=str(share_config / "aqr.rviz"),
        description="What rviz shows")
    for topic, meaning in TOPICS.items():
        yield DeclareLaunchArgument(
            topic_argument(topic), default_value=f"~/{topic}", description=f"Topic of {meaning}")


def detector(context: LaunchContext):
    """Make the node; an argument left empty does not override the file of parameters."""
    def value(name: str):
        return LaunchConfiguration(name).perform(context)

    overrides = {name: value(name) for name in ("weights", "device") if value(name)}
    if value("use_compressed"):
        overrides["image_transport"] = "compressed" if value("use_compressed") == "true" else "raw"
    return [Node(
        package="aqr_perception", executable="detector", name="detector",
        namespace=value("namespace"), output="screen", emulate_tty=True,
        respawn=value("respawn") == "true", respawn_delay=2.0,
        parameters=[value("params_file"), {
            "use_sim_time": value("use_sim_time") == "true",
            "autostart": value("autostart") == "true",
            **{name: ParameterValue(text, value_type=str) for name, text in overrides.items()}}],
        remappings=[(f"~/{topic}", value(topic_argument(topic))) for topic in TOPICS
                    if value(topic_argument(topic)) != f"~/{topic}"],
        arguments=["--ros-args", "--log-level", value("log_level")])]


def generate_launch_description():
    return LaunchDescription([
        *arguments(),
        OpaqueFunction(function=detector),
        Node(package="rviz2", executable="rviz2", namespace=LaunchConfiguration("namespace"),
             arguments=["-d", LaunchConfiguration("rviz_config")],
             parameters=[{"use_sim_time": ParameterValue(
                 LaunchConfiguration("use_sim_time"), value_type=bool)}],
             condition=IfCondition(LaunchConfiguration("rviz")))])
