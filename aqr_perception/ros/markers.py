"""Detections → ``visualization_msgs/MarkerArray`` for rviz."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Pose, Vector3
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from aqr_perception.ros.messages import header_of, yaw_to_quaternion
from aqr_perception.types import CLASS_NAMES, Detections
from aqr_perception.visualization.colors import class_rgb

LIFETIME_S = 1.0
"""Boxes vanish by themselves when the detector falls silent."""
MIN_SPEED = 0.5
"""Slower objects [m/s] have no arrow."""


def markers_of(detections: Detections) -> MarkerArray:
    """Boxes, class and score as text, and an arrow of one second's motion.

    The first marker deletes what was drawn before, so nothing lingers when boxes become fewer.
    """
    header = header_of(detections.stamp_ns, detections.frame_id)
    array = MarkerArray(markers=[Marker(header=header, action=Marker.DELETEALL)])
    boxes = detections.boxes
    for index, (center, size, yaw, velocity, score, label) in enumerate(zip(
            boxes.center.tolist(), boxes.size.tolist(), boxes.yaw.tolist(), boxes.velocity.tolist(),
            detections.scores.tolist(), detections.labels.tolist())):
        red, green, blue = (part / 255 for part in class_rgb(label))
        at = Pose(position=Point(x=center[0], y=center[1], z=center[2]),
                  orientation=yaw_to_quaternion(yaw))
        above = Pose(position=Point(x=center[0], y=center[1], z=center[2] + size[2] / 2 + 0.4))
        common = {"header": header, "id": index, "action": Marker.ADD,
                  "lifetime": Duration(sec=int(LIFETIME_S), nanosec=int(LIFETIME_S % 1 * 1e9))}
        array.markers.append(Marker(
            ns="boxes", type=Marker.CUBE, pose=at, scale=Vector3(x=size[0], y=size[1], z=size[2]),
            color=ColorRGBA(r=red, g=green, b=blue, a=0.45), **common))
        array.markers.append(Marker(
            ns="labels", type=Marker.TEXT_VIEW_FACING, pose=above, scale=Vector3(z=0.6),
            color=ColorRGBA(r=1.0, g=1.0, b=1.0, a=0.9), **common,
            text=f"{CLASS_NAMES[label]} {score:.2f}"))
        if np.hypot(*velocity) >= MIN_SPEED:  # False where the velocity is NaN
            array.markers.append(Marker(
                ns="velocities", type=Marker.ARROW, scale=Vector3(x=0.15, y=0.4, z=0.4),
                points=[at.position, Point(x=center[0] + velocity[0], y=center[1] + velocity[1],
                                           z=center[2])],
                color=ColorRGBA(r=red, g=green, b=blue, a=1.0), **common))
    return array
