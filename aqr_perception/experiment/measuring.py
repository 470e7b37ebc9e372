"""Run a detector over held-out frames, clean or under one fault in all its severities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from aqr_perception.evaluation.frames import EvaluationFrame
from aqr_perception.evaluation.metrics import evaluate
from aqr_perception.evaluation.report import Report
from aqr_perception.experiment.drives import chosen_frames
from aqr_perception.experiment.watching import Look, WatchedDetector
from aqr_perception.runtime.fault_runs import CLEAN, HISTORY_S, Setting
from aqr_perception.simulation.cache import DriveFile, DriveFolder
from aqr_perception.simulation.fault_labels import FaultLabels
from aqr_perception.simulation.faults import FAULTS, apply
from aqr_perception.training.dataset import compares_frames
from aqr_perception.types import CLASS_NAMES, Annotations, SensorFrame

Shown = tuple[SensorFrame, FaultLabels]


def measure_clean(watched: WatchedDetector, drives: DriveFolder, clean_frames: int, frames: int,
                  seed: int, done: Callable[[], None]) -> dict[str, Any]:
    """All metrics without a fault.

    Args:
        watched: The detector.
        drives: Held-out ones.
        clean_frames: How many frames.
        frames: How many of them faults are tried on.
        seed: Of what the network draws.
        done: Called after each frame.

    Returns:
        ``all``: `Report.to_json` of all frames; ``same``: mAP, NDS and AP of those that faults are
        tried on; ``seen``: what the network did, a frame each; ``milliseconds``: their median.
    """
    with_faults = set(chosen_frames(lengths(drives), frames))
    entries, same, seen = [], [], []
    places = chosen_frames(lengths(drives), clean_frames)
    for place, _, look, truth in looks(watched, drives, [CLEAN], places, seed, done):
        entry = EvaluationFrame.from_motion(look.detections, truth, watched.mounting)
        entries.append(entry)
        same += [entry] if place in with_faults else []
        seen.append(look)
    return {"all": Report.of(entries).to_json(), "same": _figures(same),
            "seen": [look.seen for look in seen],
            "milliseconds": float(np.median([look.milliseconds for look in seen]))}


def measure_fault(watched: WatchedDetector, drives: DriveFolder, settings: Sequence[Setting],
                  frames: int, seed: int, done: Callable[[], None]) -> dict[str, Any]:
    """Metrics under one fault.

    What the fault draws follows from the frame alone, so that all severities and all twins
    (`simulation.faults.MATCHED_PAIRS`) draw alike.

    Args:
        watched: The detector.
        drives: Held-out ones.
        settings: The fault in its severities.
        frames: How many frames.
        seed: Of what the network draws.
        done: Called after each frame and setting.

    Returns:
        By severity: mAP, NDS, AP, and ``seen``: what the network did, a frame each.
    """
    entries: dict[Setting, list[EvaluationFrame]] = {setting: [] for setting in settings}
    seen: dict[Setting, list[dict[str, Any]]] = {setting: [] for setting in settings}
    places = chosen_frames(lengths(drives), frames)
    for _, setting, look, truth in looks(watched, drives, settings, places, seed, done):
        entries[setting].append(
            EvaluationFrame.from_motion(look.detections, truth, watched.mounting))
        seen[setting].append(look.seen)
    return {str(setting.severity): {**_figures(entries[setting]), "seen": seen[setting]}
            for setting in settings}


def _figures(entries: Sequence[EvaluationFrame]) -> dict[str, Any]:
    metrics = evaluate(entries)
    return {"mAP": metrics.mean_ap, "NDS": metrics.nds, "frames": metrics.frames,
            "AP": dict(zip(CLASS_NAMES, metrics.class_ap.tolist()))}


def lengths(drives: DriveFolder) -> list[int]:
    """Frames of each drive."""
    return [len(drive) for drive in drives.drives]


def looks(watched: WatchedDetector, drives: DriveFolder, settings: Sequence[Setting],
          places: Sequence[tuple[int, int]], seed: int, done: Callable[[], None]
          ) -> Iterator[tuple[tuple[int, int], Setting, Look, Annotations]]:
    """Every chosen frame in every setting: its place, the setting, the look, the truth.

    A network that compares frames is shown the two before the first chosen one of a drive, too: one
    before the fault begins, and one under it. Nobody counts what it finds there.
    """
    torch.manual_seed(seed)
    needs_past = any(FAULTS[setting.fault].needs_history for setting in settings
                     if setting != CLEAN)
    looks_back = compares_frames(watched.detector.config)
    pipelines = {setting: watched.pipeline() for setting in settings}
    sound = watched.pipeline()
    before = None
    for place in places:
        drive, frame = drives.drives[place[0]], place[1]
        follows = before == (place[0], frame - 1)
        run_in = [frame - 1] if looks_back and frame and not follows else []
        if not follows:
            sound.reset()
            if looks_back and frame > 1:
                shown, truth = drive.read(frame - 2)
                watched(sound, *_spoiled(CLEAN, [shown], truth, (place[0], frame - 2)))
            for pipeline in pipelines.values():
                pipeline.follow(sound)
        for k in (*run_in, frame):
            past = _past(drive, k) if needs_past else []
            shown, truth = drive.read(k)
            for setting, pipeline in pipelines.items():
                look = watched(pipeline, *_spoiled(setting, [*past, shown], truth, (place[0], k)))
                if k == frame:
                    yield place, setting, look, truth
                    done()
        before = place


def _past(drive: DriveFile, frame: int) -> list[SensorFrame]:
    """Frames of the same drive that a fault may still show, oldest first."""
    stamp = drive.read(frame)[0].stamp_ns
    past: list[SensorFrame] = []
    for k in reversed(range(frame)):
        earlier = drive.read(k)[0]
        if stamp - earlier.stamp_ns > HISTORY_S * 1e9:
            break
        past.insert(0, earlier)
    return past


def _spoiled(setting: Setting, frames: Sequence[SensorFrame], truth: Annotations,
             place: tuple[int, int]) -> Shown:
    """A fault stays with the sensors that it hit, unless it hits by chance at every moment."""
    by_chance = setting != CLEAN and FAULTS[setting.fault].by_chance
    rng = np.random.default_rng([0, *place] if by_chance else [0, place[0]])
    return apply(setting.fault, setting.severity, frames, rng, truth)
