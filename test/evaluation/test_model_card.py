import json
from pathlib import Path

import pytest
from evaluation_scenes import frame

from aqr_perception.cli.main import main
from aqr_perception.evaluation.metrics import evaluate
from aqr_perception.evaluation.report import FaultResult, Report
from aqr_perception.types import CLASS_NAMES

NEAR = frame([(10, 0)], [.9], [(10, 0)])
BESIDE = frame([(10, .7)], [.9], [(10, 0)])  # AP 3/4


def figures(report: Report, **run) -> dict:
    """What `evaluate` writes of a detector."""
    one = {"boxes": 1, "far": 0.0, "sparse": 1.0, "median_points": 10.0}
    none = {"boxes": 0, "far": None, "sparse": None, "median_points": None}
    settings = {"steps": 9000, "batch_size": 8, "seed": 7}
    return report.to_json() | {
        "run": {"version": "0.1.0", "sensors": "both", "every": 1, "weights": None,
                "trained": True, "metadata": {"training": json.dumps(settings)},
                "preset": "tiny", "parameters": 1234567, "device": "cpu", "threads": 1,
                "milliseconds": {"p50": 81.6, "p90": 99.4}, "seeds": [1_000_000, 1_000_019], **run},
        "set": one | {"by_class": {name: one if name == "car" else none for name in CLASS_NAMES}}}


def written(tmp_path: Path, name: str, document: dict) -> str:
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps(document))
    return str(path)


def card(tmp_path: Path, *arguments: str) -> str:
    out = tmp_path / "README.md"
    assert main(["model-card", *arguments, "--out", str(out)]) == 0
    return out.read_text()


def row(text: str, first: str) -> list[str]:
    """Cells of the first table row that begins so."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_card_says_what_was_measured(tmp_path):
    both = written(tmp_path, "both", figures(Report.of([NEAR], [
        FaultResult("fog", 1, evaluate([BESIDE]))])))
    lidar = written(tmp_path, "lidar", figures(Report.of([BESIDE]), sensors="lidar"))
    text = card(tmp_path, both, lidar, "--faults", both, "--real", f"a street={lidar}",
                "--trained-with", "train drives out --seed 7")
    assert "random" not in text
    assert row(text, "trained with")[1] == "`train drives out --seed 7`"
    assert row(text, "seed")[1] == "7"
    assert row(text, "steps × frames a step")[1] == "9000 × 8"
    assert row(text, "licence")[1] == "Apache-2.0"
    assert row(text, "network")[1] == "`tiny`, 1,234,567 parameters"
    assert row(text, "cameras and LiDAR")[1] == "0.100"
    assert row(text, "LiDAR alone")[1] == "0.075"
    assert row(text, "LiDAR alone")[-1] == "82, 99"
    assert "on the CPU with 1 thread," in text
    assert "seeds 1000000 to 1000019" in text
    assert row(text, "car") == ["car", "1", "1.000", "0.750", "1", "1.000", "0.750"]
    assert sum(line.startswith("| bus |") for line in text.splitlines()) == 2
    assert row(text, "`fog`")[1] == "0.75"
    assert row(text, "a street")[1:] == ["1", "1", "1", "1", "0", "1", "0"]
    for part in text.split("\n\n"):  # only a part of its own, with rows of one length, is a table
        assert len({line.startswith("|") and line.count("|") for line in part.splitlines()}) == 1


def test_weights_that_are_random_are_called_so(tmp_path):
    path = written(tmp_path, "both", figures(Report.of([NEAR]), trained=False,
                                             metadata={"trained": False, "seed": 0}))
    text = card(tmp_path, path)
    assert "These weights are random" in text
    assert row(text, "seed")[1] == "0"
    assert row(text, "trained with")[1] == "not recorded"
    assert "## Under faults" not in text
    assert "## On recordings" not in text


def test_what_the_weights_say_goes_before_what_is_typed(tmp_path):
    path = written(tmp_path, "both", figures(Report.of([NEAR]), metadata={"command": "train a b"}))
    assert row(card(tmp_path, path, "--trained-with", "x"), "trained with")[1] == "`train a b`"


@pytest.mark.parametrize(("change", "extra", "words"), [
    ({"seeds": [3]}, [], "expected held-out ones, 1000000 to 1000019"),
    ({"seeds": []}, [], "expected held-out ones"),
    ({}, ["--real", "street"], "--real is 'street'; expected NAME=FILE"),
    ({}, ["--real", "street=none.json"], "none.json: No such file")])
def test_what_does_not_fit_is_said_in_one_line(tmp_path, change, extra, words, capsys):
    path = written(tmp_path, "both", figures(Report.of([NEAR]), **change))
    assert main(["model-card", path, *extra, "--out", str(tmp_path / "card.md")]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "card.md").exists()


def test_figures_of_other_weights_or_of_none_are_refused(tmp_path, capsys):
    one = written(tmp_path, "one", figures(Report.of([NEAR])))
    other = written(tmp_path, "other", figures(Report.of([NEAR]), sensors="lidar",
                                               metadata={"seed": 1}))
    plain = written(tmp_path, "plain", Report.of([NEAR]).to_json())
    out = ["--out", str(tmp_path / "card.md")]
    assert main(["model-card", one, other, *out]) == 2
    assert "different weights" in capsys.readouterr().err
    assert main(["model-card", one, one, *out]) == 2
    assert "a second file with --sensors both" in capsys.readouterr().err
    assert main(["model-card", plain, *out]) == 2
    assert "plain.json: holds no figures of a detector" in capsys.readouterr().err
