"""Names of the published AQR variant's parameters, and what they are called here."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

UNUSED = ("bev_type_embed", "rv_type_embed")
"""Parameters of the published generator that its forward pass never touches."""

_LAYER = "encoder.layers.{}."
_OF_LAYER = {
    "attentions.0.attn.in_proj_weight": "attention.in_proj.weight",
    "attentions.0.attn.in_proj_bias": "attention.in_proj.bias",
    "attentions.0.attn.out_proj.weight": "attention.out_proj.weight",
    "attentions.0.attn.out_proj.bias": "attention.out_proj.bias",
    "ffns.0.layers.0.0.weight": "linear1.weight",
    "ffns.0.layers.0.0.bias": "linear1.bias",
    "ffns.0.layers.1.weight": "linear2.weight",
    "ffns.0.layers.1.bias": "linear2.bias",
    "norms.0.weight": "norm1.weight",
    "norms.0.bias": "norm1.bias",
    "norms.1.weight": "norm2.weight",
    "norms.1.bias": "norm2.bias",
}
_OTHERS = {
    "encoder.post_norm.weight": "norm.weight",
    "encoder.post_norm.bias": "norm.bias",
    "weight_predictor.weight": "predictor.weight",
    "weight_predictor.bias": "predictor.bias",
}


def generator_names(layers: int = 1) -> dict[str, str]:
    """Published name → name in `WindowGenerator`, both below the generator's own prefix.

    The published prefix is ``pts_bbox_head.aqr_weight_generator.``.
    """
    names = dict(_OTHERS)
    for layer in range(layers):
        names |= {_LAYER.format(layer) + theirs: f"layers.{layer}.{ours}"
                  for theirs, ours in _OF_LAYER.items()}
    return names


def generator_state(published: Mapping[str, Tensor], layers: int = 1) -> dict[str, Tensor]:
    """State of a `WindowGenerator` from the published parameters without their prefix.

    Raises:
        ValueError: A parameter is missing, or one is there that belongs to no generator.
    """
    names = generator_names(layers)
    missing = sorted(set(names) - set(published))
    unexpected = sorted(set(published) - set(names) - set(UNUSED))
    if missing or unexpected:
        raise ValueError(f"AQR weight generator: missing {missing}, unexpected {unexpected}; "
                         f"expected the parameters of {layers} encoder layer(s)")
    return {ours: published[theirs] for theirs, ours in names.items()}
