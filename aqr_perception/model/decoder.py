"""The decoder: queries look at each other, then at the tokens of all sensors, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aqr_perception.model.aqr.routing import Look, Router, Routing, Scene
from aqr_perception.model.attention import EXCLUDED, NO_BIAS, Attention, Bias, Columns
from aqr_perception.model.config import DecoderConfig, DetectorConfig
from aqr_perception.model.constants import picked
from aqr_perception.model.head import Head
from aqr_perception.model.locality import (
    FourierPosition,
    Locality,
    query_directions,
    token_directions,
)
from aqr_perception.model.memory import Memory, Selection
from aqr_perception.model.position import Cameras, PositionEmbedding, inverse_sigmoid, range_limits
from aqr_perception.model.seed import QuerySeed, seed_trust, tokens_under
from aqr_perception.types import Batch

CENTER = (0, 1, 4)
"""Where x, y, z stand among the ten numbers of a box."""


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention, feed-forward, each added and then normalised (post-norm).

    Dropout stands on the outputs of both attentions; the weights of self-attention have it too,
    those of cross-attention have none (in CMT the argument that should set it sets a bias).
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        channels = config.channels
        self.self_attention = Attention(channels, config.heads, weight_dropout=config.dropout)
        self.cross_attention = Attention(channels, config.heads)
        self.feedforward = nn.Sequential(
            nn.Linear(channels, config.feedforward), nn.ReLU(inplace=True),
            nn.Linear(config.feedforward, channels))
        self.self_norm = nn.LayerNorm(channels)
        self.cross_norm = nn.LayerNorm(channels)
        self.feedforward_norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, target: Tensor, position: Tensor, keys: Tensor, values: Tensor,
                bias: Bias = NO_BIAS, blocked: Tensor | None = None
                ) -> tuple[Tensor, Tensor | None]:
        """One layer.

        Args:
            target: (B, Q, C) content of the queries.
            position: (B, Q, C) their position embedding.
            keys: (B, T, C) tokens with position.
            values: (B, T, C) tokens.
            bias: Of the cross-attention.
            blocked: (Q, Q) bool, True where a query may not see another.

        Returns:
            The new content (B, Q, C); and the share of attention on each sensor (B, Q, S), where
            the bias asks for it.
        """
        placed = target + position
        target = self.self_norm(
            target + self.dropout(self.self_attention(placed, placed, target, blocked)))
        seen, mass = self.cross_attention.biased(target + position, keys, values, bias)
        target = self.cross_norm(target + self.dropout(seen))
        return self.feedforward_norm(target + self.feedforward(target)), mass


@dataclass(frozen=True)
class Queries:
    """What goes into the decoder beside the memory.

    Attributes:
        reference_points: (B, D + Q, 3) in [0, 1] of the detection range; denoising ones first.
        denoising: D.
        blocked: (D + Q, D + Q) bool, True where a query may not see another; None: all may.
        tokens: (B, D + Q) int64 token that seeds each query, or `seed.NOWHERE`; None: none does.
        heat: (B, T, K) logits of all tokens, where queries are seeded.
    """

    reference_points: Tensor
    denoising: int = 0
    blocked: Tensor | None = None
    tokens: Tensor | None = None
    heat: Tensor | None = None

    def behind(self, noisy: Tensor, blocked: Tensor, memory: Memory, selection: Selection
               ) -> Queries:
        """The same queries with denoising ones (B, D, 3) before them.

        Where queries are seeded, these are by the cells of the bird's-eye view that they lie in.
        """
        tokens = self.tokens
        if tokens is not None:
            under = tokens_under(noisy, memory.bev_shape, selection.usable[:, 0])
            tokens = torch.cat([under, tokens], dim=1)
        return replace(self, reference_points=torch.cat([noisy, self.reference_points], dim=1),
                       denoising=noisy.shape[1], blocked=blocked, tokens=tokens)


class Decoder(nn.Module):
    """All layers, with positions, routing and head."""

    def __init__(self, config: DetectorConfig, router: Router) -> None:
        super().__init__()
        self.config = config
        self.positions: PositionEmbedding | FourierPosition
        self.locality: Locality | None = None
        if config.decoder.position == "fourier":
            self.positions, self.locality = FourierPosition(config), Locality(config)
        else:
            self.positions = PositionEmbedding(config)
        self.seed = QuerySeed(config.decoder.channels) if config.decoder.seeded else None
        self.layers = nn.ModuleList(DecoderLayer(config.decoder)
                                    for _ in range(config.decoder.layers))
        self.post_norm = nn.LayerNorm(config.decoder.channels)
        self.head = Head(config)
        self.router = router

    def look(self, memory: Memory, batch: Batch, selection: Selection, history: object = None
             ) -> Look:
        """Let adaptive query routing look at the sensors before queries are placed.

        Args:
            memory: Tokens, without positions.
            batch: What AQR looks at beside them.
            selection: Sensors that each frame may look at.
            history: Of AQR, for the frames before.
        """
        if not selection.routed:
            return Look(None, selection.usable)
        with torch.autocast(memory.tokens.device.type, enabled=False):
            return self.router.look(self.scene(self._plain(memory), batch, history))

    def scene(self, memory: Memory, batch: Batch, history: object = None) -> Scene:
        """What adaptive query routing may look at while there are no queries."""
        nothing = memory.tokens.new_zeros(len(memory.tokens), 0, 3)
        image = self.config.image
        return Scene(memory=memory, reference_points=nothing, query_positions=nothing, denoising=0,
                     batch=batch, image_size=(image.height, image.width) if image else (0, 0),
                     detection_range=self.config.detection_range, predict=_unasked,
                     history=history)

    def _plain(self, memory: Memory) -> Memory:
        """Tokens in the precision of the parameters."""
        return replace(memory, tokens=memory.tokens.to(self.post_norm.weight.dtype))

    def forward(self, memory: Memory, queries: Queries, batch: Batch, selection: Selection,
                history: object = None, look: Look | None = None
                ) -> tuple[Tensor, Tensor, object]:
        """Run all layers.

        Under autocast the layers keep the precision of the parameters, as in CMT; only the fused
        kernel of cross-attention runs in half precision, on a GPU. The Gaussians of `Locality` are
        differences of large squares, so with them it does not.

        Args:
            memory: Tokens, without positions.
            queries: Where they stand.
            batch: Calibration, gains and what AQR looks at.
            selection: Sensors that each frame may look at.
            history: Of AQR, for the frames before.
            look: At the same frames, if queries were placed with it.

        Returns:
            logits (L, B, D + Q, K), boxes (L, B, D + Q, 10), both of the last layer only in
            evaluation (L = 1), and what AQR reports.
        """
        device = memory.tokens.device.type
        kernel = None
        if torch.is_autocast_enabled(device) and device == "cuda" and self.locality is None:
            kernel = torch.get_autocast_dtype(device)
        with torch.autocast(device, enabled=False):
            return self._run(memory, queries, batch, selection, history, look, kernel)

    def _run(self, memory: Memory, queries: Queries, batch: Batch, selection: Selection,
             history: object, look: Look | None, kernel: torch.dtype | None
             ) -> tuple[Tensor, Tensor, object]:
        """`forward` in the precision of the parameters, but for the kernel of cross-attention."""
        cameras = Cameras(batch.image_from_lidar, selection.usable[:, 1:])
        memory = self._plain(memory)
        directions = self._token_directions(memory, cameras)
        memory = replace(memory, positions=self._token_positions(memory, cameras, directions))
        trusted = selection.usable if look is None else look.trusted
        seeing = replace(cameras, usable=trusted[:, 1:])
        trace = _Trace(self, memory, queries, seeing, batch, history)
        router = self.router if selection.routed else Router()
        state = router.start(trace.scene, look)
        gain_bias = None if selection.unbiased else sensor_bias(memory, batch.gains)
        places = self.locality.keys(memory, directions) if self.locality else None
        unchanged = chosen_tokens(memory)
        target = torch.zeros_like(trace.positions)
        for number, layer in enumerate(self.layers):
            attended, routing = router.route(number, target, trace.references, state)
            bias = routing_bias(routing, gain_bias, memory.present.shape[1], target)
            bias = replace(bias, kernel=kernel, runs=memory.runs)
            if self.locality is not None and places is not None:
                near, reading = self.locality(number, trace.references, trace.directions, places)
                bias = replace(bias, columns=(*bias.columns, near), reading=reading)
            if number == 0 and self.seed is not None:
                target = self._seeded(target, queries, batch, attended, routing)
            keys, values = unchanged if attended is memory else chosen_tokens(attended)
            target, mass = layer(target, trace.positions, keys, values, chosen_bias(memory, bias),
                                 queries.blocked)
            if mass is not None:
                router.observe(number, mass, state)
            trace.after(number, target)
        return *trace.read(), router.finish(state)

    def _seeded(self, target: Tensor, queries: Queries, batch: Batch, memory: Memory,
                routing: Routing | None) -> Tensor:
        """(B, Q, C) what the queries know at the start; nothing where there is no token at all."""
        if queries.tokens is None or queries.heat is None or not memory.tokens.shape[1]:
            return target
        assert self.seed is not None
        trust = seed_trust(routing, batch.gains, memory, queries.tokens)
        return trust * self.seed(memory, queries.heat, queries.tokens)

    def _token_directions(self, memory: Memory, cameras: Cameras) -> Tensor | None:
        """(B, len(views), N, 3) where image tokens look, for networks with `Locality`."""
        if self.locality is None or not memory.views:
            return None
        return token_directions(self.config, cameras.of(memory.views), *memory.image_shape)

    def _token_positions(self, memory: Memory, cameras: Cameras, directions: Tensor | None
                         ) -> Tensor:
        """(B, T, C) position embedding of all tokens."""
        parts = [memory.tokens.new_zeros(len(memory.tokens), 0, memory.tokens.shape[2])]
        if memory.bev_shape[0]:
            parts.append(self.positions.bev(*memory.bev_shape, memory.tokens).expand(
                len(memory.tokens), -1, -1))
        if isinstance(self.positions, PositionEmbedding):
            if memory.views:
                parts.append(self.positions.images(cameras.of(memory.views), *memory.image_shape)
                             .flatten(1, 2))
        elif directions is not None:
            parts.append(self.positions.images(directions).flatten(1, 2))
        return torch.cat(parts, dim=1)

    def query_positions(self, references: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
        """(B, Q, C) position embedding of queries, and (B, Q, 3) where they are seen.

        The second is empty for networks without `Locality`, which do not look at it.
        """
        if isinstance(self.positions, PositionEmbedding):
            return self.positions.queries(references, cameras), references[..., :0]
        directions = query_directions(self.config, references, cameras)
        return self.positions.queries(references, directions), directions


class _Trace:
    """What the layers leave behind: where queries stood, and what they then said."""

    def __init__(self, decoder: Decoder, memory: Memory, queries: Queries, cameras: Cameras,
                 batch: Batch, history: object) -> None:
        self.decoder = decoder
        self.cameras = cameras
        self.references = queries.reference_points
        self.positions, self.directions = decoder.query_positions(
            inverse_sigmoid(self.references).sigmoid(), cameras)  # learned ones may leave [0, 1]
        self._starts: list[Tensor] = []
        self._states: list[Tensor] = []
        self.scene = replace(
            decoder.scene(memory, batch, history), reference_points=self.references,
            query_positions=self.positions, denoising=queries.denoising, predict=self.predict)

    def predict(self, layer: int, target: Tensor) -> tuple[Tensor, Tensor]:
        """The head of a layer that has run: logits (B, Q, K), boxes (B, Q, 10)."""
        states = self.decoder.post_norm(target)[None]
        logits, boxes = self.decoder.head(states, self._starts[layer][None], layer)
        return logits[0], boxes[0]

    def after(self, layer: int, target: Tensor) -> None:
        """Keep what a layer gave; move the queries to where it saw their objects, if they move."""
        self._starts.append(self.references)
        self._states.append(self.decoder.post_norm(target))
        config = self.decoder.config
        if config.decoder.refine and layer + 1 < config.decoder.layers:
            _, boxes = self.decoder.head(self._states[-1][None], self.references[None], layer)
            low, high = range_limits(config, boxes)
            center = (picked(boxes[0].detach(), -1, CENTER) - low) / (high - low)
            self.references = center.clamp(0.0, 1.0)
            self.positions, self.directions = self.decoder.query_positions(self.references,
                                                                           self.cameras)

    def read(self) -> tuple[Tensor, Tensor]:
        """Logits and boxes of all layers in training, of the last one in evaluation."""
        first = 0 if self.decoder.training else len(self._states) - 1
        return self.decoder.head(torch.stack(self._states[first:]),
                                 torch.stack(self._starts[first:]), first)


def _unasked(layer: int, target: Tensor) -> tuple[Tensor, Tensor]:
    raise AssertionError("without queries there is nothing to predict")


def routing_bias(routing: Routing | None, gain_bias: Tensor | None, sensors: int, like: Tensor
                 ) -> Bias:
    """Turn routing, gains and exclusion into columns: one a sensor and one for the tokens.

    Args:
        routing: What AQR says about this layer.
        gain_bias: (B, T) log gain and exclusion of each token, or None.
        sensors: S.
        like: (B, Q, C) queries, for dtype and device.

    Returns:
        `NO_BIAS` where nothing is biased, so that the plain kernel runs.
    """
    columns, window, groups = [], None, None
    token_bias = gain_bias
    if routing is not None:
        window = routing.window
        groups = F.one_hot(routing.token_sensor, sensors).to(like.dtype).expand(len(like), -1, -1)
        if routing.query_bias is not None:
            columns.append(Columns(routing.query_bias, groups, "sensor"))
        if routing.token_bias is not None:
            token_bias = routing.token_bias if gain_bias is None else (
                (routing.token_bias + gain_bias).clamp(min=EXCLUDED))
    if token_bias is not None:
        ones = like.new_ones(()).expand(*like.shape[:2], 1)
        columns.append(Columns(ones, token_bias[..., None], "token"))
    return Bias(tuple(columns), window, groups)


def chosen_tokens(memory: Memory) -> tuple[Tensor, Tensor]:
    """Keys (B, K, C) and values (B, K, C) that attention is to look at."""
    keys = memory.tokens + memory.positions
    return _chosen(keys, memory.chosen), _chosen(memory.tokens, memory.chosen)


def chosen_bias(memory: Memory, bias: Bias) -> Bias:
    """The bias of those tokens."""
    columns = tuple(replace(one, keys=_chosen(one.keys, memory.chosen)) for one in bias.columns)
    groups = None if bias.groups is None else _chosen(bias.groups, memory.chosen)
    window = bias.window
    if window is not None and memory.chosen is not None:
        window = window.among(memory.chosen, memory.tokens.shape[1])
    reading = bias.reading
    if reading is not None:
        reading = replace(reading, values=_chosen(reading.values, memory.chosen))
    return replace(bias, columns=columns, window=window, groups=groups, reading=reading)


def _chosen(x: Tensor, index: Tensor | None) -> Tensor:
    """(B, T, N) → (B, K, N)."""
    return x if index is None else x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))


def sensor_bias(memory: Memory, gains: Tensor) -> Tensor:
    """(B, T) log gain of each token's sensor, `EXCLUDED` where the frame may not look at it."""
    factor = gains.masked_fill(~memory.present, 0.0)[:, memory.token_sensor]
    return factor.log().clamp(min=EXCLUDED)
