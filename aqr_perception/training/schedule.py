"""Learning rate and momentum of a step: one cosine cycle, a pure function, so resuming is exact."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class OneCycle:
    """CMT's cycle: up to a multiple of the base rate, then down to almost nothing.

    Attributes:
        base: Learning rate of step 0.
        peak_ratio: Multiple of it at the top.
        final_ratio: Multiple of it at the end.
        rising: Share of the steps on the way up.
        momentum: Adam's β₁ at the start, at the top, and at the end.
    """

    base: float
    peak_ratio: float = 6.0
    final_ratio: float = 1e-4
    rising: float = 0.4
    momentum: tuple[float, float, float] = (0.9, 0.805, 0.9)

    def __post_init__(self) -> None:
        for name, value in (("the learning rate", self.base), ("its peak", self.peak_ratio),
                            ("its end", self.final_ratio)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name} is {value}; expected a number above 0")
        if not 0 <= self.rising <= 1:
            raise ValueError(f"the share of the steps in which the learning rate rises is "
                             f"{self.rising}; expected 0 to 1")

    def at(self, step: int, steps: int) -> tuple[float, float]:
        """Learning rate and β₁ of step ``step`` of ``steps``."""
        top = max(1, round(self.rising * steps))
        if step < top:
            blend = _cosine(step / top)
            rates, momenta = (1.0, self.peak_ratio), self.momentum[:2]
        else:
            blend = _cosine((step - top) / max(1, steps - top))
            rates, momenta = (self.peak_ratio, self.final_ratio), self.momentum[1:]
        return (self.base * (rates[0] + (rates[1] - rates[0]) * blend),
                momenta[0] + (momenta[1] - momenta[0]) * blend)


def _cosine(share: float) -> float:
    """0 at 0, 1 at 1, flat at both."""
    return (1 - math.cos(math.pi * min(share, 1.0))) / 2


def set_rate(optimizer: torch.optim.Optimizer, rate: float, momentum: float) -> None:
    """Give each parameter group its share (``lr_ratio``) of the rate, and Adam's β₁."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_ratio", 1.0)
        group["betas"] = (momentum, group["betas"][1])
