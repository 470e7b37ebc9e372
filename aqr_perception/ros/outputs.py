"""The node's publishers."""

from __future__ import annotations

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, PointCloud2
from vision_msgs.msg import Detection3DArray, LabelInfo, VisionInfo
from visualization_msgs.msg import MarkerArray

from aqr_perception import __version__
from aqr_perception.ros.markers import markers_of
from aqr_perception.ros.messages import (
    detections_to_message,
    label_info,
    picture_to_message,
    values_to_message,
    velocities_to_message,
    vision_info,
)
from aqr_perception.ros.run_time import values_of
from aqr_perception.types import Controls, Detections

RESULT_QOS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
PICTURE_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
LATCHED_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                         durability=DurabilityPolicy.TRANSIENT_LOCAL)

CALIBRATION_TOPIC = "~/debug/calibration"


class Outputs:
    """Publishes while the node is active; the life cycle of the node holds the publishers back."""

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        create = node.create_lifecycle_publisher
        self._detections = create(Detection3DArray, "~/output/detections", RESULT_QOS)
        self._velocities = create(PointCloud2, "~/output/velocities", RESULT_QOS)
        self._controls = create(DiagnosticArray, "~/output/controls", RESULT_QOS)
        self._markers = create(MarkerArray, "~/output/markers", PICTURE_QOS)
        self._calibration = create(Image, CALIBRATION_TOPIC, PICTURE_QOS)
        self._label_info = create(LabelInfo, "~/output/label_info", LATCHED_QOS)
        self._vision_info = create(VisionInfo, "~/output/vision_info", LATCHED_QOS)

    def announce(self, score_threshold: float) -> None:
        """Say for late joiners too what is detected, and by what."""
        now_ns = self._node.get_clock().now().nanoseconds
        self._label_info.publish(label_info(now_ns, "", score_threshold))
        self._vision_info.publish(vision_info(
            now_ns, "", f"aqr_perception {__version__}", self._label_info.topic_name))

    def publish(self, detections: Detections, controls: Controls) -> None:
        """Publish one frame's result; all but the detections only where somebody listens.

        Args:
            detections: Of the frame.
            controls: What they were made with.
        """
        self._detections.publish(detections_to_message(detections))
        if self._velocities.get_subscription_count():
            self._velocities.publish(velocities_to_message(detections))
        if self._controls.get_subscription_count():
            self._controls.publish(values_to_message(
                detections.stamp_ns, detections.frame_id, f"{self._node.get_name()}: controls",
                values_of(controls)))
        if self._markers.get_subscription_count():
            self._markers.publish(markers_of(detections))

    def calibration_wanted(self) -> bool:
        """Whether somebody listens to the pictures of `publish_calibration`; from any thread."""
        return bool(self._calibration.get_subscription_count())

    def publish_calibration(self, picture: NDArray[np.uint8], stamp_ns: int, frame_id: str) -> None:
        """Publish the LiDAR drawn on the images.

        Args:
            picture: (H, W, 3) BGR.
            stamp_ns: The frame's time [ns].
            frame_id: Its LiDAR frame.
        """
        self._calibration.publish(picture_to_message(picture, stamp_ns, frame_id))

    def destroy(self) -> None:
        """Take the publishers off the node."""
        for publisher in (self._detections, self._velocities, self._controls, self._markers,
                          self._calibration, self._label_info, self._vision_info):
            self._node.destroy_lifecycle_publisher(publisher)
