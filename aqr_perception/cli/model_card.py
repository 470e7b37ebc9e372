"""Write the model card of a weights file from figures that `evaluate --json` wrote.

    model-card both.json lidar.json camera.json --real scene.json --out README.md

`scripts/model_card` measures and writes in one go.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MEASURED_BY = "write it with 'evaluate SOURCE --json FILE'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("held_out", nargs="+", type=Path, metavar="FILE",
                        help="figures on the held-out drives, one file for each --sensors")
    parser.add_argument("--real", nargs="+", default=[], metavar="NAME=FILE",
                        help="figures on a recording, and what to call it")
    parser.add_argument("--faults", type=Path, metavar="FILE", help="figures under faults")
    parser.add_argument("--trained-with", metavar="COMMAND",
                        help="how the weights were trained, where their file does not say")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the card")


def run(args: argparse.Namespace) -> int:
    """Write the card.

    Raises:
        OSError: A file is not there.
        ValueError: A file is not one of `evaluate`, or is of other drives than the held-out ones.
    """
    from aqr_perception.evaluation.model_card import CardInput, model_card

    held_out: dict[str, Mapping[str, Any]] = {}
    for path in args.held_out:
        figures = _figures(path)
        _check_held_out(path, figures)
        sensors = figures["run"]["sensors"]
        if sensors in held_out:
            raise ValueError(f"{path}: is a second file with --sensors {sensors}; expected one")
        held_out[sensors] = figures
    real: dict[str, Mapping[str, Any]] = {}
    for text in args.real:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise ValueError(f"--real is '{text}'; expected NAME=FILE")
        real[name] = _figures(Path(path))
    faults = _figures(args.faults) if args.faults else None
    every = [*held_out.values(), *real.values(), *([faults] if faults else [])]
    if any(one["run"]["metadata"] != every[0]["run"]["metadata"] for one in every):
        raise ValueError("the files are of different weights; expected figures of one detector")
    card = model_card(CardInput(held_out, real, faults, args.trained_with))
    args.out.write_text(card, encoding="utf-8")
    print(f"{args.out}: {len(card.splitlines())} lines")
    return 0


def _figures(path: Path) -> Mapping[str, Any]:
    from aqr_perception.recordings.json_file import read_json

    figures = read_json(path)
    if not isinstance(figures, dict) or not {"run", "set", "counts", "near"} <= figures.keys():
        raise ValueError(f"{path}: holds no figures of a detector; {MEASURED_BY}")
    return figures


def _check_held_out(path: Path, figures: Mapping[str, Any]) -> None:
    from aqr_perception.simulation.splits import HELD_OUT

    seeds = figures["run"]["seeds"]
    if not seeds or not set(seeds) <= set(HELD_OUT):
        raise ValueError(f"{path}: is of drives with seeds {str(seeds)[:60]}; expected held-out "
                         f"ones, {HELD_OUT.start} to {HELD_OUT.stop - 1}: make them with "
                         "'simulate --held-out'")
