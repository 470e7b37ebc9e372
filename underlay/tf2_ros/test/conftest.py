"""The tests take the package that is installed, be it genuine, or else the one in this folder."""

import importlib.util
import os
import sys
from pathlib import Path

# Another run of the tests on this machine, or a robot on this network, is not to be heard.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_LOCALHOST_ONLY"] = "1"

if importlib.util.find_spec("rclpy") is None or importlib.util.find_spec("tf2_msgs") is None:
    collect_ignore_glob = ["test_*.py"]
elif importlib.util.find_spec("tf2_ros") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
