from __future__ import annotations

from dataclasses import replace

import pytest
from source_imports import REPOSITORY

from aqr_perception.experiment.config_file import config_of, load_config
from aqr_perception.experiment.drives import chosen_frames
from aqr_perception.model.aqr.config import REPORT_CLASS_RESIDUALS, WeightMapConfig

RUNS = {"baseline": {"train": False}, "finetune_faults": {}}


@pytest.fixture(scope="module")
def full():
    return load_config(REPOSITORY / "config" / "experiment.yaml")


@pytest.mark.parametrize("name", ["aggressive", "conservative", "very_conservative", "lidar_only"])
def test_runs_named_after_a_preset_are_that_preset(full, name):
    assert full.runs[name].aqr.weight_map == WeightMapConfig.preset(name)


def test_variants_differ_from_the_aggressive_one_in_one_thing(full):
    base = full.runs["aggressive"].aqr.weight_map

    def modulated(**changes):
        return replace(base, modulator=replace(base.modulator, **changes))

    expected = {
        "class_residual": modulated(class_residual_weight=REPORT_CLASS_RESIDUALS),
        "size_adaptive": modulated(size_adaptive=True),
        "learnable_sigma": replace(base, renderer=replace(base.renderer, learnable_sigma=True)),
        "mlp_generator": replace(base, generator=replace(base.generator, kind="mlp")),
        "mlp_distilled": replace(base, generator=replace(base.generator, kind="mlp")),
        "aggressive_reference": replace(base, reference=True),
        "aggressive_reference_clean": replace(base, reference=True), "aggressive_clean": base}
    assert {name: full.runs[name].aqr.weight_map for name in expected} == expected


def test_everything_is_held_against_something_but_the_start(full):
    assert [name for name in full.runs if not full.against(name)] == ["baseline"]
    assert full.against("gate") == ("finetune_faults",)
    untrained = [name for name in full.runs if full.seeds_of(name) == full.seeds[:1]]
    assert untrained == ["baseline", "gate_shipped", "gate_shipped_without_alignment",
                         "gate_oracle_frame_frozen"]
    assert len(full.jobs()) == 4 + (len(full.runs) - 4) * len(full.seeds)
    assert len(full.evaluation.fault_names) > 30


@pytest.mark.parametrize(("changes", "message"), [
    ({"seeds": []}, r"x: seeds is \[\]"), ({"seeds": [1, 1]}, "each once"),
    ({"sedes": [0]}, "x has unknown fields sedes"),
    ({"competitor": "nobody"}, "competitor is 'nobody', which is no run"),
    ({"runs": {}}, "x: has no runs"),
    ({"runs": {**RUNS, "A/b": {}}}, "'A/b' names a folder"),
    ({"runs": {**RUNS, "a": {"against": ["b"]}}}, "runs.a.against names b"),
    ({"runs": {**RUNS, "a": {"oracle": "word"}}}, "x: runs.a: oracle is 'word'"),
    ({"runs": {**RUNS, "a": {"oracle": "frame"}}}, "stands in for a gate"),
    ({"runs": {**RUNS, "a": {"freeze_baseline": True}}}, "nothing to train"),
    ({"runs": {**RUNS, "a": {"own_aqr": True, "aqr": {"mode": "gate"}}}}, "weights as they came"),
    ({"runs": {**RUNS, "a": {"own_aqr": True, "train": False}}}, "weights as they came"),
    ({"runs": {**RUNS, "a": {"aqr": {"mode": "gates"}}}}, "x: runs.a: aqr.mode is 'gates'"),
    ({"runs": {**RUNS, "a": {"fault_share": 2.0}}}, "faults.share is 2.0"),
    ({"training": {"steps": 0}}, "x: training.steps is 0; expected 1 or more"),
    ({"evaluation": {"faults": ["rust"]}}, "fault is 'rust'"),
    ({"evaluation": {"frames": 9, "clean_frames": 3}}, "at most clean_frames, 3")])
def test_what_does_not_fit_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        config_of({"runs": RUNS, **changes}, "x")


def test_no_yaml(tmp_path):
    (tmp_path / "a.yaml").write_text("a: [")
    with pytest.raises(ValueError, match="is not YAML"):
        load_config(tmp_path / "a.yaml")


def test_frames_are_the_last_of_each_drive_and_nested():
    assert chosen_frames([3, 1, 4], 5) == [(0, 1), (0, 2), (1, 0), (2, 2), (2, 3)]
    assert chosen_frames([3, 1, 4], 99) == [(d, k) for d, n in enumerate([3, 1, 4])
                                            for k in range(n)]
    for count in range(8):
        assert set(chosen_frames([3, 1, 4], count)) <= set(chosen_frames([3, 1, 4], count + 1))
