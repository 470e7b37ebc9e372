"""What `evaluate` asks of a detector: the frames of a source, clean and under faults."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aqr_perception.recordings.rig import Rig
    from aqr_perception.runtime.fault_runs import FaultRuns, Setting
    from aqr_perception.runtime.pipeline import DetectionPipeline, FrameResult
    from aqr_perception.types import Annotations, Controls, Detections, SensorFrame


@dataclass(frozen=True)
class Source:
    """Frames with truth.

    Attributes:
        drives: One after the other; frames of each in order.
        frames: How many there are at most; None where only reading tells.
        seeds: Of simulated drives; empty for recordings.
    """

    drives: Iterable[Iterable[tuple[SensorFrame, Annotations]]]
    frames: int | None
    seeds: tuple[int, ...] = ()


def open_source(path: Path, rig: Rig) -> Source:
    """A folder of simulated drives, a frame directory, a folder of them, or a bag.

    Raises:
        OSError: A file is not there.
        ValueError: It is none of these.
    """
    if any(path.glob("drive-*.safetensors")):
        from aqr_perception.simulation.cache import DriveFolder

        drives = DriveFolder(path)
        seeds = tuple(int(drive.info.get("seed", -1)) for drive in drives.drives)
        return Source(((drive.read(k) for k in range(len(drive))) for drive in drives.drives),
                      len(drives), seeds)
    from aqr_perception.cli.detect import read_frames
    from aqr_perception.recordings.frame_directory import find_frames

    count = None if (path / "metadata.yaml").exists() else len(find_frames(path))
    return Source([((frame, truth) for frame, truth in read_frames(path, rig)
                    if truth is not None)], count)


@dataclass
class Detected:
    """What a detector found.

    Attributes:
        frames: Detections and truth, by what the detector was shown.
        about: The detector and the run, as plain values.
    """

    frames: dict[Setting, list[tuple[Detections, Annotations]]]
    about: dict[str, Any]


def detect(args: argparse.Namespace, rig: Rig, see: Callable[[SensorFrame], SensorFrame]
           ) -> Detected:
    """Run the detector over the source, clean and under the faults that are asked for.

    Args:
        args: Of the command `evaluate`.
        rig: Of the source.
        see: What the detector is shown of a frame, after the fault.

    Raises:
        OSError: A file is not there.
        ValueError: A file is damaged, or an argument does not fit.
    """
    from tqdm import tqdm

    from aqr_perception.runtime.fault_runs import CLEAN, FaultRuns, settings_of

    source = open_source(args.source, rig)
    settings = [CLEAN]
    if args.faults is not None:
        settings += settings_of(args.faults, args.severities)
    # Torch takes seconds to load: only once the arguments and the source fit.
    from aqr_perception.runtime.pipeline import DetectionPipeline

    pipeline, controls = _pipeline(args, rig)
    runs = FaultRuns(
        lambda: DetectionPipeline(pipeline.detector, pipeline.device, pipeline.mounting),
        settings, controls, see)
    found: dict[Setting, list[tuple[Detections, Annotations]]] = defaultdict(list)
    milliseconds: list[float] = []
    total = _least(source.frames and source.frames // args.every, args.frames)
    with tqdm(total=total and total * len(settings), unit="frame", disable=None) as bar:
        for frame, truth, number in _chosen(source, runs, args.every, args.frames):
            for setting, result in runs(frame, truth, number):
                found[setting].append((result.detections, truth))
                if setting == CLEAN:
                    milliseconds.append(result.times.total)
                bar.update()
    return Detected(found, _about(args, pipeline, milliseconds) | {"seeds": source.seeds})


def _pipeline(args: argparse.Namespace, rig: Rig) -> tuple[DetectionPipeline, Controls]:
    from aqr_perception.runtime.pipeline import DetectionPipeline
    from aqr_perception.types import Controls

    pipeline = DetectionPipeline.load(args.weights, args.device, rig.mounting)
    if not pipeline.detector.trained:
        print("note: these weights are not trained; the figures show the path, not a detector")
    return pipeline, Controls(score_threshold=0.0)


def _chosen(source: Source, runs: FaultRuns[FrameResult], every: int, most: int | None
            ) -> Iterator[tuple[SensorFrame, Annotations, int]]:
    """Every so many frames with their numbers; the others are passed by.

    It is the last of each group: in drives of ten frames, each first one would never have a past,
    and faults that show it no effect.
    """
    number = taken = 0
    for drive in source.drives:
        runs.start_drive()
        for frame, truth in drive:
            if taken == most:
                return
            if number % every == every - 1:
                yield frame, truth, number
                taken += 1
            else:
                runs.pass_by(frame)
            number += 1


def _about(args: argparse.Namespace, pipeline: DetectionPipeline, milliseconds: Sequence[float]
           ) -> dict[str, Any]:
    """What a model card needs to know of the detector and of the run."""
    import numpy as np
    import torch

    from aqr_perception import __version__

    detector = pipeline.detector
    # The first frame pays for what is set up once.
    p50, p90 = np.percentile(milliseconds[1:] or milliseconds or [0.0], [50, 90]).tolist()
    return {"version": __version__, "sensors": args.sensors, "every": args.every,
            "weights": args.weights.name if args.weights else None,
            "trained": detector.trained, "metadata": detector.metadata,
            "preset": detector.config.name,
            "parameters": sum(parameter.numel() for parameter in detector.parameters()),
            "device": pipeline.device.type, "threads": torch.get_num_threads(),
            "milliseconds": {"p50": p50, "p90": p90}}


def _least(*counts: int | None) -> int | None:
    known = [count for count in counts if count is not None]
    return min(known) if known else None
