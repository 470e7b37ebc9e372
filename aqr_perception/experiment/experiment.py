"""An experiment from its configuration to the result files of its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aqr_perception.experiment.config import ExperimentConfig
from aqr_perception.experiment.drives import Drives
from aqr_perception.experiment.figures import RunFigures, figures_of
from aqr_perception.experiment.files import write_json
from aqr_perception.experiment.job import RESULT_FILE, Job
from aqr_perception.experiment.known import NOTHING, Known, joined
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


def chosen_jobs(config: ExperimentConfig, names: str | None, seeds: str | None
                ) -> list[tuple[str, int]]:
    """The runs and seeds that are asked for, in the order in which they are done.

    Args:
        config: The experiment.
        names: Of runs, with commas between them; None: all.
        seeds: Likewise. A run in which nothing is drawn is done with the first seed, whatever is
            asked for.

    Raises:
        ValueError: The experiment has no such run or seed.
    """
    runs = _listed("--only", names, list(config.runs))
    numbers = _listed("--seeds", seeds, [str(seed) for seed in config.seeds])
    return [(name, seed) for name, seed in config.jobs() if name in runs
            and (str(seed) in numbers or not config.runs[name].train)]


def run_experiment(config: ExperimentConfig, place: Place, hours: float | None,
                   chosen: Sequence[tuple[str, int]], known: Known = NOTHING) -> None:
    """Do the chosen runs that are not done yet.

    Args:
        config: What.
        place: Where.
        hours: That all of it may take, not the chosen runs alone; steps and frames become fewer to
            fit. None: as many as the configuration says. The choice is kept in the folder, and is
            not made again.
        chosen: Runs and seeds, see `chosen_jobs`.
        known: Runs that were done elsewhere; they are not done again, unless another is to learn
            from their weights.

    Raises:
        ValueError: An input does not fit, the folder or what is known is of another experiment, or
            a run failed.
        OSError: A file cannot be read or written.
    """
    size = _size(config, place, hours)
    asked = [place.job(config, name, seed, size) for name, seed in chosen]
    for job in asked:
        _check_teacher(config, job, asked)
    jobs = [job for job in asked if not known.has(job)]
    taught_by = {job.teacher for job in jobs if not job.finished}
    run_jobs([job for job in asked if job in jobs or job.folder in taught_by], place.processes)


def done_so_far(config: ExperimentConfig, place: Place, known: Known = NOTHING
                ) -> tuple[Size, dict[str, RunFigures]]:
    """All that is done, by this call, an earlier one, or elsewhere.

    Returns:
        How much each run does, and the figures of every run of which a seed is done.

    Raises:
        ValueError: The folder or what is known is of another experiment, or no run of this one is
            done.
        OSError: The folder holds no experiment, and nothing is known.
    """
    path = place.out / SIZE_FILE
    size = Size.of_json(known.size if known.size and not path.exists() else read_json(path))
    jobs = [place.job(config, name, seed, size) for name, seed in config.jobs()]
    own = figures_of(config, [read_json(job.result) for job in jobs if job.finished])
    figures = joined(config, own, known.of(jobs))
    if not figures:
        raise ValueError(f"{place.out}: no run is done yet; expected one at least, of "
                         f"{', '.join(config.runs)}")
    return size, figures


def _listed(option: str, text: str | None, known: list[str]) -> list[str]:
    if text is None:
        return known
    given = [part.strip() for part in text.split(",")]
    strangers = [part for part in given if part not in known]
    if strangers:
        raise ValueError(f"{option} names '{strangers[0]}'; expected some of {', '.join(known)}")
    return given


def _check_teacher(config: ExperimentConfig, job: Job, jobs: Sequence[Job]) -> None:
    """Whether whom a run learns from is done, or will be."""
    done_now = {other.folder for other in jobs}
    if job.teacher is not None and job.teacher not in done_now and not (
            job.teacher / RESULT_FILE).exists():
        raise ValueError(f"--only: {job.title} learns from {config.runs[job.name].distil_from}, "
                         "which is not done; expected that among the runs, too")


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
