"""Types → messages (rclpy's classes). The other direction is `aqr_perception.ros.conversions`."""

from __future__ import annotations

import array
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Quaternion, TransformStamped, Vector3
from numpy.typing import NDArray
from sensor_msgs.msg import Image, PointCloud2, PointField
from std_msgs.msg import Header
from vision_msgs.msg import (
    Detection3D,
    Detection3DArray,
    LabelInfo,
    ObjectHypothesisWithPose,
    VisionClass,
    VisionInfo,
)

from aqr_perception.geometry import rigid
from aqr_perception.types import CLASS_NAMES, Detections

VELOCITY_FIELDS = ("x", "y", "z", "vx", "vy", "vz", "score", "label")
"""Of the cloud of velocities: float32 each, but the label, which is a uint32."""
_VELOCITY_TYPE = np.dtype([(name, "<u4" if name == "label" else "<f4")
                           for name in VELOCITY_FIELDS])


def ns_to_stamp(stamp_ns: int) -> Time:
    """Nanoseconds → ``builtin_interfaces/Time``."""
    seconds, nanoseconds = divmod(int(stamp_ns), 1_000_000_000)
    return Time(sec=seconds, nanosec=nanoseconds)


def header_of(stamp_ns: int, frame_id: str) -> Header:
    """Header with a stamp [ns] and a frame."""
    return Header(stamp=ns_to_stamp(stamp_ns), frame_id=frame_id)


def transform_to_message(parent_from_child: rigid.Matrix, parent: str, child: str, stamp_ns: int
                         ) -> TransformStamped:
    """(4, 4) transform → ``geometry_msgs/TransformStamped``, as tf takes it."""
    message = TransformStamped(header=header_of(stamp_ns, parent), child_frame_id=child)
    (x, y, z), (qx, qy, qz, qw) = (
        part.tolist() for part in rigid.to_translation_quaternion(parent_from_child))
    message.transform.translation = Vector3(x=x, y=y, z=z)
    message.transform.rotation = Quaternion(x=qx, y=qy, z=qz, w=qw)
    return message


def yaw_to_quaternion(yaw: float) -> Quaternion:
    """Turn about +z by ``yaw`` [rad]."""
    return Quaternion(z=float(np.sin(yaw / 2)), w=float(np.cos(yaw / 2)))


def detections_to_message(detections: Detections) -> Detection3DArray:
    """Detections → ``vision_msgs/Detection3DArray``.

    The header carries the frame's stamp and frame, and is repeated in each detection.
    ``bbox.center`` is the geometric centre, ``bbox.size.x`` lies along the heading. The class is
    named in ``results[0].hypothesis.class_id``; ``results[0].pose`` is the same pose. The network
    does not tell how sure it is of a pose: all 36 numbers of the covariance are 0, which means
    unknown and not exact. Velocities have no place in the message, see `velocities_to_message`.
    """
    header = header_of(detections.stamp_ns, detections.frame_id)
    message = Detection3DArray(header=header)
    boxes = detections.boxes
    for center, size, sine, cosine, score, name in zip(
            boxes.center.tolist(), boxes.size.tolist(), np.sin(boxes.yaw / 2).tolist(),
            np.cos(boxes.yaw / 2).tolist(), detections.scores.tolist(), detections.class_names):
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id = name
        result.hypothesis.score = score
        detection = Detection3D(header=header, results=[result])
        # A message comes with its parts made: filling them takes less time than replacing them.
        pose, extent = detection.bbox.center, detection.bbox.size
        pose.position.x, pose.position.y, pose.position.z = center
        pose.orientation.z, pose.orientation.w = sine, cosine
        extent.x, extent.y, extent.z = size
        result.pose.pose = pose
        message.detections.append(detection)
    return message


def velocities_to_message(detections: Detections) -> PointCloud2:
    """What Detection3DArray has no place for → ``sensor_msgs/PointCloud2``, a point a detection.

    Point i belongs to detection i of the array with the same header. x, y, z: centre [m]; vx, vy,
    vz: velocity over ground in the axes of the header's frame [m/s], vx and vy NaN where unknown,
    vz 0 as the network does not estimate it; score; label: ``class_id`` of the label info.
    """
    rows = np.zeros(len(detections), _VELOCITY_TYPE)
    rows["x"], rows["y"], rows["z"] = detections.boxes.center.T
    rows["vx"], rows["vy"] = detections.boxes.velocity.T
    rows["score"], rows["label"] = detections.scores, detections.labels
    fields = [PointField(name=name, offset=_VELOCITY_TYPE.fields[name][1], count=1,  # type: ignore[index]
                         datatype=PointField.UINT32 if name == "label" else PointField.FLOAT32)
              for name in VELOCITY_FIELDS]
    return PointCloud2(
        header=header_of(detections.stamp_ns, detections.frame_id), height=1, width=len(rows),
        fields=fields, is_bigendian=False, point_step=rows.itemsize, row_step=rows.nbytes,
        data=array.array("B", rows.tobytes()), is_dense=bool(np.isfinite(rows["vx"]).all()))


def picture_to_message(picture: NDArray[np.uint8], stamp_ns: int, frame_id: str) -> Image:
    """A picture (H, W, 3) BGR → ``sensor_msgs/Image``, bgr8."""
    height, width = picture.shape[:2]
    return Image(header=header_of(stamp_ns, frame_id), height=height, width=width, encoding="bgr8",
                 is_bigendian=0, step=3 * width, data=array.array("B", picture.tobytes()))


def values_to_message(stamp_ns: int, frame_id: str, name: str, values: Mapping[str, Any]
                      ) -> DiagnosticArray:
    """Named values of one frame → ``diagnostic_msgs/DiagnosticArray``, of a single status.

    No standard message holds named values of several types and a header. Each value is the text
    that a file of parameters takes, as ``0.5``, ``300`` or ``true``.

    Args:
        stamp_ns: The frame's time [ns].
        frame_id: Its frame.
        name: What the values are.
        values: By name.
    """
    return DiagnosticArray(header=header_of(stamp_ns, frame_id), status=[DiagnosticStatus(
        level=DiagnosticStatus.OK, name=name,
        values=[KeyValue(key=key, value=json.dumps(value)) for key, value in values.items()])])


def label_info(stamp_ns: int, frame_id: str, threshold: float) -> LabelInfo:
    """The classes in the order of the network's labels, for a latched ``vision_msgs/LabelInfo``."""
    return LabelInfo(
        header=header_of(stamp_ns, frame_id), threshold=float(threshold),
        class_map=[VisionClass(class_id=label, class_name=name)
                   for label, name in enumerate(CLASS_NAMES)])


def vision_info(stamp_ns: int, frame_id: str, method: str, database: str) -> VisionInfo:
    """What produces the detections, for a latched ``vision_msgs/VisionInfo``.

    Args:
        stamp_ns: Time at which the detector was made ready [ns].
        frame_id: Frame of the detections, where known.
        method: The detector in words.
        database: Where the names of the classes are found: a topic or a parameter.
    """
    return VisionInfo(header=header_of(stamp_ns, frame_id), method=method,
                      database_location=database, database_version=1)
