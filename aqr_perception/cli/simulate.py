"""Render simulated drives: six pictures, a LiDAR sweep and the truth of each frame.

    simulate OUT --drives 100 --frames 16 --seed 0     drives for training, one file each
    simulate OUT --held-out                            the drives that figures are measured on
    simulate OUT --format frames --size 1600x900       frame directories, as recordings are
    simulate --statistics [OUT]                        how hard the world is, beside real frames

Drives that are there already are left as they are, so an interrupted run can go on.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aqr_perception.cli.outputs import check_picture

if TYPE_CHECKING:
    from aqr_perception.simulation.drive import DriveSettings, Frame
    from aqr_perception.simulation.rig import SensorRig

FRAMES = 16
DRIVE_RECORD = "drive.json"
"""Beside the frame directories of a drive: what they were asked to be."""


@dataclass(frozen=True)
class _Job:
    """What one drive needs to be rendered, in this process or another.

    Attributes:
        out: Folder.
        frames: How many.
        rig: Sensors.
        settings: Of the drive.
        form: ``cache`` or ``frames``.
    """

    out: Path
    frames: int
    rig: SensorRig
    settings: DriveSettings
    form: str

    def info(self, seed: int) -> dict[str, object]:
        """What a drive's file says about itself."""
        camera = self.rig.cameras[0].camera
        return {"seed": seed, "rig": self.rig.name, "rate_hz": self.settings.rate_hz,
                "sweeps": self.settings.sweeps,
                "image": [camera.width, camera.height]}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    from aqr_perception.simulation.splits import SWEEPS

    parser.add_argument("out", type=Path, nargs="?", help="folder to write to")
    parser.add_argument("--drives", type=int, default=1, help="how many drives (default: 1)")
    parser.add_argument("--frames", type=int,
                        help=f"frames a drive (default: {FRAMES}; 10 of the fixed ones)")
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
    parser.add_argument("--sweeps", type=int, default=SWEEPS,
                        help=f"sweeps of 0.1 s joined in each cloud (default: {SWEEPS})")
    parser.add_argument("--rig", type=Path, help="rig as JSON (default: nuScenes)")
    parser.add_argument("--workers", type=int, default=_cores(),
                        help="drives rendered side by side (default: one a core)")
    parser.add_argument("--image", type=Path,
                        help="write a picture of the first drive's first frame, boxes drawn in")
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
    check_picture(args.image)
    seeds, frames = _seeds(args)
    width, height = _size(args.size)
    rig = load_rig(args.rig or NUSCENES).resized(width, height)
    settings = DriveSettings(rate_hz=args.rate, sweeps=args.sweeps)
    job = _Job(args.out, frames, rig, settings, args.format)
    if args.out is not None:
        _write(job, seeds, args.workers)
    if args.image is not None:
        _picture(args.image, seeds[0], job)
    if args.statistics:
        _print_statistics(job, seeds)
    return 0


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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


def _write(job: _Job, seeds: Sequence[int], workers: int) -> None:
    """Render the drives that are not there yet, here or in several processes."""
    from tqdm import tqdm

    missing = [seed for seed in seeds if not _is_there(job, seed)]
    job.out.mkdir(parents=True, exist_ok=True)
    with tqdm(total=len(seeds) * job.frames, initial=(len(seeds) - len(missing)) * job.frames,
              unit="frame", disable=None) as bar:
        for count in _rendered(job, missing, min(workers, len(missing))):
            bar.update(count)


def _rendered(job: _Job, seeds: Sequence[int], workers: int) -> Iterator[int]:
    """Render; yields numbers of frames as they are done."""
    if workers <= 1:
        for seed in seeds:
            yield _render(job, seed)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed

    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # a worker is one core's; read when NumPy is imported
    # Each worker ends at Ctrl-C by itself: as an exception it would be a result, and the next
    # drive would be begun.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"),
                             initializer=signal.signal,
                             initargs=(signal.SIGINT, signal.SIG_DFL)) as pool:
        waiting = [pool.submit(_render, job, seed) for seed in seeds]
        try:
            for done in as_completed(waiting):
                yield done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise


def _render(job: _Job, seed: int) -> int:
    """Render one drive; returns its number of frames."""
    from aqr_perception.simulation.cache import drive_path, write_drive
    from aqr_perception.simulation.drive import simulate_drive

    drive = simulate_drive(seed, job.frames, job.rig, job.settings)
    path = drive_path(job.out, seed)
    if job.form == "frames":
        folder = job.out / path.stem
        _write_frames(folder, drive, job.rig)
        (folder / DRIVE_RECORD).write_text(json.dumps(
            {"frames": job.frames, "info": job.info(seed)}) + "\n", encoding="utf-8")
    else:
        write_drive(path, drive, job.info(seed))
    return job.frames


def _is_there(job: _Job, seed: int) -> bool:
    """Whether a drive has been rendered.

    Raises:
        ValueError: Another one stands in its place.
    """
    from aqr_perception.simulation.cache import DriveFile, drive_path

    path = drive_path(job.out, seed)
    if job.form == "frames":
        path = path.with_suffix("")
        record = path / DRIVE_RECORD  # written last
        if not record.exists():
            return False
        found = json.loads(record.read_text(encoding="utf-8"))
        frames, info = found.get("frames"), found.get("info")
    elif not path.exists():
        return False
    else:
        drive = DriveFile.open(path)
        frames, info = len(drive), dict(drive.info)
    if frames != job.frames or info != job.info(seed):
        raise ValueError(f"{path}: holds {frames} frames of {info}; asked for {job.frames} of "
                         f"{job.info(seed)}: remove it, or choose another folder")
    return True


def _write_frames(folder: Path, drive: Iterator[Frame], rig: SensorRig) -> None:
    from aqr_perception.recordings.frame_writer import write_frame

    cameras = {camera.name: camera.ego_from_camera for camera in rig.cameras}
    for k, (frame, truth) in enumerate(drive):
        write_frame(folder / f"frame_{k:04d}", frame, truth, rig.lidar.ego_from_lidar, cameras)


def _picture(path: Path, seed: int, job: _Job) -> None:
    import cv2

    from aqr_perception.simulation.drive import simulate_drive
    from aqr_perception.simulation.picture import contact_sheet

    frame, truth = next(iter(simulate_drive(seed, job.frames, job.rig, job.settings)))
    if not cv2.imwrite(str(path), contact_sheet(frame, truth)):
        raise OSError(5, "the picture could not be written", str(path))


def _print_statistics(job: _Job, seeds: Sequence[int]) -> None:
    from aqr_perception.simulation.statistics import box_table, cloud_table

    found = list(_frames(job, seeds))
    name = f"{len(seeds)} drives of {job.frames} frames"
    print(box_table([truth for _, truth in found], name))
    print()
    sweeps = [frame.lidar.points for frame, _ in found if frame.lidar]
    print(cloud_table([sweep[sweep[:, 4] == 0] for sweep in sweeps], name))


def _frames(job: _Job, seeds: Sequence[int]) -> Iterator[Frame]:
    """All frames without pictures: from the cache where they are there, else simulated anew."""
    from dataclasses import replace

    from aqr_perception.simulation.cache import drive_path, read_drive
    from aqr_perception.simulation.drive import simulate_drive

    for seed in seeds:
        path = None if job.out is None else drive_path(job.out, seed)
        drive = read_drive(path) if path is not None and path.exists() else simulate_drive(
            seed, job.frames, job.rig, replace(job.settings, images=False, sweeps=1))
        for frame, truth in drive:
            yield replace(frame, images=(None,) * len(frame.images)), truth
