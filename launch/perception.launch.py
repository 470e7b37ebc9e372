"""The detector node. Include it in your own launch file and set its arguments there."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription

CAMERAS = 6
CONFIG = Path(get_package_share_directory("aqr_perception")) / "config"
YES_NO = ["true", "false"]

# Input or output of the node → what it is; each can be given another topic.
TOPICS = {
    "input/pointcloud": "the point cloud",
    **{f"input/image{i}": f"the image of camera {i} (compressed: the name without /compressed)"
       for i in range(CAMERAS)},
    **{f"input/camera_info{i}": f"the calibration of camera {i}" for i in range(CAMERAS)},
    "output/detections": "the detections",
    "output/velocities": "the detections' velocities",
    "output/controls": "the values that each frame was made with",
    "output/markers": "the boxes for rviz",
    "debug/calibration": "the LiDAR drawn on the images",
}
# What stands in the rviz configuration → the node's topic that it shows.
SHOWN = {"/LIDAR_TOP/points": "input/pointcloud", "/CAM_FRONT/image_raw": "input/image0",
         "/detector/output/markers": "output/markers",
         "/detector/output/velocities": "output/velocities",
         "/detector/debug/calibration": "debug/calibration"}
# Arguments that set a parameter of the node where they are not empty.
OVERRIDES = {
    "weights": "File of weights",
    "device": "auto, cpu, cuda or cuda:N",
    "output_frame": "tf frame of the detections",
}


def topic_argument(topic: str):
    return topic.split("/")[1] + "_topic"


def arguments():
    yield DeclareLaunchArgument(
        "params_file", default_value=str(CONFIG / "perception.yaml"),
        description="File of the node's parameters")
    yield DeclareLaunchArgument(
        "namespace", default_value="", description="Namespace of the node and of rviz")
    for name, meaning in OVERRIDES.items():
        yield DeclareLaunchArgument(
            name, default_value="", description=f"{meaning}; empty: as params_file says")
    yield DeclareLaunchArgument(
        "use_compressed", default_value="", choices=["", *YES_NO],
        description="Read CompressedImage (true) or Image (false); empty: as params_file says")
    yield DeclareLaunchArgument(
        "use_sim_time", default_value="", choices=["", *YES_NO],
        description="Take the time from /clock; empty: as params_file says")
    yield DeclareLaunchArgument(
        "autostart", default_value="", choices=["", *YES_NO],
        description="Configure and activate the node; false leaves that to a lifecycle manager; "
                    "empty: as params_file says")
    yield DeclareLaunchArgument(
        "log_level", default_value="info", choices=["debug", "info", "warn", "error", "fatal"],
        description="What the node logs")
    yield DeclareLaunchArgument(
        "respawn", default_value="false", choices=YES_NO,
        description="Start the node again, 2 s after it has died")
    yield DeclareLaunchArgument(
        "rviz", default_value="false", choices=YES_NO,
        description="Show points, a camera and detections in rviz")
    yield DeclareLaunchArgument(
        "rviz_config", default_value=str(CONFIG / "aqr.rviz"), description="What rviz shows")
    yield DeclareLaunchArgument(
        "rviz_fixed_frame", default_value="",
        description="tf frame that rviz draws in; empty: as rviz_config says")
    for topic, meaning in TOPICS.items():
        yield DeclareLaunchArgument(
            topic_argument(topic), default_value=f"~/{topic}", description=f"Topic of {meaning}")


def nodes(context: LaunchContext):
    """Make the nodes; an argument left empty does not override the file of parameters."""
    def value(name: str):
        return LaunchConfiguration(name).perform(context)

    topics = {topic: value(topic_argument(topic)) for topic in TOPICS}
    overrides: dict[str, object] = {
        name: ParameterValue(value(name), value_type=str) for name in OVERRIDES if value(name)}
    if value("use_compressed"):
        overrides["image_transport"] = "compressed" if value("use_compressed") == "true" else "raw"
    overrides |= {name: value(name) == "true" for name in ("use_sim_time", "autostart")
                  if value(name)}
    yield Node(
        package="aqr_perception", executable="detector", name="detector",
        namespace=value("namespace"), output="screen", emulate_tty=True,
        respawn=value("respawn") == "true", respawn_delay=2.0,
        sigterm_timeout="35",  # it lets the frame at work finish, for which it takes up to 30 s
        parameters=[value("params_file"), *([overrides] if overrides else [])],
        remappings=[(f"~/{topic}", name) for topic, name in topics.items() if name != f"~/{topic}"],
        arguments=["--ros-args", "--log-level", value("log_level")])
    if value("rviz") == "true":
        frame = value("rviz_fixed_frame")
        yield Node(
            package="rviz2", executable="rviz2", namespace=value("namespace"),
            arguments=["-d", value("rviz_config"), *(["-f", frame] if frame else [])],
            parameters=[{"use_sim_time": value("use_sim_time") == "true"}],
            # "~" of another node is relative to the namespace that rviz shares with it.
            remappings=[(shown, topics[topic].replace("~", "detector", 1))
                        for shown, topic in SHOWN.items()])


def generate_launch_description():
    return LaunchDescription([*arguments(),
                              OpaqueFunction(function=lambda context: list(nodes(context)))])
