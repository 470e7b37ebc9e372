"""Camera and LiDAR 3D detection for ROS 2: CMT with adaptive query routing (AQR)."""

__version__ = "0.1.0"
