"""Turn a frame directory, or a folder of them, into a rosbag2 bag.

Six Image or CompressedImage topics, six CameraInfo, PointCloud2, /tf, /tf_static and, where there
is ground truth, a Detection3DArray of it. Stamps are those of the sensors.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("source", type=Path, help="frame directory, or a folder of them")
    parser.add_argument("out", type=Path, help="folder of the bag; must not exist")
    parser.add_argument("--storage", choices=("mcap", "sqlite3"), default="mcap",
                        help="file format (default: mcap)")
    parser.add_argument("--compressed", action="store_true",
                        help="CompressedImage with the JPEG files as they are, instead of Image")
    parser.add_argument("--config", type=Path, metavar="FILE",
                        help="ROS parameter file with the rig: take its cameras (default: all)")


def run(args: argparse.Namespace) -> int:
    """Write the bag.

    Raises:
        OSError: A file is not there.
        ValueError: A file is damaged, a camera of the rig is not there, or the bag exists already.
    """
    from tqdm import tqdm

    from aqr_perception.recordings.frame_directory import find_frames
    from aqr_perception.recordings.rig import load_rig
    from aqr_perception.ros.bag import write_bag
    from aqr_perception.ros.frame_messages import FrameMessages

    cameras = load_rig(args.config).camera_names if args.config else None
    source = FrameMessages(find_frames(args.source), args.compressed, cameras)
    with tqdm(unit="message", disable=None) as bar:
        count = write_bag(args.out, source.types, source, args.storage,
                          progress=lambda message: bar.update())
    print(f"{args.out}: {count} messages of {len(source.folders)} frames on "
          f"{len(source.types)} topics ({args.storage})")
    return 0
