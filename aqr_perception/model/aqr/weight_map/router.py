"""The experiment report's AQR as one mode of routing: it changes features, not attention."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from aqr_perception.model.aqr.config import ModulatorConfig, WeightMapConfig
from aqr_perception.model.aqr.monitor import mean_mass, report
from aqr_perception.model.aqr.output import AqrOutput
from aqr_perception.model.aqr.places import full_precision, locate, to_cells, widened
from aqr_perception.model.aqr.routing import Look, Router, Routing, Scene
from aqr_perception.model.aqr.strength import with_strength
from aqr_perception.model.aqr.weight_map import published
from aqr_perception.model.aqr.weight_map.cells import Cells, scene_cells
from aqr_perception.model.aqr.weight_map.generator import build_generator
from aqr_perception.model.aqr.weight_map.modulator import combine, gain
from aqr_perception.model.aqr.weight_map.renderer import WeightRenderer
from aqr_perception.model.constants import constant
from aqr_perception.model.memory import Memory
from aqr_perception.types import CLASS_NAMES, WeightMapStrength

SMALL_OBJECT = 2.0
"""Objects shorter than this [m] count as small (the report's plan C)."""

SMALL_SHARE = 0.5
"""Their part of the say."""

PUBLISHED_BIAS = 1.5
"""Of the published predictor at the start: tanh(1.5) = 0.905."""


@dataclass
class WeightMapState:
    """What stays the same over the layers of one forward pass, and what the last layer used."""

    scene: Scene
    weights: Tensor
    cells: Cells | None
    factor: Tensor = field(default_factory=lambda: torch.ones(()))
    mass: list[Tensor] = field(default_factory=list)


class WeightMapRouter(Router):
    """Generator → renderer → modulator; see `WeightMapConfig`."""

    class_residuals: Tensor

    def __init__(self, channels: int, config: WeightMapConfig,
                 target_band: tuple[float, float]) -> None:
        super().__init__()
        self.config = self.trained_config = config
        self.target_band = target_band
        self.generator = build_generator(channels, config.generator)
        self.renderer = WeightRenderer(config.renderer)
        if config.reference:
            nn.init.xavier_uniform_(self.generator.predictor.weight)
            nn.init.constant_(self.generator.predictor.bias, PUBLISHED_BIAS)
        self.register_buffer("class_residuals", class_residuals(config.modulator),
                             persistent=False)

    def use(self, strength: WeightMapStrength, align: bool = True) -> None:
        """Take other numbers for those that were trained with; None takes the latter again.

        A class with a residual weight of its own keeps it.
        """
        self.config = with_strength(self.trained_config, strength)
        self.renderer.sigma = strength.gaussian_sigma
        self.class_residuals = class_residuals(self.config.modulator).to(self.class_residuals)

    def extra_repr(self) -> str:
        """Say how far a feature can be raised."""
        return f"theoretical_maximum={self.config.theoretical_maximum:.4g}"

    @property
    def needs_prediction(self) -> bool:
        """Whether maps depend on what the layer before predicts, hence differ between layers."""
        modulator = self.config.modulator
        return (modulator.size_adaptive or bool(modulator.class_residual_weight)
                ) and not self.config.reference

    def start(self, scene: Scene, look: Look | None = None) -> WeightMapState:
        """Generate the weights (denoising queries left out) and the first layer's factors."""
        first = 0 if self.config.reference else scene.denoising
        raw = widened(self.generator(scene, first, published=self.config.reference))
        with full_precision(raw):
            if self.config.reference:
                state = WeightMapState(scene, raw.tanh().detach(), scene_cells(scene, True, first))
                state.factor = self._published_factor(state)
            else:
                weights = bounded(raw, self.config.renderer.max_weight_clamp)
                state = WeightMapState(scene, weights, None)
                state.factor = self._factor(state, scene.reference_points, None)
        return state

    def route(self, layer: int, target: Tensor, reference_points: Tensor, state: Any
              ) -> tuple[Memory, Routing | None]:
        """Hand out the modulated tokens; attention itself stays as it is."""
        moved = reference_points is not state.scene.reference_points
        if layer and not self.config.reference and (self.needs_prediction or moved):
            predicted = None
            if self.needs_prediction:
                with torch.no_grad():
                    predicted = state.scene.predict(layer - 1, target)
            with full_precision(state.weights):
                state.factor = self._factor(state, reference_points, predicted)
        memory = state.scene.memory
        tokens = memory.tokens * state.factor[..., None].to(memory.tokens.dtype)
        no_bias = torch.zeros_like(state.factor).detach()  # so that the decoder tells the mass
        return replace(memory, tokens=tokens), Routing(memory.token_sensor, token_bias=no_bias)

    def observe(self, layer: int, mass: Tensor, state: Any) -> None:
        """Keep where the attention went."""
        state.mass.append(mass)

    def finish(self, state: Any) -> AqrOutput:
        """Report."""
        copies = state.scene.denoising if self.config.reference else 0  # else never weighed
        weights = state.weights[:, copies:]
        summary = report(state.scene.memory, state.factor, weights.mean(1), self.target_band,
                         mean_mass(state.mass, state.scene.denoising))
        memory = state.scene.memory
        there = memory.present[:, memory.token_sensor]  # of what is absent nobody reads a factor
        return AqrOutput(summary, state.factor.detach().where(there, 1.0), weights)

    def _factor(self, state: WeightMapState, reference_points: Tensor,
                predicted: tuple[Tensor, Tensor] | None) -> Tensor:
        """(B, T) factor on each token."""
        scene, modulator = state.scene, self.config.modulator
        places = locate(replace(scene, reference_points=reference_points), scene.denoising)
        excess = state.weights - 1
        residual = None  # the same for every query
        if predicted is not None:
            logits, boxes = (x[:, scene.denoising:] for x in predicted)
            if modulator.size_adaptive:
                small = boxes[..., 2:4].amax(-1).exp() < SMALL_OBJECT
                excess = excess * torch.where(small, SMALL_SHARE, 1.0)[..., None]
            if modulator.class_residual_weight:
                residual = self.class_residuals.to(excess)[logits.argmax(-1)]
        memory = scene.memory
        parts = []
        if all(memory.bev_shape):
            visible = torch.ones_like(places.bev[:, None, :, 0], dtype=torch.bool)
            parts.append(self._factor_of(excess[..., 0], residual, places.bev[:, None], visible,
                                         memory.bev_shape, 0, modulator.lidar, scene))
        if memory.views:
            parts.append(self._factor_of(excess[..., 1], residual, places.camera, places.visible,
                                         memory.image_shape, 1, modulator.camera, scene))
        return torch.cat(parts, dim=1) if parts else excess.new_zeros(len(excess), 0)

    def _factor_of(self, excess: Tensor, residual: Tensor | None, places: Tensor, visible: Tensor,
                   shape: tuple[int, int], modality: int, switched_on: bool, scene: Scene
                   ) -> Tensor:
        """(B, M·H·W) factors of one modality."""
        if not switched_on:
            return excess.new_ones(len(excess), visible.shape[1] * shape[0] * shape[1])
        values, neutral = [1 + excess], [1.0]
        if residual is not None:
            values.append(residual)
            neutral.append(self.config.modulator.residual_weight)
        maps = self.renderer(torch.stack(values, dim=-1), constant(neutral, excess),
                             to_cells(places, *shape), visible, *shape)
        weights = combine(maps[:, :, 0], self.config.modulator.modulation)
        kept = self.config.modulator.residual_weight if residual is None else maps[:, :, 1]
        factor = gain(weights, kept).flatten(1)
        return 1 + scene.batch.modulation[:, modality, None].to(factor.dtype) * (factor - 1)

    @torch.no_grad()
    def _published_factor(self, state: WeightMapState) -> Tensor:
        """(B, T) W + r on each token, as published; denoising queries are among the rendered."""
        memory, modulator, config = state.scene.memory, self.config.modulator, self.config.renderer
        assert state.cells is not None
        modulate = published.PublishedModulator(modulator.modulation, normalize=False,
                                                residual_weight=modulator.residual_weight)
        parts = [(state.weights.new_ones(len(state.weights), 0), 0, True)]
        if all(memory.bev_shape):
            maps = published.render_bev(config, state.weights[..., 0], state.cells.bev,
                                        *memory.bev_shape)
            parts.append((modulate.gain(maps[:, None]).flatten(1), 0, modulator.lidar))
        if memory.views:
            maps = published.render_cameras(config, state.weights[..., 1], state.cells.camera[:, 0],
                                            len(memory.views), *memory.image_shape)
            parts.append((modulate.gain(maps).flatten(1), 1, modulator.camera))
        strength = state.scene.batch.modulation.to(state.weights.dtype)
        return torch.cat([1 + strength[:, modality, None] * switched_on * (factor - 1)
                          for factor, modality, switched_on in parts], dim=1)


def class_residuals(modulator: ModulatorConfig) -> Tensor:
    """(K,) residual weight of each class."""
    return torch.tensor([modulator.class_residual_weight.get(name, modulator.residual_weight)
                         for name in CLASS_NAMES])


def bounded(raw: Tensor, largest: float) -> Tensor:
    """Bring the generator's numbers into (0, largest); 0 becomes 1, the neutral weight."""
    return largest * torch.sigmoid(raw - math.log(largest - 1.0))
