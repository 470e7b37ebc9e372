"""Helpers for sensor messages: see `point_cloud2`.

A stand-in for the upstream package of this name on machines without a ROS distribution.
"""
