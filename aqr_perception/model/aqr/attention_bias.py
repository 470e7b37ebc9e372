"""The second published variant: a bias on the tokens around each query's own place.

A weight in (-1, 1) for each modality, times a scale, is added to the logits of the tokens in a
window around the query's cell. All layers and heads share it. Nothing of size query × token is made
(`window`); where the window is the whole modality, the bias is one per query and sensor.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from aqr_perception.model.aqr.config import AttentionBiasConfig
from aqr_perception.model.aqr.monitor import mean_mass, report
from aqr_perception.model.aqr.output import AqrOutput
from aqr_perception.model.aqr.places import full_precision, widened
from aqr_perception.model.aqr.routing import Look, Router, Routing, Scene
from aqr_perception.model.aqr.strength import with_sigma
from aqr_perception.model.aqr.weight_map.cells import Cells, scene_cells, window_tokens
from aqr_perception.model.aqr.weight_map.generator import build_generator
from aqr_perception.model.aqr.weight_map.router import PUBLISHED_BIAS
from aqr_perception.model.aqr.window import WindowBias
from aqr_perception.model.constants import constant, picked
from aqr_perception.model.memory import Memory
from aqr_perception.types import WeightMapStrength

LARGEST_BIAS = 5.0
"""Biases are cut to this and to the largest scale."""


@dataclass
class AttentionBiasState:
    """One forward pass."""

    scene: Scene
    weights: Tensor
    routing: Routing
    mass: list[Tensor] = field(default_factory=list)


class AttentionBiasRouter(Router):
    """Generator → windows of biases; see `AttentionBiasConfig`."""

    def __init__(self, channels: int, config: AttentionBiasConfig,
                 target_band: tuple[float, float]) -> None:
        super().__init__()
        self.config = self.trained_config = config
        self.target_band = target_band
        self.generator = build_generator(channels, config.generator)
        if config.reference:
            nn.init.xavier_uniform_(self.generator.predictor.weight)
            nn.init.constant_(self.generator.predictor.bias, PUBLISHED_BIAS)
        self.bias_scale = nn.Parameter(torch.tensor(config.scale),
                                       requires_grad=config.learnable_scale)

    def use(self, strength: WeightMapStrength, align: bool = True) -> None:
        """Take another radius of the Gaussian window; None takes the one that was trained with."""
        self.config = with_sigma(self.trained_config, strength)

    def start(self, scene: Scene, look: Look | None = None) -> AttentionBiasState:
        """Generate the weights and the biases of all layers, each query for itself."""
        raw = self.generator(scene, 0, published=self.config.reference)
        weights = widened(raw).tanh()
        return AttentionBiasState(scene, weights,
                                  self._routing(scene, weights, scene.reference_points))

    def route(self, layer: int, target: Tensor, reference_points: Tensor, state: Any
              ) -> tuple[Memory, Routing | None]:
        """Hand out the biases, around where the queries stand now."""
        if reference_points is not state.scene.reference_points:
            state.routing = self._routing(state.scene, state.weights, reference_points)
        return state.scene.memory, state.routing

    def observe(self, layer: int, mass: Tensor, state: Any) -> None:
        """Keep where the attention went."""
        state.mass.append(mass)

    def finish(self, state: Any) -> AqrOutput:
        """Report; a token's factor is the mean of exp(bias) over the matching queries."""
        scene, first = state.scene, state.scene.denoising
        memory, routing = scene.memory, state.routing
        if routing.window is not None:
            excess = torch.expm1(routing.window.bias[:, first:].detach()).flatten(1)
            factor = excess.new_zeros(len(excess), len(memory.token_sensor))
            factor = 1 + factor.scatter_add(1, routing.window.index[:, first:].flatten(1), excess
                                            ) / (scene.reference_points.shape[1] - first)
        else:
            factor = routing.query_bias[:, first:].exp().mean(1)[:, memory.token_sensor]
        weights = state.weights[:, first:]
        summary = report(memory, factor, weights.mean(1), self.target_band,
                         mean_mass(state.mass, first))
        return AqrOutput(summary, factor.detach(), weights)

    def _routing(self, scene: Scene, weights: Tensor, reference_points: Tensor) -> Routing:
        """Biases of the queries at these places."""
        memory = scene.memory
        bias = scaled(weights, self.bias_scale, self.config)
        bias = bias * scene.batch.modulation[:, None].to(bias.dtype)
        if not self.config.local or not memory.tokens.shape[1]:
            cameras = memory.present.shape[1] - 1
            per_sensor = torch.cat([bias[..., :1], bias[..., 1:].expand(-1, -1, cameras)], dim=-1)
            return Routing(memory.token_sensor, query_bias=per_sensor)
        with full_precision(reference_points):
            moved = replace(scene, reference_points=reference_points)
            cells = scene_cells(moved, self.config.reference, 0)
        window = window_bias(bias, cells, memory.bev_shape, memory.image_shape, self.config)
        return Routing(memory.token_sensor, window=window)


def scaled(weights: Tensor, scale: Tensor, config: AttentionBiasConfig) -> Tensor:
    """Weights → biases; a learnable scale is kept in its range, outside it does not learn."""
    if config.learnable_scale:
        scale = scale.clamp(config.min_scale, config.max_scale)
    largest = min(LARGEST_BIAS, config.max_scale)
    return (weights * scale.to(weights.dtype)).clamp(-largest, largest)


def even_window(side: int) -> list[int]:
    """Offsets of a window of ``side`` cells; an even one reaches further right and down."""
    return list(range(-((side - 1) // 2), side // 2 + 1))


def window_bias(bias: Tensor, cells: Cells, bev_shape: tuple[int, int],
                image_shape: tuple[int, int], config: AttentionBiasConfig) -> WindowBias:
    """Spread each query's two biases over the windows around its cells.

    Args:
        bias: (B, Q, 2) LiDAR, cameras.
        cells: Of the queries.
        bev_shape: Rows and columns.
        image_shape: Likewise.
        config: Side and form of the window.
    """
    offsets = even_window(config.window)
    index, real = window_tokens(cells, offsets, offsets, bev_shape, image_shape)
    shape = bias.new_ones(len(offsets), len(offsets))
    if config.gaussian:
        step = constant(offsets, bias)
        squared = step[:, None] ** 2 + step[None, :] ** 2
        shape = torch.exp(-squared / (2 * config.gaussian_sigma ** 2))
    windows = index.shape[-1] // shape.numel()
    which = (0, *[1] * (windows - 1))  # the LiDAR's, then each camera's
    spread = (picked(bias, 2, which)[..., None] * shape.flatten()).flatten(2)
    return WindowBias(index, spread * real, real)
