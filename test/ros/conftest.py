"""What the tests of the ROS side share: an own DDS domain, and a recording that is made here."""

from __future__ import annotations

import os
from importlib.util import find_spec

MISSING = [name for name in ("rclpy", "vision_msgs", "tf2_msgs", "message_filters", "cv_bridge",
                             "sensor_msgs_py", "tf2_ros") if find_spec(name) is None]
if MISSING:  # scripts/test has them all; a bare interpreter can still run the rest
    collect_ignore_glob = ["test_*.py"]

# Another run of the tests on this machine, or a robot on this network, is not to be heard.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_LOCALHOST_ONLY"] = "1"


def pytest_report_header() -> str | None:
    return f"tests of the ROS side left out: no {', '.join(MISSING)}" if MISSING else None
