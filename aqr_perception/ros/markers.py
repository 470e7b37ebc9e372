"""Detections → ``visualization_msgs/MarkerArray`` for rviz."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Pose, Vector3
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from aqr_perception.ros.messages import header_of, yaw_to_quaternion
from aqr_perception.types import Detections

# One colour a class, red green blue 0..1.
CLASS_COLORS: dict[str, tuple[float, float, float]] = {
    "car": (1.00, 0.62, 0.00), "truck": (1.00, 0.39, 0.28),
    "construction_vehicle": (0.91, 0.59, 0.27), "bus": (1.00, 0.50, 0.31),
    "trailer": (1.00, 0.55, 0.00), "barrier": (0.55, 0.60, 0.67),
    "motorcycle": (1.00, 0.24, 0.39), "bicycle": (0.86, 0.08, 0.55),
    "pedestrian": (0.16, 0.45, 1.00), "traffic_cone": (0.30, 0.75, 0.60)}
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
    for index, (center, size, yaw, velocity, score, name) in enumerate(zip(
            boxes.center.tolist(), boxes.size.tolist(), boxes.yaw.tolist(), boxes.velocity.tolist(),
            detections.scores.tolist(), detections.class_names)):
        red, green, blue = CLASS_COLORS[name]
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
            color=ColorRGBA(r=1.0, g=1.0, b=1.0, a=0.9), text=f"{name} {score:.2f}", **common))
        if np.hypot(*velocity) >= MIN_SPEED:  # False where the velocity is NaN
            array.markers.append(Marker(
                ns="velocities", type=Marker.ARROW, scale=Vector3(x=0.15, y=0.4, z=0.4),
                points=[at.position, Point(x=center[0] + velocity[0], y=center[1] + velocity[1],
                                           z=center[2])],
                color=ColorRGBA(r=red, g=green, b=blue, a=1.0), **common))
    return array
