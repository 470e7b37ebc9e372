"""Render simulated drives: six pictures, a LiDAR sweep and the truth of each frame.

    simulate OUT --drives 100 --frames 16 --seed 0     drives for training, one file each
    simulate OUT --held-out                            the drives that figures are measured on
    simulate OUT --format frames --size 1600x900       frame directories, as recordings are
    simulate --statistics [OUT]                        how hard the world is, beside real frames

Drives that are there already are left as they are, so an interrupted run can go on.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aqr_perception.simulation.drive import DriveSettings, Frame
    from aqr_perception.simulation.rig import SensorRig
    from aqr_perception.types import Annotations

FRAMES = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("out", type=Path, nargs="?", help="folder to write to")
    parser.add_argument("--drives", type=int, default=1, help="how many drives (default: 1)")
    parser.add_argument("--frames", type=int, help=f"frames a drive (default: {FRAMES})")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first drive (default: 0)")
    parser.add_argument("--held-out", action="store_true",
                        help="the fixed drives that published figures are measured on")
    parser.add_argument("--validation", action="store_true",
                        help="the fixed drives that settings are chosen with")
    parser.add_argument("--format", choices=("cache", "frames"), default="cache",
                        help="one file a drive for training, or frame directories")
    parser.add_argument("--size", default="352x128", metavar="WxH",
                        help="size of the pictures (default: 352x128)")
    parser.add_argument("--rate", type=float, default=2.0, help="frames a second (default: 2)")
    parser.add_argument("--rig", type=Path, help="rig as JSON (default: nuScenes)")
    parser.add_argument("--image", type=Path, help="write a picture of the first drive's frame")
    parser.add_argument("--statistics", action="store_true",
                        help="print how far and how sparse the objects are, beside real frames")


def run(args: argparse.Namespace) -> int:
    """Simulate.

    Raises:
        ValueError: An argument does not fit, or a file is damaged.
        OSError: A file cannot be read or written.
    """
    from aqr_perception.simulation.drive import DriveSettings
    from aqr_perception.simulation.rig import NUSCENES, load_rig

    if args.out is None and args.image is None and not args.statistics:
        raise ValueError("nothing to do; expected a folder, --image or --statistics")
    seeds, frames = _seeds(args)
    width, height = _size(args.size)
    rig = load_rig(args.rig or NUSCENES).resized(width, height)
    settings = DriveSettings(rate_hz=args.rate)
    if args.out is not None:
        _write(args.out, seeds, frames, rig, settings, args.format)
    if args.image is not None:
        _picture(args.image, seeds[0], rig, settings)
    if args.statistics:
        from aqr_perception.simulation.statistics import table

        print(table(_truth(args.out if args.format == "cache" else None, seeds, frames, rig,
                           settings), f"{len(seeds)} drives of {frames} frames"))
    return 0


def _seeds(args: argparse.Namespace) -> tuple[range, int]:
    from aqr_perception.simulation import splits

    if args.frames is not None and not 1 <= args.frames <= 1000:
        raise ValueError(f"--frames is {args.frames}; expected 1 to 1000")
    if args.held_out:
        return splits.HELD_OUT, args.frames or splits.HELD_OUT_FRAMES
    if args.validation:
        return splits.VALIDATION, args.frames or splits.HELD_OUT_FRAMES
    return splits.training_seeds(args.seed, args.drives), args.frames or FRAMES


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise ValueError(f"--size is '{text}'; expected width x height, such as 352x128") from None
    if not (16 <= width <= 4096 and 16 <= height <= 4096):
        raise ValueError(f"--size is {text}; expected 16 to 4096 pixels each way")
    return width, height


def _write(out: Path, seeds: Sequence[int], frames: int, rig: SensorRig, settings: DriveSettings,
           form: str) -> None:
    from tqdm import tqdm

    from aqr_perception.simulation.cache import drive_path, write_drive
    from aqr_perception.simulation.drive import simulate_drive

    with tqdm(total=len(seeds) * frames, unit="frame", disable=None) as bar:
        def counted(seed: int) -> Iterator[Frame]:
            for frame in simulate_drive(seed, frames, rig, settings):
                yield frame
                bar.update()
        for seed in seeds:
            path = drive_path(out, seed)
            if form == "frames":
                _write_frames(out / path.stem, counted(seed), frames, rig, bar)
            elif path.exists():
                _check_same(path, frames, rig, settings)
                bar.update(frames)
            else:
                write_drive(path, counted(seed), _info(seed, rig, settings))


def _info(seed: int, rig: SensorRig, settings: DriveSettings) -> dict[str, object]:
    camera = rig.cameras[0].camera
    return {"seed": seed, "rig": rig.name, "rate_hz": settings.rate_hz,
            "image": [camera.width, camera.height]}


def _check_same(path: Path, frames: int, rig: SensorRig, settings: DriveSettings) -> None:
    """A drive that is there must be the one that was asked for."""
    from aqr_perception.simulation.cache import DriveFile

    drive = DriveFile.open(path)
    wanted = _info(int(drive.info.get("seed", -1)), rig, settings)
    if len(drive) != frames or dict(drive.info) != wanted:
        raise ValueError(f"{path}: holds {len(drive)} frames of {dict(drive.info)}; asked for "
                         f"{frames} of {wanted}: remove it, or choose another folder")


def _write_frames(folder: Path, drive: Iterator[Frame], frames: int, rig: SensorRig,
                  bar: object) -> None:
    """Frame directories; the last one tells whether the drive is complete."""
    from aqr_perception.recordings.frame_writer import write_frame

    if (folder / f"frame_{frames - 1:04d}" / "gt_boxes.json").exists():
        bar.update(frames)  # type: ignore[attr-defined]
        return
    cameras = {camera.name: camera.ego_from_camera for camera in rig.cameras}
    for k, (frame, truth) in enumerate(drive):
        write_frame(folder / f"frame_{k:04d}", frame, truth, rig.lidar.ego_from_lidar,
                    cameras)


def _picture(path: Path, seed: int, rig: SensorRig, settings: DriveSettings) -> None:
    import cv2

    from aqr_perception.simulation.drive import simulate_drive
    from aqr_perception.simulation.picture import contact_sheet

    frame, annotations = next(iter(simulate_drive(seed, 1, rig, settings)))
    if not cv2.imwrite(str(path), contact_sheet(frame, annotations)):
        raise OSError(5, "the picture could not be written", str(path))


def _truth(out: Path | None, seeds: Sequence[int], frames: int, rig: SensorRig,
           settings: DriveSettings) -> list[Annotations]:
    """Annotations of all frames: from the cache where it is there, else simulated anew."""
    from dataclasses import replace

    from aqr_perception.simulation.cache import drive_path, read_drive
    from aqr_perception.simulation.drive import simulate_drive

    found = []
    for seed in seeds:
        path = None if out is None else drive_path(out, seed)
        drive = read_drive(path) if path is not None and path.exists() else simulate_drive(
            seed, frames, rig, replace(settings, images=False))
        found += [annotations for _, annotations in drive]
    return found
