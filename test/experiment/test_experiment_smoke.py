"""The smoke configuration from its YAML file to its page."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml
from source_imports import REPOSITORY

from aqr_perception.cli.main import main

SMOKE = REPOSITORY / "config" / "experiment_smoke.yaml"


def experiment(drives, out, *more, config=SMOKE):
    return main(["experiment", str(config), str(out), "--drives", str(drives), "--init",
                 str(drives / "weights.safetensors"), *map(str, more)])


def results(out):
    return {path.parent.relative_to(out / "runs").as_posix(): json.loads(path.read_text())
            for path in sorted((out / "runs").glob("*/*/result.json"))}


def without_times(value):
    """A result but for what a clock or the memory said."""
    if isinstance(value, dict):
        return {name: without_times(one) for name, one in value.items()
                if name not in ("milliseconds", "seconds", "seconds_per_step", "eye_seconds",
                                "memory_mib")}
    return [without_times(one) for one in value] if isinstance(value, list) else value


def changed(tmp_path, **changes):
    """The smoke configuration with other top-level fields, as a file."""
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(SMOKE.read_text()), **changes}))
    return path


@pytest.fixture(scope="module")
def done(drives, tmp_path_factory):
    out = tmp_path_factory.mktemp("first")
    assert experiment(drives, out) == 0
    return out


def test_every_run_is_done_with_every_seed(done):
    found = results(done)
    assert len(found) == 2 + 5 * 2
    for name, result in found.items():
        assert set(result["faults"]) == {"camera_black", "lidar_stale", "all_cameras_stale",
                                         "lidar_rotated"}, name
        assert result["clean"]["all"]["frames"] == 4
        assert result["clean"]["same"]["frames"] == 2
        assert result["about"]["trained"] is (result["training"] is not None)
    assert found["gate/seed_0"]["training"]["steps"] == 3
    # A gate that looks at frames learns to see first; one that is told the truth has no need to.
    assert found["gate/seed_0"]["training"]["eye_seconds"] > 0
    assert found["gate_oracle_query/seed_0"]["training"]["eye_seconds"] == 0
    # Weight maps begin as the network without them, and see the same frames.
    first = [found[f"{name}/seed_1"]["training"]["curves"]["loss"][0]
             for name in ("finetune_faults", "aggressive")]
    assert first[0] == pytest.approx(first[1], rel=1e-4)


@pytest.mark.parametrize("name", ["gate_oracle_query", "gate_oracle_frame_frozen"])
def test_an_oracle_leaves_out_what_is_known_to_be_wrong(done, name):
    looks = results(done)[f"{name}/seed_0"]["faults"]["lidar_stale"]["3"]["seen"]
    assert looks
    assert any(look["leave_out"][0] for look in looks)
    for look in looks:
        if look["leave_out"][0]:
            assert look["kept"][0] == pytest.approx(0.0, abs=1e-6)
            assert look["kept"][1:] == pytest.approx([1.0, 1.0])


def test_the_page_holds_figures_and_no_claims_about_untrained_weights(done):
    page = (done / "page" / "index.html").read_text()
    for title in ("Main figures", "AP by class", "Losses", "mAP under faults",
                  "Faults that differ only in who lies", "What the gates see", "Goals",
                  "Weight maps", "What is put right", "Where the attention goes",
                  "Conclusions in plain words"):
        assert f"<h2>{title}</h2>" in page
    assert "nan" not in page
    for name in ("metrics", "losses", "loss_parts", "gradients", "monitor", "faults"):
        assert f"src='{name}.png'" in page
        assert (done / "page" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    document = json.loads((done / "page" / "experiment.json").read_text())
    assert [one["topic"] for one in document["conclusions"]] == ["Validity"]
    assert document["runs"]["gate"]["seeds"] == [0, 1]


def test_the_page_is_written_from_what_is_done(drives, done, tmp_path):
    out = tmp_path / "part"
    shutil.copytree(done, out)
    for torn in ("finetune_faults/seed_0", "finetune_faults/seed_1", "gate/seed_1"):
        (out / "runs" / torn / "result.json").unlink()
    (out / "runs" / "aggressive" / "seed_0" / "weights.safetensors").unlink()
    (out / "page" / "index.html").unlink()
    assert experiment(drives, out, "--page-only") == 0
    page = (out / "page" / "index.html").read_text()
    assert "Missing: finetune_faults, seeds 0, 1; gate, seed 1." in page
    assert "nan" not in page
    assert "weight_maps" not in page
    assert not (out / "runs" / "gate" / "seed_1" / "result.json").exists()
    assert experiment(drives, out, "--only", "gate,baseline", "--seeds", "1") == 0
    assert "Missing: finetune_faults, seeds 0, 1." in (out / "page" / "index.html").read_text()
    shutil.rmtree(out / "runs")
    assert experiment(drives, out, "--page-only") == 2


def test_equal_seeds_give_equal_numbers(drives, done, tmp_path):
    """In processes and with a plan of their own, in another order."""
    runs = yaml.safe_load(SMOKE.read_text())["runs"]
    few = {name: runs[name] for name in ("gate", "finetune_faults", "finetune_clean", "baseline")}
    config = changed(tmp_path, seeds=[1], runs=few, report_aqr="", report_baseline="")
    out = tmp_path / "again"
    assert experiment(drives, out, "--processes", 1, "--budget", 5, config=config) == 0
    assert json.loads((out / "size.json").read_text())["steps"] == 3
    found, before = results(out), results(done)
    assert len(found) == 4
    for name, result in found.items():
        if name.startswith("baseline"):  # its only seed was another one; it draws nothing
            result, before[name] = result["faults"], before["baseline/seed_0"]["faults"]
        assert without_times(result) == without_times(before[name]), name
    assert experiment(drives, out, "--budget", 6, config=config) == 2


def test_what_is_done_stays_and_what_is_missing_is_done_again(drives, done, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(done, out)
    before = results(out)
    torn = out / "runs" / "gate" / "seed_1"
    (torn / "result.json").unlink()
    (torn / "measured" / "lidar_stale-3.json").unlink()
    stamps = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*.json")}
    assert experiment(drives, out) == 0
    assert without_times(results(out)) == without_times(before)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())


def document(out):
    return json.loads((out / "page" / "experiment.json").read_text())


def test_what_is_known_is_not_done_again(drives, done, tmp_path):
    out = tmp_path / "fresh"
    known = done / "page" / "experiment.json"
    assert experiment(drives, out, "--known", known) == 0
    assert not (out / "runs").exists()
    assert document(out) == document(done)
    assert (out / "page" / "index.html").read_text() == (done / "page" / "index.html").read_text()
    for picture in ("attention.png", "gate_maps.png", "weight_maps_none.png"):
        assert (out / "page" / picture).read_bytes() == (done / "page" / picture).read_bytes()
    nothing = tmp_path / "nothing"
    assert experiment(drives, nothing, "--known", known, "--page-only") == 0
    assert document(nothing)["runs"] == document(done)["runs"]


def test_what_is_known_and_what_is_done_here_stand_together(drives, done, tmp_path):
    part, out = tmp_path / "part", tmp_path / "rest"
    shutil.copytree(done, part)
    for torn in ("gate", "finetune_faults"):
        (part / "runs" / torn / "seed_1" / "result.json").unlink()
    assert experiment(drives, part, "--page-only") == 0
    assert document(part)["runs"]["gate"]["seeds"] == [0]
    known = part / "page" / "experiment.json"
    assert experiment(drives, out, "--known", known, "--only", "gate,baseline") == 0
    assert list(results(out)) == ["gate/seed_1"]
    found, before = document(out)["runs"], document(done)["runs"]
    assert found["finetune_faults"]["seeds"] == [0]
    assert list(found) == list(before)
    for part in ("seeds", "curves", "settings"):
        assert found["gate"][part] == before["gate"][part]
    for name in ("mAP", "fault.lidar_stale"):
        assert found["gate"]["values"][name] == before["gate"]["values"][name]


def test_a_run_that_others_learn_from_is_done_where_its_weights_are_missing(drives, tmp_path):
    runs = {"baseline": {"train": False},
            "finetune_faults": {},
            "teacher": {"aqr": {"mode": "weight_map"}},
            "pupil": {"distil_from": "teacher", "aqr": {
                "mode": "weight_map", "weight_map": {"generator": {"kind": "mlp"}}}}}
    config = changed(tmp_path, seeds=[0], runs=runs, report_aqr="", report_baseline="")
    first, second = tmp_path / "first", tmp_path / "second"
    assert experiment(drives, first, "--only", "teacher", config=config) == 0
    known = first / "page" / "experiment.json"
    assert experiment(drives, second, "--known", known, "--only", "teacher,pupil", config=config
                      ) == 0
    assert list(results(second)) == ["pupil/seed_0", "teacher/seed_0"]
    again, before = (document(out)["runs"]["teacher"]["values"] for out in (second, first))
    assert again["mAP"] == before["mAP"]


def test_what_is_known_of_something_else_is_refused(drives, done, tmp_path, capsys):
    known = done / "page" / "experiment.json"
    training = {"steps": 3, "batch_size": 2, "learning_rate": 1e-3}
    assert experiment(drives, tmp_path / "out", "--known", known,
                      config=changed(tmp_path, training=training)) == 2
    assert "experiment.json: holds a run with training = " in capsys.readouterr().err
    whole = document(done)
    for broken in ({}, {"runs": []}, {**whole, "runs": {"gate": {"seeds": [0]}}},
                   {**whole, "runs": {"gate": {**whole["runs"]["gate"], "settings": [{}]}}}):
        path = tmp_path / "broken.json"
        path.write_text(json.dumps(broken))
        assert experiment(drives, tmp_path / "out", "--known", path) == 2
        assert "where figures of runs and their settings were expected" in capsys.readouterr().err
    path.write_text(json.dumps({**whole, "pictures": {**whole["pictures"], "attention": "../a"}}))
    assert experiment(drives, tmp_path / "out", "--known", path) == 2
    assert "pictures: ValueError('a file elsewhere')" in capsys.readouterr().err


def test_a_folder_of_another_experiment_is_refused(drives, done, tmp_path, capsys):
    training = {"steps": 3, "batch_size": 2, "learning_rate": 1e-3}
    assert experiment(drives, done, config=changed(tmp_path, training=training)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "holds a run with training = " in error
    assert "use another folder" in error


@pytest.mark.parametrize(("arguments", "message"), [
    (["--drives", "/nowhere"], "no such folder; make it with 'simulate"),
    (["--init", "/nowhere"], "no such weights file"),
    (["--processes", "0"], "--processes is 0"), (["--budget", "0"], "--budget is 0 hours"),
    (["--only", "gate,gato"], "--only names 'gato'; expected some of baseline"),
    (["--seeds", "2"], "--seeds names '2'; expected some of 0, 1")])
def test_arguments_that_do_not_fit_are_told_in_a_line(drives, tmp_path, capsys, arguments, message):
    assert experiment(drives, tmp_path / "out", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
