"""The run-time parameters without ROS: presets, refusals, and what no change can break."""

import math

import numpy as np
import pytest

from aqr_perception.model.aqr.config import WeightMapConfig
from aqr_perception.ros.run_time import (
    AS_TRAINED,
    CUSTOM,
    PRESET,
    REPORTED,
    RUN_TIME,
    camera_gain,
    completed,
    completed_start,
    controls_of,
    preset_values,
    values_of,
)
from aqr_perception.types import CLASS_NAMES, Controls

CAMERAS = ("LEFT", "RIGHT")
SPECS = {spec.name: spec for spec in (*RUN_TIME, *map(camera_gain, CAMERAS))}
DEFAULTS = {name: spec.default for name, spec in SPECS.items()}


def changed(current, **changes):
    """The state after a change, as the node makes it; raises where it is refused."""
    whole = completed(current, {name.replace("__", "."): value for name, value in changes.items()})
    state = {**current, **whole}
    controls_of(state, CAMERAS)
    return state


def test_the_defaults_are_the_controls_as_trained():
    controls = controls_of(DEFAULTS, CAMERAS)
    assert controls.gains.cameras == dict.fromkeys(CAMERAS, 1.0)
    assert vars(Controls(gains=controls.gains)) == vars(controls)


@pytest.mark.parametrize("preset", REPORTED)
def test_a_preset_sets_what_the_report_gives_it(preset):
    config = WeightMapConfig.preset(preset)
    controls = controls_of(changed(DEFAULTS, aqr__preset=preset), CAMERAS)
    assert controls.weight_map.residual_weight == config.modulator.residual_weight
    assert controls.weight_map.max_weight_clamp == config.renderer.max_weight_clamp
    assert controls.weight_map.gaussian_sigma == config.renderer.gaussian_sigma
    assert controls.modulation_camera == (0.0 if preset == "lidar_only" else 1.0)
    assert controls.modulation_lidar == 1.0


def test_presets_leave_nothing_of_each_other():
    state = DEFAULTS
    for preset in ("lidar_only", "conservative", AS_TRAINED):
        state = changed(state, aqr__preset=preset)
    assert state == DEFAULTS


def test_a_value_that_departs_from_the_preset_makes_it_custom():
    state = changed(DEFAULTS, aqr__preset="aggressive")
    assert changed(state, aqr__residual_weight=state["aqr.residual_weight"])[PRESET] == "aggressive"
    assert changed(state, gain__lidar=0.5)[PRESET] == "aggressive"
    departed = changed(state, aqr__residual_weight=0.7)
    assert (departed[PRESET], departed["aqr.max_weight_clamp"]) == (CUSTOM, 2.5)
    assert changed(DEFAULTS, modulation__camera=0.5)[PRESET] == CUSTOM


def test_a_saved_state_comes_back_parameter_by_parameter_in_any_order():
    rng = np.random.default_rng(0)
    for saved in (changed(DEFAULTS, aqr__preset="lidar_only"),
                  changed(DEFAULTS, aqr__preset="aggressive", modulation__camera=1.0),
                  changed(DEFAULTS, aqr__max_weight_clamp=3.0)):
        for _ in range(20):
            state = changed(DEFAULTS, aqr__preset="conservative")
            for name in rng.permutation(list(saved)):
                state = changed(state, **{str(name): saved[str(name)]})
            assert state == saved


@pytest.mark.parametrize(("changes", "words"), [
    ({"aqr__preset": "bold"}, "aqr.preset is 'bold'; expected one of as_trained, aggressive"),
    ({"aqr__preset": 3}, "aqr.preset is '3'"),
    ({"aqr__preset": "aggressive", "aqr__residual_weight": 0.7}, "aqr.residual_weight is 0.7, but"),
    ({"aqr__residual_weight": -0.5}, "aqr.residual_weight is -0.5; expected 0 to 1"),
    ({"aqr__max_weight_clamp": math.inf}, "aqr.max_weight_clamp"),
    ({"aqr__gaussian_sigma": math.nan}, "aqr.gaussian_sigma"),
    ({"gain__LEFT": math.nan}, "gain.LEFT"),
    ({"modulation__lidar": -math.inf}, "modulation.lidar"),
    ({"class_score_threshold__car": -0.5}, "class_score_threshold.car is -0.5; expected 0 to 1"),
    ({"class_score_threshold__bus": math.nan}, "class_score_threshold.bus"),
])
def test_a_refusal_names_the_parameter(changes, words):
    with pytest.raises(ValueError, match=words):
        changed(DEFAULTS, **changes)


def test_a_class_has_the_threshold_of_its_own_or_the_overall_one():
    state = changed(DEFAULTS, score_threshold=0.3, class_score_threshold__pedestrian=0.0)
    thresholds = controls_of(state, CAMERAS).score_thresholds()
    expected = [0.0 if name == "pedestrian" else np.float32(0.3) for name in CLASS_NAMES]
    assert thresholds.tolist() == expected


def test_at_the_start_a_preset_overrules_defaults_only():
    assert completed_start(DEFAULTS) == {}
    start = {**DEFAULTS, PRESET: "lidar_only"}
    state = {**start, **completed_start(start)}
    assert state == changed(DEFAULTS, aqr__preset="lidar_only")
    own = {**DEFAULTS, "aqr.residual_weight": 0.7}
    assert completed_start(own) == {PRESET: CUSTOM}
    both = {**own, PRESET: "aggressive"}
    with pytest.raises(ValueError, match=r"residual_weight is 0[.]7, but .* 'aggressive'"):
        controls_of({**both, **completed_start(both)}, CAMERAS)


def test_ten_thousand_random_changes_leave_a_valid_state():
    rng = np.random.default_rng(0)
    state, refused = dict(DEFAULTS), 0
    for _ in range(10_000):
        names = rng.choice(list(SPECS), rng.integers(1, 5), replace=False)
        try:
            state = changed(state, **{name: random_value(rng, SPECS[name]) for name in names})
        except ValueError:
            refused += 1
        controls = controls_of(state, CAMERAS)
        for value in (*vars(controls.weight_map).values(), *controls.gains.cameras.values(),
                      controls.gains.lidar, controls.modulation_lidar, controls.score_threshold):
            assert value is None or math.isfinite(value)
        assert values_of(controls) == {name: state[name] for name in SPECS if name != PRESET}
        assert ((controls.score_thresholds() >= 0) & (controls.score_thresholds() <= 1)).all()
        for name, value in preset_values(state[PRESET]).items():
            assert state[name] == value
    assert 2000 < refused < 9000


def random_value(rng, spec):
    """Of the parameter's type, good or bad."""
    if spec.name == PRESET:
        return str(rng.choice([AS_TRAINED, *REPORTED, CUSTOM, "bold", ""]))
    if isinstance(spec.default, bool):
        return bool(rng.integers(2))
    if isinstance(spec.default, int):
        return int(rng.integers(-3, 500))
    if rng.random() < 0.1:
        return float(rng.choice([math.nan, math.inf, -math.inf, -1.0]))
    low, high = spec.limits
    return float(rng.uniform(low - 0.1 * (high - low), high + 0.1 * (high - low)))
