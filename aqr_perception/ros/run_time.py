"""The parameters that may change while driving, without ROS: a mapping of values → `Controls`.

A change is a mapping too. `completed` adds what follows from it (a preset's values, or that the
preset no longer holds), `controls_of` turns the whole into what the pipeline takes, or refuses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aqr_perception.ros.parameter_spec import Spec
from aqr_perception.types import CLASS_NAMES, Controls, Gains, WeightMapStrength

Values = Mapping[str, Any]
"""By the parameters' names."""

UNSET = -1.0
"""Value of a number that something else decides: the training, or the overall threshold."""
PRESET = "aqr.preset"
AS_TRAINED, CUSTOM = "as_trained", "custom"
REPORTED = ("aggressive", "conservative", "very_conservative", "lidar_only")
"""Presets of `model.aqr.config.WeightMapConfig.preset`."""
STRENGTH = ("residual_weight", "max_weight_clamp", "gaussian_sigma")
"""Fields of `WeightMapStrength`; the parameters stand below ``aqr.``."""

_OF_MAPS = "of the network's mode weight_map only; -1: as trained"
RUN_TIME = (
    Spec("score_threshold", 0.1, "Detections with a lower score are left out", (0.0, 1.0)),
    *(Spec(f"class_score_threshold.{name}", UNSET,
           f"The same for the class {name}; -1: score_threshold", (UNSET, 1.0))
      for name in CLASS_NAMES),
    Spec("max_detections", 300, "Largest number of detections a frame, the best kept", (1, 10000)),
    Spec("gain.lidar", 1.0, "Say of the LiDAR: 1 as trained, 0 exactly as if it were absent",
         (0.0, 4.0)),
    Spec("gain.camera", 1.0, "Say of all cameras together: 1 as trained, 0 as if absent",
         (0.0, 4.0)),
    Spec("modulation.lidar", 1.0, "Say of AQR over the LiDAR: 0 none, 1 as trained", (0.0, 1.0)),
    Spec("modulation.camera", 1.0, "Say of AQR over the cameras: 0 none, 1 as trained",
         (0.0, 1.0)),
    Spec("aqr.enabled", True, "False runs the network without AQR"),
    Spec("aqr.align", True, "Put right a sensor that is turned or shows what was; of the network's "
                            "mode gate only"),
    Spec(PRESET, AS_TRAINED, f"Sets aqr.{', aqr.'.join(STRENGTH)}, modulation.lidar and "
                             f"modulation.camera together: {AS_TRAINED}, or, of the network's mode "
                             f"weight_map only, {', '.join(REPORTED)}; reads {CUSTOM} once one of "
                             "them is set by itself"),
    Spec("aqr.residual_weight", UNSET, f"Part of a feature that AQR leaves as it is; {_OF_MAPS}",
         (UNSET, 1.0)),
    Spec("aqr.max_weight_clamp", UNSET, f"Largest weight of AQR, above 1; {_OF_MAPS}",
         (UNSET, 16.0)),
    Spec("aqr.gaussian_sigma", UNSET, "Radius of a query's Gaussian [cells of the map], 0.1 to 32; "
                                      "of the network's mode weight_map, and of attention_bias "
                                      "with a Gaussian window; -1: as trained", (UNSET, 32.0)),
)


def camera_gain(name: str) -> Spec:
    """The parameter of one camera."""
    return Spec(f"gain.{name}", 1.0, f"Say of {name}, times gain.camera", (0.0, 4.0))


def preset_values(preset: str) -> dict[str, float]:
    """What a preset sets; nothing for ``custom``.

    Raises:
        ValueError: There is none of that name.
    """
    if preset == CUSTOM:
        return {}
    if preset == AS_TRAINED:
        return {**{f"aqr.{name}": UNSET for name in STRENGTH},
                "modulation.lidar": 1.0, "modulation.camera": 1.0}
    if preset not in REPORTED:
        raise ValueError(f"{PRESET} is '{preset}'; expected one of "
                         f"{', '.join((AS_TRAINED, *REPORTED, CUSTOM))}")
    from aqr_perception.model.aqr.config import WeightMapConfig  # imports torch, which takes long

    config = WeightMapConfig.preset(preset)
    return {"aqr.residual_weight": config.modulator.residual_weight,
            "aqr.max_weight_clamp": config.renderer.max_weight_clamp,
            "aqr.gaussian_sigma": config.renderer.gaussian_sigma,
            "modulation.lidar": float(config.modulator.lidar),
            "modulation.camera": float(config.modulator.camera)}


def completed(current: Values, changes: Values) -> dict[str, Any]:
    """A change with what follows from it.

    A preset brings its values, where the change does not name them itself; a value that departs
    from the preset in force makes that ``custom``.

    Raises:
        ValueError: The change names a preset that there is not.
    """
    if PRESET in changes:
        return {**preset_values(changes[PRESET]), **changes}
    group = preset_values(current[PRESET])
    departs = any(name in changes and changes[name] != value for name, value in group.items())
    return {**changes, PRESET: CUSTOM} if departs else dict(changes)


def completed_start(start: Values) -> dict[str, Any]:
    """What follows from the values at the start, as a change to them.

    A preset brings its values where those of the start are the defaults, which a copied file of
    parameters lists too. Without a preset, values of one's own make it ``custom``.

    Raises:
        ValueError: There is no such preset.
    """
    defaults = preset_values(AS_TRAINED)
    own = {name: start[name] for name, value in defaults.items() if start[name] != value}
    if start[PRESET] == AS_TRAINED:
        return {PRESET: CUSTOM} if own else {}
    return {**preset_values(start[PRESET]), **own}


def controls_of(values: Values, cameras: tuple[str, ...]) -> Controls:
    """All run-time values as one snapshot.

    Args:
        values: Of `RUN_TIME` and of each camera's gain.
        cameras: Their names.

    Raises:
        ValueError: A value does not fit, or the preset is not what its values are.
    """
    preset = values[PRESET]
    for name, value in preset_values(preset).items():
        if values[name] != value:
            raise ValueError(f"{name} is {values[name]}, but {PRESET} '{preset}' sets it to "
                             f"{value}: leave one of the two out, or set {PRESET} to {CUSTOM}")
    strength = {name: values[f"aqr.{name}"] for name in STRENGTH}
    thresholds = {name: values[f"class_score_threshold.{name}"] for name in CLASS_NAMES}
    return Controls(
        gains=Gains(values["gain.lidar"], values["gain.camera"],
                    {name: values[f"gain.{name}"] for name in cameras}),
        modulation_lidar=values["modulation.lidar"],
        modulation_camera=values["modulation.camera"],
        aqr_enabled=values["aqr.enabled"],
        align=values["aqr.align"],
        weight_map=WeightMapStrength(**_set(strength)),
        score_threshold=values["score_threshold"],
        class_score_thresholds=_set(thresholds),
        max_detections=values["max_detections"])


def values_of(controls: Controls) -> dict[str, Any]:
    """The other way: values by the parameters' names, `PRESET` left out, which is only a name."""
    strength = {f"aqr.{name}": getattr(controls.weight_map, name) for name in STRENGTH}
    thresholds = {f"class_score_threshold.{name}": controls.class_score_thresholds.get(name)
                  for name in CLASS_NAMES}
    return {
        "score_threshold": controls.score_threshold,
        **{name: UNSET if value is None else value for name, value in thresholds.items()},
        "max_detections": controls.max_detections,
        "gain.lidar": controls.gains.lidar,
        "gain.camera": controls.gains.camera,
        **{f"gain.{name}": gain for name, gain in controls.gains.cameras.items()},
        "modulation.lidar": controls.modulation_lidar,
        "modulation.camera": controls.modulation_camera,
        "aqr.enabled": controls.aqr_enabled,
        "aqr.align": controls.align,
        **{name: UNSET if value is None else value for name, value in strength.items()}}


def _set(values: Mapping[str, float]) -> dict[str, float]:
    """Those that are set."""
    return {name: value for name, value in values.items() if value != UNSET}
