"""What adaptive query routing may tell the decoder, and the interface that every mode implements.

The decoder adds the biases to the logits of its cross-attention exactly and without a dense
query × token matrix: S sensor columns and one token column are appended to queries and keys
(`aqr_perception.model.attention`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from aqr_perception.model.aqr.window import WindowBias
from aqr_perception.model.memory import Memory
from aqr_perception.types import Batch, WeightMapStrength


@dataclass(frozen=True)
class Routing:
    """Biases on the attention logits of one decoder layer, shared by its heads.

    Adding b to a logit multiplies the token's share of the attention, before normalisation, by
    exp(b). All biases are optional; a bias that is the same for every token changes nothing.

    Attributes:
        token_sensor: (T,) int64 sensor of each token, see `Memory`.
        query_bias: (B, Q, S) for each query and sensor, or None.
        token_bias: (B, T) for each token, or None.
        window: A bias on a few tokens of each query's own, or None; see `model.aqr.window`.
    """

    token_sensor: Tensor
    query_bias: Tensor | None = None
    token_bias: Tensor | None = None
    window: WindowBias | None = None


@dataclass(frozen=True)
class PlainFacts:
    """What is counted in points and pixels; after that the gate needs neither.

    Attributes:
        occupancy: (B, 1, H, W), see `statistics.occupancy`.
        pixels: (B, V, 3), see `statistics.pixel_statistics`.
    """

    occupancy: Tensor
    pixels: Tensor


@dataclass(frozen=True)
class Scene:
    """All that AQR may look at, once a forward pass.

    Attributes:
        memory: The tokens before any modulation.
        reference_points: (B, Q, 3) of all queries in [0, 1] of the detection range; the first
            ``denoising`` of them are noisy copies of the truth and must not reach anything shared.
        query_positions: (B, Q, C) their position embedding.
        denoising: Number of denoising queries, which stand first.
        batch: The inputs: calibration, presence, gains, modulation, ages, poses.
        image_size: Height and width [px] of ``batch.images``.
        detection_range: x, y, z from and to [m], model frame.
        predict: ``predict(layer, target)`` evaluates the head of that decoder layer: logits
            (B, Q, K) and boxes (B, Q, 10).
        history: What `Router.finish` returned for the previous frame, or None.
        facts: What is counted in points and pixels, where that was done before.
    """

    memory: Memory
    reference_points: Tensor
    query_positions: Tensor
    denoising: int
    batch: Batch
    image_size: tuple[int, int]
    detection_range: tuple[float, ...]
    predict: Callable[[int, Tensor], tuple[Tensor, Tensor]]
    history: Any = None
    facts: PlainFacts | None = None


@dataclass(frozen=True)
class Look:
    """What AQR made of the sensors before there were queries.

    Attributes:
        state: What `Router.start` goes on from.
        trusted: (B, S) bool: who may say where queries start, and from where they are seen.
        batch: The frames with their sensors put right, for all that follows; None: as they came.
        alignment: How they were put right, or None.
    """

    state: Any
    trusted: Tensor
    batch: Batch | None = None
    alignment: Any = None


class Router(nn.Module):
    """One mode of AQR. `look` is called before queries are placed; then the decoder calls `start`
    once, `route` before and `observe` after each layer, and `finish`.

    This base routes nothing: the decoder then runs exactly as without AQR.
    """

    def use(self, strength: WeightMapStrength, align: bool = True) -> None:
        """Go this far from the next frame on; `weight_map` has such a strength, and in part
        `attention_bias`. A `gate` puts sensors right, or not.

        Not to be called during a forward pass. `model.aqr.strength` tells what fits a network.
        """

    def receive(self, batch: Batch, history: Any) -> Batch:
        """The frames as the trunks are to see them; first of all that is called.

        Args:
            batch: The frames.
            history: What `finish` returned for the frames before, or None.
        """
        return batch

    def look(self, scene: Scene) -> Look:
        """Look at the sensors while there are no queries yet."""
        return Look(None, scene.memory.present)

    def start(self, scene: Scene, look: Look | None = None) -> Any:
        """Look at the evidence; what comes back is handed to the other methods.

        Args:
            scene: With queries.
            look: At the same frames, if it was asked for.
        """
        return scene

    def route(self, layer: int, target: Tensor, reference_points: Tensor, state: Any
              ) -> tuple[Memory, Routing | None]:
        """Say what decoder layer ``layer`` attends to, and how.

        Args:
            layer: 0-based.
            target: (B, Q, C) content of the queries as it enters the layer.
            reference_points: (B, Q, 3) where they stand now (constant in CMT; presets that refine
                references move them from layer to layer).
            state: What `start` returned.
        """
        return state.memory, None

    def observe(self, layer: int, mass: Tensor, state: Any) -> None:
        """See where the attention of a layer went; called after each layer that `route` biased.

        Args:
            layer: 0-based.
            mass: (B, Q, S) each query's share of attention on each sensor, mean over the heads;
                sums to 1 over S. It carries no gradient.
            state: What `start` returned.
        """

    def finish(self, state: Any) -> Any:
        """What goes out as ``DetectorOutput.aqr`` (monitor, logits) once all layers have run."""
        return None
