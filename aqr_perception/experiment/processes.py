"""Several jobs at once, each in a process of its own, with one line that says how long it takes.

A process of its own gives each run a peak of memory of its own, and on few cores single-thread jobs
side by side are quicker than one job with many threads.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tqdm import tqdm

from aqr_perception.experiment.job import Job, work

OUTPUT_FILE = "output.txt"


@dataclass
class _Running:
    job: Job
    process: BaseProcess
    connection: Connection


def run_jobs(jobs: Sequence[Job], at_once: int) -> None:
    """Do jobs whose result is not there yet; one that learns from another waits for that.

    Args:
        jobs: In the order in which they begin.
        at_once: Number of processes.

    Raises:
        ValueError: One could not be done, or is there with other settings; the others that run are
            stopped and can go on later.
    """
    # Forked from a server that has imported what they need and done nothing else: no threads to
    # lose, and no seconds of imports for each. The first optimizer imports torch._dynamo.
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["aqr_perception.experiment.job", "torch._dynamo",
                                    "torch.utils.tensorboard"])
    waiting = [job for job in jobs if not job.finished]
    total = sum(_seconds(job) for job in waiting)
    running: list[_Running] = []
    form = "{percentage:3.0f} %, {elapsed} gone, {remaining} left: {desc}"
    with tqdm(total=total, bar_format=form, mininterval=2.0) as bar:
        try:
            while waiting or running:
                while len(running) < at_once and (job := _next(waiting, running)):
                    waiting.remove(job)
                    running.append(_begin(context, job))
                bar.set_description_str(", ".join(one.job.title for one in running),
                                        refresh=False)
                for connection in wait([one.connection for one in running]):
                    one = next(one for one in running if one.connection is connection)
                    if _listen(one, bar):
                        one.process.join()
                        running.remove(one)
        finally:
            for one in running:
                one.process.terminate()
                one.process.join()


def _next(waiting: Sequence[Job], running: Sequence[_Running]) -> Job | None:
    """The first job that can begin; there is one where none runs, as teachers wait for nobody."""
    undone = {job.folder for job in waiting} | {one.job.folder for one in running}
    return next((job for job in waiting if job.teacher not in undone), None)


def _seconds(job: Job) -> float:
    return 1.0 if job.probe else job.size.seconds(job.config, job.name)


def _begin(context: Any, job: Job) -> _Running:
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(job, theirs), daemon=True)
    process.start()
    theirs.close()
    return _Running(job, process, ours)


def _listen(one: _Running, bar: tqdm) -> bool:
    """Take one message of a job; whether it is done.

    Raises:
        ValueError: It failed.
    """
    try:
        message = one.connection.recv()
    except EOFError:
        one.process.join()
        raise ValueError(f"{one.job.title} ended with status {one.process.exitcode}; see "
                         f"{one.job.folder / OUTPUT_FILE}") from None
    if isinstance(message, float):
        bar.update(message)
        return False
    if message:
        raise ValueError(f"{one.job.title}: {message}")
    if one.job.probe:
        bar.update(1.0)
    return True


def _child(job: Job, connection: Connection) -> None:
    """What a process does: the job, with all that it prints in a file."""
    job.folder.mkdir(parents=True, exist_ok=True)
    with _into(job.folder / OUTPUT_FILE):
        try:
            work(job, lambda seconds: connection.send(float(seconds)))
            connection.send("")
        except (ValueError, OSError) as error:
            traceback.print_exc()
            connection.send(str(error) or type(error).__name__)


@contextlib.contextmanager
def _into(path: Path) -> Any:
    """Standard output and error go to a file, also those of C++."""
    with path.open("a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        yield
        sys.stdout.flush()
        sys.stderr.flush()
