"""Pictures of what AQR does with one held-out frame, from the weights of the runs that are done.

The frame is, of those that faults are tried on, the one before which the car drove furthest, among
those with some objects in them: on a standing car old data look like new data.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from aqr_perception.experiment.config import ExperimentConfig
from aqr_perception.experiment.drawn_views import draw_attention, draw_maps
from aqr_perception.experiment.drives import Drives, chosen_frames
from aqr_perception.experiment.experiment import Place
from aqr_perception.experiment.job import THREADS, Job
from aqr_perception.experiment.known import NOTHING, Known
from aqr_perception.experiment.listening import listening
from aqr_perception.experiment.measuring import lengths, looks
from aqr_perception.experiment.network import untrained_network
from aqr_perception.experiment.size import Size
from aqr_perception.experiment.views import Change, View, view_of
from aqr_perception.experiment.watching import WatchedDetector
from aqr_perception.model import checkpoint
from aqr_perception.model.detector import Detector
from aqr_perception.runtime.fault_runs import CLEAN, Setting
from aqr_perception.runtime.pipeline import resolve_device
from aqr_perception.simulation.cache import DriveFolder
from aqr_perception.training.engine import WEIGHTS_FILE

SCENES = (CLEAN, Setting("lidar_stale", 3), Setting("all_cameras_stale", 3),
          Setting("camera_black", 3), Setting("lidar_ghosts", 3))
MAP_SCENES = (CLEAN, Setting("camera_black", 3))
"""Of weight maps: without a fault, and with one that they could answer."""
SHOWN_GATES = 2
"""Gates whose attention is drawn, beside those that have no AQR and one that is told the truth."""
FEWEST_OBJECTS = 5
"""That the LiDAR hit, in a frame that is worth a picture."""


@dataclass(frozen=True)
class Pictures:
    """What was drawn.

    Attributes:
        attention: File of where the attention goes, and what gates keep; empty: none.
        maps: Files of the weight maps by scene.
        gate_maps: File of a gate's factor on each token, a row a scene; empty: none.
        changes: Of the clean frame's features, by run.
        frame: Which one it is, in words.
    """

    attention: str = ""
    maps: dict[str, str] = field(default_factory=dict)
    gate_maps: str = ""
    changes: dict[str, Change] = field(default_factory=dict)
    frame: str = ""


def draw_pictures(config: ExperimentConfig, place: Place, size: Size, folder: Path,
                  known: Known = NOTHING) -> Pictures:
    """Run the chosen frame through the runs that are done, and draw what they do.

    Weights of runs that were done elsewhere are not here. Where one of those is to be drawn, the
    pictures that came with the figures stay.

    Args:
        config: The experiment.
        place: Where it runs; of each run the first seed that is done is drawn.
        size: How much each run does.
        folder: Where pictures go; made if it is not there.
        known: What was done elsewhere.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with_maps = [name for name, run in config.runs.items() if run.aqr.mode == "weight_map"]
    drawn = list(dict.fromkeys([*_watched(config), *with_maps]))
    jobs = {name: _first_done(config, place, name, size) for name in drawn}
    if known.pictures and any(name in known.figures and config.runs[name].train
                              and jobs[name] is None for name in drawn):
        return _brought(known, folder)
    torch.set_num_threads(THREADS)
    drives = Drives.open(place.drives).held_out
    frame = chosen_frame(drives, size.frames)
    views: dict[str, dict[str, View]] = {}
    for name, job in jobs.items():
        detector = None if job is None else _network(job)
        if detector is not None:
            scenes = MAP_SCENES if name in with_maps else SCENES
            views[name] = _views(detector, config.runs[name].oracle, drives, scenes, frame, place)
    return _draw(config, views, folder, f"drive {frame[0]}, frame {frame[1]}")


def _brought(known: Known, folder: Path) -> Pictures:
    """The pictures that lie beside the figures that are known.

    Raises:
        ValueError: The file says something else of them.
        OSError: One is not there.
    """
    said = dict(known.pictures)
    try:
        changes = {name: Change(*(_pair(change[kind]) for kind in ("zeros", "of_report", "ours")))
                   for name, change in said.pop("changes").items()}
        pictures = Pictures(changes=changes, **said)
        files = [name for name in (pictures.attention, pictures.gate_maps,
                                   *pictures.maps.values()) if name]
        if any(Path(name).name != name for name in files):
            raise ValueError("a file elsewhere")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{known.path}: pictures: {error!r}; expected what 'experiment' writes "
                         "beside its page") from None
    for name in files:
        if (known.path.parent / name).resolve() != (folder / name).resolve():
            shutil.copyfile(known.path.parent / name, folder / name)
    return pictures


def _pair(values: Sequence[float | None]) -> tuple[float, float]:
    first, second = (math.nan if value is None else float(value) for value in values)
    return first, second


def chosen_frame(drives: DriveFolder, count: int) -> tuple[int, int]:
    """The frame that is drawn, as drive and number; see the module."""
    best, chosen = (False, -1.0), (0, 0)
    for number, k in chosen_frames(lengths(drives), count):
        shown, truth = drives.drives[number].read(k)
        way = 0.0
        if k:
            before = drives.drives[number].read(k - 1)[0].fixed_from_lidar
            if before is not None and shown.fixed_from_lidar is not None:
                way = float(np.linalg.norm(shown.fixed_from_lidar[:3, 3] - before[:3, 3]))
        worth = (int((truth.num_lidar_pts != 0).sum()) >= FEWEST_OBJECTS, way)
        if worth > best:
            best, chosen = worth, (number, k)
    return chosen


def _watched(config: ExperimentConfig) -> list[str]:
    """Runs whose attention is drawn: the start, the competitor, gates, and who knows the truth."""
    gates = [name for name, run in config.runs.items() if run.sees and not run.control]
    oracles = [name for name, run in config.runs.items() if run.oracle == "query"]
    return [*dict.fromkeys([config.start, config.competitor, *gates[:SHOWN_GATES], *oracles[:1]])]


def _first_done(config: ExperimentConfig, place: Place, name: str, size: Size) -> Job | None:
    jobs = (place.job(config, name, seed, size) for seed in config.seeds_of(name))
    return next((job for job in jobs if job.finished), None)


def _network(job: Job) -> Detector | None:
    """What a run ended with; None where its weights are gone."""
    if not job.config.runs[job.name].train:
        return untrained_network(job.start, job.config, job.name)
    path = job.folder / WEIGHTS_FILE
    return checkpoint.load(path) if path.exists() else None


def _views(detector: Detector, oracle: str, drives: DriveFolder, scenes: Sequence[Setting],
           frame: tuple[int, int], place: Place) -> dict[str, View]:
    watched = WatchedDetector(detector, resolve_device(place.device), oracle)
    found = {}
    with listening(detector) as listener:
        for _, setting, _, truth in looks(watched, drives, scenes, [frame], 0, lambda: None):
            assert watched.shown is not None
            found[_title(setting)] = view_of(listener.heard(), watched.shown, truth,
                                             watched.mounting)
    watched.close()
    return found


def _draw(config: ExperimentConfig, views: dict[str, dict[str, View]], folder: Path, frame: str
          ) -> Pictures:
    attention, gate_maps, maps = "", "", {}
    watched = [name for name in _watched(config) if name in views]
    if watched:
        attention = "attention.png"
        draw_attention({title: {name: views[name][title] for name in watched}
                        for title in map(_title, SCENES)}, folder / attention)
    gates = [name for name in watched if config.runs[name].sees]
    shown = {title: view.maps for title, view in views[gates[0]].items()
             if view.maps is not None} if gates else {}
    if shown:
        gate_maps = "gate_maps.png"
        draw_maps(shown, _rig(views), folder / gate_maps, alike=True)
    for setting in MAP_SCENES:
        title = _title(setting)
        rows = {name: view[title].maps for name, view in views.items()
                if config.runs[name].aqr.mode == "weight_map"}
        known = {name: one for name, one in rows.items() if one is not None}
        if known:
            maps[title] = f"weight_maps_{setting.fault}.png"
            draw_maps(known, _rig(views), folder / maps[title], alike=False)
    clean = {name: view[_title(CLEAN)].change for name, view in views.items()}
    changes = {name: one for name, one in clean.items() if one is not None}
    return Pictures(attention, maps, gate_maps, changes, frame)


def _rig(views: dict[str, dict[str, View]]) -> tuple[str, ...]:
    return next(view.rig for scenes in views.values() for view in scenes.values())


def _title(setting: Setting) -> str:
    return "clean" if setting == CLEAN else f"{setting.fault} {setting.severity}"
