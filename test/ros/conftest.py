"""What the tests of the ROS side share: an own DDS domain, and a recording that is made here."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from aqr_perception.geometry import rigid
from aqr_perception.geometry.camera import PinholeCamera
from aqr_perception.recordings.frame_writer import write_frame
from aqr_perception.recordings.rig import NUSCENES_CAMERAS
from aqr_perception.types import Calibration, CameraImage, LidarCloud, SensorFrame

MISSING = [name for name in ("rclpy", "vision_msgs", "tf2_msgs", "message_filters", "cv_bridge",
                             "sensor_msgs_py", "tf2_ros") if find_spec(name) is None]
if MISSING:  # scripts/test has them all; a bare interpreter can still run the rest
    collect_ignore_glob = ["test_*.py"]

# Another run of the tests on this machine, or a robot on this network, is not to be heard.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.setdefault("FASTDDS_DEFAULT_PROFILES_FILE",
                      str(Path(__file__).resolve().parents[2] / "config" / "fastdds.xml"))


def pytest_report_header() -> str | None:
    return f"tests of the ROS side left out: no {', '.join(MISSING)}" if MISSING else None


@pytest.fixture(scope="session")
def drive(tmp_path_factory) -> Path:
    """A folder of three frame directories of a small made-up rig that drives and turns."""
    folder = tmp_path_factory.mktemp("drive")
    for index in range(3):
        write_made_up_frame(folder / f"frame_{index}", index)
    return folder


@pytest.fixture(scope="session")
def single_sweeps(tmp_path_factory) -> Path:
    """The same drive with five frames, each of one sweep."""
    folder = tmp_path_factory.mktemp("single_sweeps")
    for index in range(5):
        write_made_up_frame(folder / f"frame_{index}", index, second_sweep_s=0.0)
    return folder


def write_made_up_frame(folder: Path, index: int, second_sweep_s: float = 0.05) -> None:
    """A frame half of whose points are of an older sweep, unless that is 0 s older."""
    rng = np.random.default_rng(index)
    stamp_ns = 1_700_000_000_000_000_000 + index * 100_000_000
    ego_from_lidar = rigid.from_xyz_yaw(0.9, 0.0, 1.84, -np.pi / 2)
    ego_from_camera, images = {}, []
    for number, name in enumerate(NUSCENES_CAMERAS):
        camera_ns = stamp_ns - 40_000_000 + 6_000_000 * number
        turn = rigid.from_xyz_yaw(1.0, 0.1 * number, 1.5, 2 * np.pi * number / 6)
        ego_from_camera[name] = turn @ rigid.from_translation_quaternion(
            [0, 0, 0], [-0.5, 0.5, -0.5, 0.5])
        camera_from_lidar = (rigid.inverse(world_from_ego(camera_ns) @ ego_from_camera[name])
                             @ world_from_ego(stamp_ns) @ ego_from_lidar)
        camera = PinholeCamera(160, 90, np.array([[120.0, 0, 80], [0, 120, 45], [0, 0, 1]]),
                               "plumb_bob", np.array([0.1, -0.02, 0.001, 0.002, 0.0]))
        pixels = cv2.resize(rng.integers(0, 256, (9, 16, 3), dtype=np.uint8), (160, 90))
        images.append(CameraImage(name, camera_ns, pixels, Calibration(camera, camera_from_lidar)))
    points = np.zeros((500, 5), np.float32)
    points[:, :3] = rng.uniform(-40, 40, (500, 3))
    points[:, 3] = rng.uniform(0, 1, 500)
    points[250:, 4] = second_sweep_s
    write_frame(folder, SensorFrame(
        stamp_ns, "LIDAR_TOP", LidarCloud(stamp_ns, points), tuple(images), NUSCENES_CAMERAS,
        world_from_ego(stamp_ns) @ ego_from_lidar), None, ego_from_lidar, ego_from_camera)
    points[:, 3] *= 255  # as the node expects it unless told otherwise
    points.tofile(folder / "lidar.bin")
    calibration = json.loads((folder / "calib.json").read_text())
    calibration["lidar"]["fields"][3] = "intensity(0-255)"
    (folder / "calib.json").write_text(json.dumps(calibration))


def world_from_ego(stamp_ns: int) -> np.ndarray:
    """10 m/s ahead, turning by 0.3 rad/s, far from the origin as maps are."""
    seconds = stamp_ns * 1e-9 - 1_700_000_000
    return rigid.from_xyz_yaw(400 + 10 * seconds, 1200 + seconds, 0.0, 1.0 + 0.3 * seconds)
