"""What of AQR's strength may be changed in a trained network, and what comes of it."""

from __future__ import annotations

from dataclasses import replace

from aqr_perception.model.aqr.config import AqrConfig, AttentionBiasConfig, WeightMapConfig
from aqr_perception.types import WeightMapStrength

_INSTEAD = {
    "off": "it has no AQR, and only gain.* applies",
    "gate": "there modulation.*, gain.* and aqr.enabled apply",
    "attention_bias": "there modulation.*, gain.* and aqr.enabled apply, and aqr.gaussian_sigma "
                      "where it was trained with a Gaussian window"}


def with_strength(config: WeightMapConfig, strength: WeightMapStrength) -> WeightMapConfig:
    """The configuration with the values that are not None.

    Raises:
        ValueError: They do not fit the rest of it.
    """
    given = {name: value for name, value in vars(strength).items() if value is not None}
    residual = {"residual_weight": given.pop("residual_weight")} if "residual_weight" in given \
        else {}
    return replace(config, renderer=replace(config.renderer, **given),
                   modulator=replace(config.modulator, **residual))


def with_sigma(config: AttentionBiasConfig, strength: WeightMapStrength) -> AttentionBiasConfig:
    """The configuration with another radius of its Gaussian window, where one is given."""
    if strength.gaussian_sigma is None:
        return config
    return replace(config, gaussian_sigma=strength.gaussian_sigma)


def check_strength(config: AqrConfig, strength: WeightMapStrength) -> None:
    """Hold a strength to a network.

    Raises:
        ValueError: The network's mode has nothing of the kind, or the value does not fit it.
    """
    given = [f"aqr.{name}" for name, value in vars(strength).items() if value is not None]
    if not given:
        return
    if config.mode == "attention_bias" and given == ["aqr.gaussian_sigma"]:
        if not (config.attention_bias.gaussian and config.attention_bias.local):
            raise ValueError("aqr.gaussian_sigma cannot be set: the network's attention_bias was "
                             "trained without a Gaussian window; there modulation.*, gain.* and "
                             "aqr.enabled apply")
        return
    if config.mode != "weight_map":
        raise ValueError(f"{' and '.join(given)} cannot be set: the network's aqr.mode is "
                         f"'{config.mode}', not 'weight_map'; {_INSTEAD[config.mode]}")
    method = config.weight_map.renderer.method
    if strength.gaussian_sigma is not None and method != "gaussian":
        raise ValueError("aqr.gaussian_sigma cannot be set: the network renders its maps by the "
                         f"method '{method}', which has none")
    with_strength(config.weight_map, strength)
