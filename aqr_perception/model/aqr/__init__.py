"""Adaptive query routing: per query and per token, how much to trust which sensor.

One interface for every mode, `routing.Router`:

    router = build_router(channels, layers, config)     # None where config.mode is "off"
    look = router.look(scene)                            # once: whom to trust, before queries
    state = router.start(scene, look)                    # once: what is seen where they start
    for each decoder layer:
        memory, routing = router.route(layer, target, reference_points, state)
        target = layer(target, memory, routing)          # routing: biases as appended columns
    output = router.finish(state)                        # DetectorOutput.aqr: an AqrOutput

`gate` answers with biases, `weight_map` with modulated tokens, `attention_bias` with a window of
biases around each query. ``AqrOutput.history`` handed back in as ``Scene.history`` with the next
frame gives the gate its evidence over time; without it that evidence is masked.
"""

from __future__ import annotations

from aqr_perception.model.aqr.config import AqrConfig
from aqr_perception.model.aqr.routing import Router


def build_router(channels: int, layers: int, config: AqrConfig) -> Router | None:
    """The mode that the configuration names.

    Args:
        channels: Width of tokens and queries.
        layers: Decoder layers.
        config: Mode and settings.

    Returns:
        The router; None for ``off``, where the decoder runs as if AQR did not exist.
    """
    from aqr_perception.model.aqr.attention_bias import AttentionBiasRouter
    from aqr_perception.model.aqr.gate import GateRouter
    from aqr_perception.model.aqr.weight_map.router import WeightMapRouter

    if config.mode == "gate":
        return GateRouter(channels, layers, config.gate, config.target_band)
    if config.mode == "weight_map":
        return WeightMapRouter(channels, config.weight_map, config.target_band)
    if config.mode == "attention_bias":
        return AttentionBiasRouter(channels, config.attention_bias, config.target_band)
    return None
