"""From stamped samples to detections: synchroniser, pipeline, health. No ROS."""
