"""The gate: how much of its attention each query may give to each sensor and to each token.

A gate is a logit g of "keep". The bias on the attention is λ·logsigmoid(g) ≤ 0, so that a sensor
can only be suppressed; the largest bias is then subtracted, which changes nothing and lets the most
trusted sensor keep exactly what it had. A bias below a threshold leaves its sensor or token out
altogether. What the gate believes of whole sensors and how it acts differ by a caution, since to
lose a sound one costs more than to keep one that lies, and by a sharpness, since half a sensor is
worth less than either. All that it acts on starts equal: every bias is then 0 and the network is
the one without AQR.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aqr_perception.model.aqr.acting import (
    Strength,
    by_kind,
    left_out,
    relative,
    say,
    shuffled,
)
from aqr_perception.model.aqr.agreement import Descriptors
from aqr_perception.model.aqr.alignment import (
    SEARCHED_BELOW,
    as_it_came,
    carried,
    moved_cloud,
    put_right,
    settled,
    spared,
    suspected,
    to_blame,
)
from aqr_perception.model.aqr.config import GateConfig
from aqr_perception.model.aqr.evidence import (
    Evidence,
    QueryEvidence,
    SensorGraph,
    TokenEvidence,
    gather,
)
from aqr_perception.model.aqr.fitting import agreed, jumped, search, telling
from aqr_perception.model.aqr.gate_state import (
    GateState,
    contrast_of,
    history_of,
    kept_of,
    read_tokens,
)
from aqr_perception.model.aqr.likeness import cloud_before
from aqr_perception.model.aqr.monitor import mean_mass, report
from aqr_perception.model.aqr.output import (
    AqrOutput,
    Contrast,
    GateLabels,
    GateLogits,
    TokenLayout,
)
from aqr_perception.model.aqr.places import full_precision
from aqr_perception.model.aqr.routing import Look, Router, Routing, Scene
from aqr_perception.model.aqr.temporal import TemporalMemory
from aqr_perception.model.attention import EXCLUDED
from aqr_perception.model.memory import Memory
from aqr_perception.types import Batch, WeightMapStrength

PLACES_FROM = 0.5
"""Sensors that keep at least this part of their say also say where queries start."""

LEAST_TRUST = 1e-3
"""Trust beyond this, to either side, counts as this: opinions must be able to change."""

INITIAL_SPREAD = 1e-5
"""Standard deviation of the last layers' weights at the start: no effect, but a gradient."""


class GateRouter(Router):
    """See the module; `GateConfig` says which parts are switched on.

    Attributes:
        oracle: Labels that stand in for what the gate would decide, for experiments: 0 leaves out,
            1 and NaN keep. Its entries must fit the next batch; None lets the gate decide.
        align: Whether sensors are put right, where the configuration has that.
    """

    caution: Tensor
    unmoved: Tensor

    def __init__(self, channels: int, layers: int, config: GateConfig,
                 target_band: tuple[float, float]) -> None:
        super().__init__()
        self.config = config
        self.target_band = target_band
        self.oracle: GateLabels | None = None
        self.align = True
        self.frame_strength = Strength(config.initial_strength)
        if not config.learned:
            self.constant = nn.Parameter(torch.full((2,), config.initial_logit))
            return
        self.query_strength = Strength(config.initial_strength)
        self.token_strength = Strength(config.initial_strength)
        self.descriptors = Descriptors(channels, config)
        self.graph = SensorGraph(config)
        sensors = [nn.Linear(config.hidden, 1) for _ in range(2)]
        self.frame_head = nn.ModuleList(sensors)
        self.carried = nn.Parameter(torch.zeros(2))
        self.register_buffer("caution", torch.tensor(config.caution), persistent=False)
        self.register_buffer("unmoved", torch.tensor(config.initial_trust), persistent=False)
        self.query_evidence = QueryEvidence(config)
        self.query_sensor = nn.Linear(config.hidden, config.hidden)
        contents = [nn.Linear(channels, config.hidden) for _ in range(layers)]
        self.query_content = nn.ModuleList(contents)
        self.query_head = nn.ModuleList(nn.Linear(config.hidden, 1) for _ in range(layers))
        self.token_evidence = TokenEvidence(config, layers)
        for content in contents:  # new beside an eye that may have learned already
            nn.init.zeros_(content.weight)
            nn.init.zeros_(content.bias)
        for head in (*self.frame_head, *self.query_head, self.token_evidence.head):
            nn.init.normal_(head.weight, std=INITIAL_SPREAD)
            nn.init.constant_(head.bias, config.initial_logit)
        for head, trust in zip(sensors, config.initial_trust):
            nn.init.constant_(head.bias, trust)

    def use(self, strength: WeightMapStrength, align: bool = True) -> None:
        """Put sensors right from the next frame on, or not."""
        self.align = align

    def acting(self) -> tuple[nn.Module, ...]:
        """The parts beside the eye: what a query itself holds, and how strongly the gate acts."""
        if not self.config.learned:
            return (self.frame_strength,)
        return (self.query_content, self.query_strength, self.token_strength, self.frame_strength)

    def receive(self, batch: Batch, history: Any) -> Batch:
        """Move clouds back that were found to lie elsewhere in the frame before."""
        before = history.history if isinstance(history, AqrOutput) else history
        if before is None or before.alignment is None or not self._aligns:
            return batch
        if spared(before.alignment.lidar):
            return batch
        prior = carried(batch, before.alignment, before.valid, self.config.max_motion)
        return moved_cloud(batch, prior)

    def look(self, scene: Scene) -> Look:
        """Collect the evidence that all queries and layers share.

        A sensor that lies must not say where queries start, either: left out of attention alone, a
        rotated LiDAR still cost a quarter of what the cameras find without it.
        """
        with full_precision(scene.memory.tokens):
            state = self._put_right(scene) if self._aligns else self._look(scene)
            kept = relative(state.frame_bias.detach(), scene.memory.present,
                            self.config.exclude_below).exp()
            return Look(state, scene.memory.present & (kept >= PLACES_FROM), state.scene.batch,
                        state.alignment)

    def start(self, scene: Scene, look: Look | None = None) -> GateState:
        """Add what is seen where the queries start; without a look, of sensors as they are."""
        if look is None:
            with full_precision(scene.memory.tokens):
                state = self._look(scene)
        else:
            state = replace(look.state, scene=scene)
        if self.config.learned and self.config.query:
            with full_precision(scene.reference_points):
                state.query_base = self._at(scene.reference_points, state)
        return state

    def _judged(self, scene: Scene) -> tuple[Evidence, Tensor, Tensor]:
        """Evidence, (B, S, hidden) what is to be thought of the sensors, and their logits."""
        evidence = gather(scene, history_of(scene), self.descriptors, self.config)
        hidden = self.graph(evidence)
        frame = torch.cat([self.frame_head[0](hidden[:, :1]), self.frame_head[1](hidden[:, 1:])],
                          dim=1).squeeze(-1)
        return evidence, hidden, frame + self._opinion(evidence.trusted)

    def _opinion(self, trusted: Tensor) -> Tensor:
        """(B, S) what is left of the opinion of the frame before.

        Log-odds add up, as in a Bayesian filter: where this frame tells nothing about a sensor, the
        opinion stays, and fades.
        """
        start = by_kind(self.unmoved, trusted)
        odds = torch.minimum(trusted.clamp(LEAST_TRUST, 1 - LEAST_TRUST).logit(), start) - start
        return odds * by_kind(self.carried.sigmoid(), trusted) * float(self.config.time)

    @property
    def _aligns(self) -> bool:
        """Whether sensors are put right at all."""
        return (self.align and self.config.align and self.config.learned and self.config.agreement
                and not self.training and self.oracle is None)

    def _put_right(self, scene: Scene) -> GateState:
        """Look at the sensors as they fit together."""
        before = history_of(scene)
        prior = as_it_came(scene)
        if before is not None and before.alignment is not None:
            prior = carried(scene.batch, before.alignment, before.valid, self.config.max_motion)
        state = self._look(scene if spared(prior.place) else put_right(scene, prior))
        assert state.evidence is not None
        maps = state.evidence.maps
        fits = agreed(maps, state.evidence.along)
        told = telling(maps) & maps.present[:, 1:].any(1)
        cloud = None if before is None else cloud_before(maps, before, prior, scene.detection_range)
        jumps = torch.zeros_like(told) if cloud is None else jumped(cloud, prior)
        may = maps.present[:, 0] & (told | jumps) & (scene.batch.modulation > 0).all(1)
        prior = replace(prior, told=told)
        found = replace(prior, level=torch.maximum(prior.level, fits))
        doubtful = may & (jumps | (fits < prior.level - SEARCHED_BELOW))
        if not spared(doubtful):
            place, level, moved = search(state.scene, maps, prior, told, cloud, self.descriptors)
            place = torch.where(may[:, None], place, prior.place)
            suspicion = suspected(prior, state.evidence.time, maps.present)
            lidar = moved | to_blame(place, prior, suspicion, self._doubts(state))
            found = settled(place, lidar & (place != 0).any(-1),
                            replace(prior, level=level.where(told, prior.level),
                                    suspicion=suspicion))
            if doubtful.device.type != "cpu" or not torch.equal(found.place, prior.place):
                state = self._look(put_right(scene, found))
        history = None if state.history is None else replace(state.history, alignment=found)
        return replace(state, alignment=found, history=history)

    def _doubts(self, state: GateState) -> Tensor:
        """(B, 2) how much less than usual the LiDAR is trusted, and the cameras on the mean."""
        less = by_kind(self.unmoved, state.frame_logits) - state.frame_logits
        there = state.scene.memory.present.to(less.dtype)
        cameras = (less * there)[:, 1:].sum(1) / there[:, 1:].sum(1).clamp(min=1.0)
        return torch.stack([less[:, 0], cameras], dim=1)

    def _look(self, scene: Scene) -> GateState:
        if not self.config.learned:
            present = scene.memory.present
            logits = by_kind(self.constant, present).expand(len(present), -1)
            return GateState(scene, None, None, None, logits, logits, None,
                             self._frame_bias(scene, logits))
        evidence, hidden, frame = self._judged(scene)
        tokens = self.token_evidence(scene, evidence, hidden) if self.config.token else None
        return GateState(scene, kept_of(scene, evidence, frame), evidence,
                         contrast_of(evidence) if self.training else None, hidden, frame, tokens,
                         self._frame_bias(scene, frame))

    def _frame_bias(self, scene: Scene, logits: Tensor) -> Tensor:
        """(B, S) bias of whole sensors, from the gate or from the oracle."""
        if self.oracle is not None:
            labels = self.oracle.frame
            return torch.zeros_like(logits) if labels is None else left_out(labels)
        if not self.config.learned:
            bias = self.frame_strength(logits)
        elif self.config.frame:
            acting = logits + by_kind(self.caution, logits)
            bias = self.frame_strength(self.config.sharpness * acting)
        else:
            bias = torch.zeros_like(logits)
        return bias * say(scene, bias)

    def remember(self, scene: Scene) -> TemporalMemory:
        """Keep frames for the next ones without routing anything; see `history.look_back`."""
        if self._aligns:
            history = self._put_right(scene).history
            assert history is not None
            return history
        evidence, _, frame = self._judged(scene)
        return kept_of(scene, evidence, frame)

    def judge(self, scene: Scene) -> tuple[GateLogits, Contrast | None]:
        """Think about sensors, places and tokens without routing anything.

        Queries are judged by what the sensors show where they start, not by what they hold.
        """
        state = self.start(scene)
        if state.query_base is not None:
            empty = state.query_base.new_zeros(*scene.reference_points.shape[:2],
                                               scene.memory.tokens.shape[2])
            for layer in range(len(self.query_head)):
                self._query_logits(layer, empty, scene.reference_points, state)
        return self._logits(state), state.contrast

    def _at(self, reference_points: Tensor, state: GateState) -> Tensor:
        """(B, Q, S, hidden) evidence at the queries' places and about the sensors."""
        assert state.evidence is not None
        return (self.query_evidence(state.scene, reference_points, state.evidence)
                + self.query_sensor(state.hidden)[:, None])

    def route(self, layer: int, target: Tensor, reference_points: Tensor, state: Any
              ) -> tuple[Memory, Routing | None]:
        """Bias the attention of one layer."""
        memory = state.scene.memory
        with full_precision(target):
            per_query = self._query_logits(layer, target, reference_points, state)
            query_bias = self._query_bias(per_query, state, target.shape[1])
            token_bias = self._token_bias(layer, state)
        state.query_bias.append(query_bias)
        if token_bias is not None:
            state.token_bias.append(token_bias)
        return memory, Routing(memory.token_sensor, query_bias, token_bias)

    def observe(self, layer: int, mass: Tensor, state: Any) -> None:
        """Keep where the attention went."""
        state.mass.append(mass)

    def finish(self, state: Any) -> AqrOutput:
        """Report, logits for the supervision, and the memory for the next frame."""
        memory, first = state.scene.memory, state.scene.denoising
        kept = torch.stack([bias[:, first:].exp().mean(1) for bias in state.query_bias]).mean(0)
        factor = kept[:, memory.token_sensor]
        if state.token_bias:
            factor = factor * torch.stack(state.token_bias).exp().mean(0)
        there = memory.present.to(kept.dtype)
        cameras = (kept * there)[:, 1:].sum(1) / there[:, 1:].sum(1).clamp(min=1.0)
        summary = report(memory, factor, torch.stack([(kept * there)[:, 0], cameras], dim=1),
                         self.target_band, mean_mass(state.mass, first), kept)
        if state.alignment is not None:
            summary = replace(summary, put_right=state.alignment.facts)
        return AqrOutput(summary, factor.detach(), None, self._logits(state), state.contrast,
                         state.history)

    def _logits(self, state: GateState) -> GateLogits:
        memory, first = state.scene.memory, state.scene.denoising
        return GateLogits(
            state.frame_logits if self.config.frame else None,
            torch.stack(state.query_logits)[:, :, first:] if state.query_logits else None,
            state.token_logits, memory.present, read_tokens(memory),
            TokenLayout(memory.bev_shape, memory.views, memory.image_shape))

    def _query_logits(self, layer: int, target: Tensor, reference_points: Tensor, state: GateState
                      ) -> Tensor | None:
        """(B, Q, S) of one layer."""
        if state.query_base is None:
            return None
        base = state.query_base
        if reference_points is not state.scene.reference_points:
            base = self._at(reference_points, state)
        content = self.query_content[layer](target.to(base.dtype))
        logits = self.query_head[layer]((base + content[:, :, None]).relu()).squeeze(-1)
        state.query_logits.append(logits)
        return logits

    def _query_bias(self, per_query: Tensor | None, state: GateState, queries: int) -> Tensor:
        """(B, Q, S) bias from the query's gate and the frame's, or from the oracle."""
        memory = state.scene.memory
        if self.oracle is not None:
            return self._oracle_bias(self.oracle, state, queries)
        bias = state.frame_bias[:, None].expand(-1, queries, -1)
        if per_query is not None:
            local = self.query_strength(per_query)
            bias = bias + local * say(state.scene, local)[:, None]
        bias = relative(bias, memory.present[:, None], self.config.exclude_below)
        return shuffled(bias, state.scene.denoising) if self.config.shuffle_queries else bias

    def _token_bias(self, layer: int, state: GateState) -> Tensor | None:
        """(B, T) bias of one layer, or None."""
        memory = state.scene.memory
        if self.oracle is not None:
            labels = self.oracle.token
            return None if labels is None else left_out(labels).to(memory.tokens.dtype)
        if state.token_logits is None or not memory.tokens.shape[1]:
            return None
        bias = self.token_strength(state.token_logits[layer])
        bias = bias * say(state.scene, bias)[:, memory.token_sensor]
        return relative(bias, memory.present[:, memory.token_sensor], self.config.exclude_below)

    @staticmethod
    def _oracle_bias(oracle: GateLabels, state: GateState, queries: int) -> Tensor:
        """What the labels say; denoising queries, of which they say nothing, keep all."""
        bias = state.frame_bias[:, None].expand(-1, queries, -1)
        if oracle.query is not None:
            matching = left_out(oracle.query)
            bias = bias + F.pad(matching, (0, 0, queries - matching.shape[1], 0))
        return bias.clamp(min=EXCLUDED)
