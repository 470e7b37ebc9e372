"""How much weight a query gives to the LiDAR and to the cameras.

Two numbers a query, before they are brought into a range: 0 is neutral. The transformer lets each
query look at the tokens around its own place; the MLP takes the features at that place.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aqr_perception.model.aqr.config import GeneratorConfig
from aqr_perception.model.aqr.places import full_precision, locate, sample
from aqr_perception.model.aqr.routing import Scene
from aqr_perception.model.aqr.weight_map.cells import Cells, odd_window, scene_cells, window_tokens
from aqr_perception.model.memory import Memory

INITIAL_SPREAD = 1e-7
"""Standard deviation of the last layer at the start: the output is neutral, the gradient is not."""

_BLOCKED = -1e9
"""Added to the logit of a token outside the window; finite, so that an empty window is no NaN."""


class LocalAttention(nn.Module):
    """Multi-head attention of each query over its own list of tokens, or over all of them."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"aqr.weight_map.generator.heads is {heads}; expected a divisor of "
                             f"the model's {channels} channels")
        self.heads = heads
        self.in_proj = nn.Linear(channels, 3 * channels)
        self.out_proj = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.in_proj.weight)
        nn.init.zeros_(self.in_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor,
                window: tuple[Tensor, Tensor] | None) -> Tensor:
        """Attend.

        Args:
            query: (B, Q, C).
            key: (B, T, C).
            value: (B, T, C).
            window: Token indices (B, Q, N) and which of them are real; None attends to all T.

        Returns:
            (B, Q, C).
        """
        weights, biases = self.in_proj.weight.chunk(3), self.in_proj.bias.chunk(3)
        query, key, value = (F.linear(x, weight, bias).unflatten(-1, (self.heads, -1))
                             for x, weight, bias in zip((query, key, value), weights, biases))
        if window is None:
            attended = F.scaled_dot_product_attention(
                query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)).transpose(1, 2)
        else:
            attended = _attend_window(query, key, value, *window)
        return self.out_proj(attended.flatten(2))


def _attend_window(query: Tensor, key: Tensor, value: Tensor, index: Tensor, real: Tensor
                   ) -> Tensor:
    """Query (B, Q, h, d), key and value (B, T, h, d), window (B, Q, N) → (B, Q, h, d)."""
    frame = torch.arange(len(index), device=index.device)[:, None, None]
    logits = torch.einsum("bqhd,bqnhd->bqhn", query, key[frame, index]) / query.shape[-1] ** 0.5
    logits = logits + ((~real).to(logits.dtype) * _BLOCKED)[:, :, None]
    return torch.einsum("bqhn,bqnhd->bqhd", logits.softmax(-1), value[frame, index])


class LocalLayer(nn.Module):
    """Post-norm transformer layer without self-attention: the queries do not see each other."""

    def __init__(self, channels: int, config: GeneratorConfig) -> None:
        super().__init__()
        self.attention = LocalAttention(channels, config.heads)
        self.norm1 = nn.LayerNorm(channels)
        self.linear1 = nn.Linear(channels, config.feedforward)
        self.linear2 = nn.Linear(config.feedforward, channels)
        self.norm2 = nn.LayerNorm(channels)

    def forward(self, content: Tensor, position: Tensor, memory: Memory,
                window: tuple[Tensor, Tensor] | None) -> Tensor:
        """Content and position (B, Q, C) → content."""
        attended = self.attention(content + position, memory.tokens + memory.positions,
                                  memory.tokens, window)
        content = self.norm1(content + attended)
        return self.norm2(content + self.linear2(self.linear1(content).relu()))


class WindowGenerator(nn.Module):
    """Weights from a transformer over the tokens around each query."""

    def __init__(self, channels: int, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(LocalLayer(channels, config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(channels)
        self.predictor = nn.Linear(channels, 2)
        nn.init.normal_(self.predictor.weight, std=INITIAL_SPREAD)
        nn.init.zeros_(self.predictor.bias)

    def forward(self, scene: Scene, first: int, published: bool = False) -> Tensor:
        """Weights of the queries from number ``first`` on.

        Args:
            scene: The frames.
            first: Number of queries at the front to leave out (the denoising ones).
            published: Look where the published code looks.

        Returns:
            (B, Q, 2) LiDAR, cameras, before they are brought into a range.
        """
        window = None
        layers = self.layers if scene.memory.tokens.shape[1] else ()  # nothing to look at
        if layers and self.config.kind == "local_window":
            with full_precision(scene.reference_points):
                cells = scene_cells(scene, published, first)
            window = self.window(cells, scene.memory, published)
        position = scene.query_positions[:, first:]
        content = torch.zeros_like(position)
        for layer in layers:
            content = layer(content, position, scene.memory, window)
        return self.predictor(self.norm(content))

    def window(self, cells: Cells, memory: Memory, published: bool) -> tuple[Tensor, Tensor]:
        """Tokens around the cells; in our own way without those of absent sensors."""
        index, real = window_tokens(cells, odd_window(self.config.lidar_window),
                                    odd_window(self.config.camera_window),
                                    memory.bev_shape, memory.image_shape)
        if not published:
            sensor = memory.token_sensor[index].flatten(1)
            real = real & memory.present.gather(1, sensor).view_as(real)
        return index, real


class MlpGenerator(nn.Module):
    """Weights from the query's embedding and the features at its place, without attention."""

    def __init__(self, channels: int, config: GeneratorConfig) -> None:
        super().__init__()
        hidden = max(channels // 2, 8)
        self.position = nn.Linear(channels, hidden)
        self.lidar = nn.Linear(channels, hidden)
        self.camera = nn.Linear(channels, hidden)
        self.hidden = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(config.layers))
        self.predictor = nn.Linear(hidden, 2)
        nn.init.normal_(self.predictor.weight, std=INITIAL_SPREAD)
        nn.init.zeros_(self.predictor.bias)

    def forward(self, scene: Scene, first: int, published: bool = False) -> Tensor:
        """See `WindowGenerator.forward`; the published code has no MLP, so both ways are one."""
        memory = scene.memory
        with full_precision(scene.reference_points):
            places = locate(scene, first)
        hidden = self.position(scene.query_positions[:, first:])
        if all(memory.bev_shape):
            lidar = sample(memory.bev.permute(0, 3, 1, 2), places.bev)
            hidden = hidden + self.lidar(lidar) * memory.present[:, :1, None]
        if memory.views:
            maps = memory.images.flatten(0, 1).permute(0, 3, 1, 2)
            seen = sample(maps, places.camera.flatten(0, 1)).unflatten(0, places.visible.shape[:2])
            shown = places.visible[..., None].to(seen.dtype)
            hidden = hidden + (self.camera(seen) * shown).sum(1) / shown.sum(1).clamp(min=1)
        for linear in self.hidden:
            hidden = linear(hidden.relu())
        return self.predictor(hidden.relu())


def build_generator(channels: int, config: GeneratorConfig) -> WindowGenerator | MlpGenerator:
    """The generator that the configuration names."""
    if config.kind == "mlp":
        return MlpGenerator(channels, config)
    return WindowGenerator(channels, config)
