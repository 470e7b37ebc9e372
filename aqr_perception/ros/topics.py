"""Names of the topics that recordings carry, by sensor.

`play` and `to-bag` use them, and the node's command line maps its inputs to them.
"""

from __future__ import annotations

from collections.abc import Mapping

LIDAR_FRAME = "LIDAR_TOP"
BASE_FRAME = "base_link"
FIXED_FRAME = "odom"
GROUND_TRUTH = "/ground_truth/detections"
TF = "/tf"
TF_STATIC = "/tf_static"


def image_topic(camera: str) -> str:
    """Where a camera's Image goes."""
    return f"/{camera}/image_raw"


def compressed_topic(camera: str) -> str:
    """Where its CompressedImage goes: below the image, as image_transport has it."""
    return f"{image_topic(camera)}/compressed"


def camera_info_topic(camera: str) -> str:
    """Where its CameraInfo goes."""
    return f"/{camera}/camera_info"


def points_topic(lidar_frame: str = LIDAR_FRAME) -> str:
    """Where the cloud goes."""
    return f"/{lidar_frame}/points"


def input_topics(cameras: tuple[str, ...]) -> Mapping[str, str]:
    """Topic by the name of the node's input below ``~/input/``."""
    topics = {"pointcloud": points_topic()}
    for index, camera in enumerate(cameras):
        topics[f"image{index}"] = image_topic(camera)
        topics[f"camera_info{index}"] = camera_info_topic(camera)
    return topics
