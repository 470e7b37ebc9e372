"""An experiment from its configuration to the figures of every run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aqr_perception.experiment.config import ExperimentConfig
from aqr_perception.experiment.drives import Drives
from aqr_perception.experiment.files import write_json
from aqr_perception.experiment.job import Job
from aqr_perception.experiment.processes import run_jobs
from aqr_perception.experiment.size import Cost, Size, fitted_size, full_size
from aqr_perception.recordings.json_file import read_json

SIZE_FILE = "size.json"


@dataclass(frozen=True)
class Place:
    """Where an experiment runs.

    Attributes:
        drives: Folder with ``train`` and ``held_out``.
        out: Folder of the experiment.
        start: Weights file; None: the weights that ship.
        device: auto, cpu, cuda or cuda:N.
        processes: At once.
    """

    drives: Path
    out: Path
    start: Path | None
    device: str
    processes: int

    def job(self, config: ExperimentConfig, name: str, seed: int, size: Size, probe: bool = False
            ) -> Job:
        """One run with one seed."""
        return Job(config, name, seed, size, self.start, self.drives, self.out, self.device,
                   probe)


def run_experiment(config: ExperimentConfig, place: Place, hours: float | None
                   ) -> tuple[Size, list[Any]]:
    """Do every run that is not done yet.

    Args:
        config: What.
        place: Where.
        hours: That it may take; steps and frames become fewer to fit. None: as many as the
            configuration says. The choice is kept in the folder, and is not made again.

    Returns:
        How much was done, and the content of each run's result file, seed by seed.

    Raises:
        ValueError: An input does not fit, the folder holds another experiment, or a run failed.
        OSError: A file cannot be read or written.
    """
    size = _size(config, place, hours)
    jobs = [place.job(config, name, seed, size) for name, seed in config.jobs()]
    run_jobs(jobs, place.processes)
    return size, [read_json(job.result) for job in jobs]


def _size(config: ExperimentConfig, place: Place, hours: float | None) -> Size:
    full = full_size(config, len(Drives.open(place.drives).held_out))
    path = place.out / SIZE_FILE
    if path.exists():
        kept = read_json(path)
        if hours is not None and kept["hours"] != hours:
            made = "without --budget" if kept["hours"] is None else f"for {kept['hours']:g} hours"
            raise ValueError(f"{path}: was made {made}, --budget is {hours:g}; use another folder, "
                             "or say the same to go on")
        if kept["hours"] is not None:
            return Size.of_json(kept)
    place.out.mkdir(parents=True, exist_ok=True)
    size = full
    if hours is not None:
        size = fitted_size(config, full, _costs(config, place, full), hours, place.processes)
    write_json(path, {"hours": hours, **size.to_json()})
    return size


def _costs(config: ExperimentConfig, place: Place, full: Size) -> dict[str, Cost]:
    """Of every run, from its first steps, with as many processes at once as later on."""
    probes = [place.job(config, name, config.seeds[0], full, probe=True) for name in config.runs]
    run_jobs(probes, place.processes)
    return {probe.name: Cost(**read_json(probe.result)) for probe in probes}
