"""Image messages to OpenCV images and back.

A stand-in for the upstream package of this name on machines without a ROS distribution.
"""

from .core import CvBridge, CvBridgeError
from .encodings import getCvType

__all__ = ["CvBridge", "CvBridgeError", "getCvType"]
