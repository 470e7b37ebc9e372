"""Compare the baseline with every kind of adaptive query routing, clean and with failing sensors.

    simulate DIR/train --drives 500 --frames 4          drives to learn from
    simulate DIR/held_out --held-out                    drives to measure on
    experiment config/experiment.yaml OUT --drives DIR --budget 10

All runs start from the same trained weights, see the same batches and differ in one thing; then all
are measured on the same frames. OUT holds a folder a run and the page with its figures. An
interrupted experiment goes on where it stopped; with --budget, steps and frames become fewer until
it fits into so many hours. --only and --seeds do a part of it; the page always shows all runs that
are done, and --page-only writes it and does nothing else. --known takes what an earlier page holds,
so that a night's work can be done in parts on machines that keep nothing.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("config", type=Path, metavar="CONFIG", help="YAML file of the runs")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the experiment")
    parser.add_argument("--drives", type=Path, required=True, metavar="DIR",
                        help="folder with 'train' and 'held_out', both from 'simulate'")
    parser.add_argument("--budget", type=float, metavar="HOURS",
                        help="take fewer steps and frames, so that it fits into these hours")
    parser.add_argument("--init", type=Path, metavar="FILE",
                        help="weights that all runs start from (default: those that ship)")
    parser.add_argument("--only", metavar="NAME[,NAME...]",
                        help="do these runs alone; the others stay as they are")
    parser.add_argument("--seeds", metavar="SEED[,SEED...]", help="do these seeds alone")
    parser.add_argument("--page-only", action="store_true",
                        help="do no run; write the page of those that are done")
    parser.add_argument("--page", type=Path, metavar="DIR",
                        help="where the page and its figures go (default: OUT/page)")
    parser.add_argument("--known", type=Path, metavar="FILE",
                        help="experiment.json of a page: runs that it holds, done with the same "
                             "settings, weights and drives, are not done again")
    parser.add_argument("--processes", type=int, metavar="N",
                        help="runs at once, each of one thread (default: one a core)")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:N (default: cpu)")


def run(args: argparse.Namespace) -> int:
    """Do what is not done yet, and write the page.

    Raises:
        ValueError: An argument or the configuration does not fit, or a run failed.
        OSError: A file cannot be read or written.
    """
    from aqr_perception.experiment.config_file import load_config
    from aqr_perception.experiment.experiment import Place, chosen_jobs, done_so_far, run_experiment
    from aqr_perception.experiment.known import NOTHING, read_known
    from aqr_perception.experiment.page import write_page
    from aqr_perception.experiment.pictures import draw_pictures

    processes = len(os.sched_getaffinity(0)) if args.processes is None else args.processes
    if processes < 1:
        raise ValueError(f"--processes is {processes}; expected 1 or more")
    if args.budget is not None and not args.budget > 0:
        raise ValueError(f"--budget is {args.budget:g} hours; expected above 0")
    if args.init is not None and not args.init.exists():
        raise FileNotFoundError(2, "no such weights file", str(args.init))
    config = load_config(args.config)
    place = Place(args.drives, args.out, args.init, args.device, processes)
    jobs = chosen_jobs(config, args.only, args.seeds)
    known = read_known(args.known) if args.known else NOTHING
    if not args.page_only:
        run_experiment(config, place, args.budget, jobs, known)
    size, figures = done_so_far(config, place, known)
    folder = args.page or args.out / "page"
    pictures = draw_pictures(config, place, size, folder, known)
    page = write_page(config, size, figures, folder, pictures)
    done = sum(len(run.seeds) for run in figures.values())
    print(f"{page}: {done} of {len(config.jobs())} runs, of {size.steps} steps, "
          f"{size.clean_frames} clean frames, {size.frames} under each fault")
    return 0
