"""Messages → types. Duck-typed and free of ROS imports: rclpy's messages and those of a bag reader.

The other direction, which needs the message classes, is `aqr_perception.ros.messages`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aqr_perception.geometry import rigid
from aqr_perception.geometry.boxes import Boxes3D
from aqr_perception.geometry.camera import PinholeCamera
from aqr_perception.ros.pictures import pixels_from_message
from aqr_perception.ros.point_cloud import cloud_from_message, cloud_note
from aqr_perception.types import CLASS_NAMES, Detections

FARTHEST_M = 1e8
"""No frame is farther from another [m]: more than the Earth's girth."""

__all__ = ["camera_from_message", "cloud_from_message", "cloud_note", "detections_from_message",
           "matrix_from_message", "pixels_from_message", "stamp_to_ns"]


def stamp_to_ns(stamp: Any) -> int:
    """``builtin_interfaces/Time`` → nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def matrix_from_message(transform: Any) -> rigid.Matrix:
    """``geometry_msgs/Transform`` → (4, 4) transform from the child frame into the parent frame.

    Raises:
        ValueError: The rotation has no direction, or a value is not finite or beyond any distance.
    """
    t, q = transform.translation, transform.rotation
    matrix = rigid.from_translation_quaternion([t.x, t.y, t.z], [q.x, q.y, q.z, q.w])
    if not (np.abs(matrix) <= FARTHEST_M).all():  # nor what is not a number
        raise ValueError(f"translation {[t.x, t.y, t.z]} is not finite, or farther than "
                         f"{FARTHEST_M:g} m")
    return matrix


def camera_from_message(message: Any) -> PinholeCamera:
    """``sensor_msgs/CameraInfo`` → the camera of the image as it is published.

    K, width and height of the message are those of the full sensor; the image is its region of
    interest (all zero: the whole), then binned. Neither changes the distortion, which acts on
    normalised coordinates.

    Raises:
        ValueError: The camera is not calibrated (K is zero), the distortion model is unknown or
            has a wrong number of coefficients, or the region lies outside of the sensor.
    """
    camera = PinholeCamera(
        int(message.width), int(message.height),
        np.asarray(message.k, dtype=np.float64).reshape(3, 3),
        message.distortion_model or "plumb_bob", np.asarray(message.d, dtype=np.float64))
    roi = message.roi
    if roi.width or roi.height:
        if (roi.x_offset + roi.width > camera.width or roi.y_offset + roi.height > camera.height
                or not roi.width * roi.height):
            raise ValueError(
                f"the region of interest {roi.width}×{roi.height} at ({roi.x_offset}, "
                f"{roi.y_offset}) does not lie in the image of {camera.width}×{camera.height}")
        camera = camera.cropped(roi.x_offset, roi.y_offset, int(roi.width), int(roi.height))
    across, down = max(int(message.binning_x), 1), max(int(message.binning_y), 1)
    if across == down == 1:
        return camera
    intrinsics = np.diag([1 / across, 1 / down, 1.0]) @ camera.intrinsics
    return PinholeCamera(camera.width // across, camera.height // down, intrinsics,
                         camera.distortion_model, camera.distortion)


def detections_from_message(message: Any) -> Detections:
    """``vision_msgs/Detection3DArray`` → Detections, in the message's order.

    The message has no place for velocities: they come back as NaN.

    Raises:
        ValueError: A class is not one of `CLASS_NAMES`, or a detection names none.
    """
    poses = [detection.bbox.center for detection in message.detections]
    labels = []
    for index, detection in enumerate(message.detections):
        name = detection.results[0].hypothesis.class_id if len(detection.results) else ""
        if name not in CLASS_NAMES:
            raise ValueError(f"detection {index} has the class '{name}'; expected one of "
                             f"{', '.join(CLASS_NAMES)}")
        labels.append(CLASS_NAMES.index(name))
    quaternions = np.array([[q.x, q.y, q.z, q.w] for q in (pose.orientation for pose in poses)])
    x, y, z, w = quaternions.reshape(-1, 4).T
    boxes = Boxes3D(
        center=np.array([[p.x, p.y, p.z] for p in (pose.position for pose in poses)]
                        ).reshape(-1, 3),
        size=np.array([[s.x, s.y, s.z] for s in (d.bbox.size for d in message.detections)]
                      ).reshape(-1, 3),
        yaw=np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)),
        velocity=np.full((len(poses), 2), np.nan))
    scores = [detection.results[0].hypothesis.score for detection in message.detections]
    return Detections(stamp_to_ns(message.header.stamp), message.header.frame_id, boxes,
                      np.array(scores, np.float32), np.array(labels, np.int64))
