"""What AQR did to a frame, in a few numbers that are cheap enough to compute on every frame.

Every mode acts on a token through one factor g ≥ 0: in `weight_map` on the token's feature, in
`gate` and `attention_bias` on its share of the attention before normalisation (the mean over the
queries). With F the tokens of one modality, all of the monitor's changes are of F' = g·F:

    relative change = ‖F' - F‖₁ / ‖F‖₁        largest change = max |F' - F|

Features that are exactly zero (after a ReLU, most of the bird's-eye view) add nothing to either
sum, so that sparse and dense features are measured alike. The mean over cells of |ΔF| / |F|, which
the experiment report quotes, counts every zero as "unchanged" and is not comparable between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aqr_perception.model.aqr.places import widened
from aqr_perception.model.memory import Memory

MODALITIES = ("lidar", "camera")


@dataclass(frozen=True)
class AqrReport:
    """One entry a frame; the two columns are the LiDAR and the cameras together.

    Attributes:
        mean_weight: (B, 2) mean over queries of what they give to the modality: the weight of
            `weight_map` and `attention_bias`, the kept share of `gate` (1 all, 0 left out).
        relative_change: (B, 2) see the module; 0 where the modality is absent.
        max_change: (B, 2) likewise.
        outside_band: (B, 2) bool: the relative change lies outside the target band.
        mass: (B, S) share of the attention that each sensor receives, mean over layers, heads and
            queries; NaN where the decoder does not tell.
        mean_gate: (B, S) kept share of each sensor, as in ``mean_weight``; NaN in other modes.
        put_right: (B, 5) of `gate`, where sensors are put right (`alignment`): turn [rad] of the
            cloud against the pictures, how far [m] the car drove since the cloud (negative: since
            the pictures), how far [m] the cloud lies to the right, 1 where the cloud is to blame,
            and how well they agree now; else None.
    """

    mean_weight: Tensor
    relative_change: Tensor
    max_change: Tensor
    outside_band: Tensor
    mass: Tensor
    mean_gate: Tensor
    put_right: Tensor | None = None


def change_of_features(memory: Memory, factor: Tensor) -> tuple[Tensor, Tensor]:
    """Relative and largest change by modality.

    Args:
        memory: The tokens F before AQR.
        factor: (B, T) g.

    Returns:
        Two (B, 2).
    """
    magnitude = widened(memory.tokens.detach()).abs()
    total, peak = magnitude.sum(-1), magnitude.amax(-1)  # (B, T)
    moved = (factor.detach().to(total.dtype) - 1).abs()
    modality = (memory.token_sensor > 0).long()
    used = memory.present[:, memory.token_sensor]
    columns = modality.expand_as(total)
    zero = total.new_zeros(len(total), 2)
    whole = zero.scatter_add(1, columns, total * used)
    changed = zero.scatter_add(1, columns, total * moved * used)
    largest = zero.scatter_reduce(1, columns, peak * moved * used, "amax")
    return changed / whole.clamp(min=torch.finfo(total.dtype).tiny), largest


def report(memory: Memory, factor: Tensor, mean_weight: Tensor, band: tuple[float, float],
           mass: Tensor | None = None, mean_gate: Tensor | None = None) -> AqrReport:
    """Put a report together; see `AqrReport` for shapes."""
    relative, largest = change_of_features(memory, factor)
    unknown = relative.new_full(memory.present.shape, torch.nan)
    return AqrReport(
        mean_weight=mean_weight.detach(), relative_change=relative, max_change=largest,
        outside_band=(relative < band[0]) | (relative > band[1]),
        mass=unknown if mass is None else mass.detach(),
        mean_gate=unknown if mean_gate is None else mean_gate.detach())


def mean_mass(masses: list[Tensor], first: int) -> Tensor | None:
    """(B, S) mean over layers and over the queries from number ``first`` on, of (B, Q, S) each."""
    return torch.stack(masses)[:, :, first:].mean((0, 2)) if masses else None


class BandCounter:
    """Share of frames whose relative change lies outside the target band, over a run."""

    def __init__(self) -> None:
        self.frames = 0
        self._outside = torch.zeros(2, dtype=torch.int64)

    def add(self, report: AqrReport) -> None:
        """Count the frames of one batch."""
        self.frames += len(report.outside_band)
        self._outside += report.outside_band.sum(0).cpu()

    @property
    def share_outside(self) -> dict[str, float]:
        """By modality; NaN before the first frame."""
        return {name: float(count) / self.frames if self.frames else float("nan")
                for name, count in zip(MODALITIES, self._outside)}
