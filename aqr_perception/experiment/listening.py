"""Where the attention of each query went, and the tokens before AQR touched them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from aqr_perception.model.aqr.places import metres
from aqr_perception.model.aqr.routing import Look, Routing, Scene
from aqr_perception.model.detector import Detector
from aqr_perception.model.memory import Memory
from aqr_perception.types import Batch, DetectorOutput


@dataclass
class Heard:
    """The last forward pass, of one frame.

    Attributes:
        scene: What AQR was given.
        references: (Q, 3) [m] in the model frame: where the queries stood at the last layer.
        mass: (Q, S) each query's share of attention on each sensor, mean over layers and heads.
        output: What came out.
    """

    scene: Scene
    references: Tensor
    mass: Tensor
    output: DetectorOutput


@dataclass
class Listener:
    """What `listening` fills."""

    scene: Scene | None = None
    references: Tensor | None = None
    masses: list[Tensor] = field(default_factory=list)
    output: DetectorOutput | None = None

    def heard(self) -> Heard:
        """Of the last forward pass; there must have been one in which AQR had a say."""
        assert self.scene is not None
        assert self.references is not None
        assert self.output is not None
        first = self.scene.denoising
        return Heard(self.scene, metres(self.references, self.scene.detection_range)[0, first:],
                     torch.stack(self.masses).mean(0)[0, first:], self.output)


@contextmanager
def listening(detector: Detector) -> Iterator[Listener]:
    """While this lasts, every forward pass of a network is listened to.

    Where nothing routes, the decoder does not tell where the attention went; it is then given a
    bias of zero on every token, which changes nothing.
    """
    router, listener = detector.decoder.router, Listener()
    start, route, observe = router.start, router.route, router.observe

    def hear_start(scene: Scene, look: Look | None = None) -> Any:
        listener.scene, listener.masses = scene, []
        return start(scene, look)

    def hear_route(layer: int, target: Tensor, references: Tensor, state: Any
                   ) -> tuple[Memory, Routing | None]:
        memory, routing = route(layer, target, references, state)
        listener.references = references
        nothing = memory.tokens.new_zeros(memory.tokens.shape[:2])
        return memory, routing or Routing(memory.token_sensor, token_bias=nothing)

    def hear_mass(layer: int, mass: Tensor, state: Any) -> None:
        listener.masses.append(mass)
        observe(layer, mass, state)

    def keep(module: torch.nn.Module, inputs: tuple[Batch, ...], output: DetectorOutput) -> None:
        listener.output = output

    ears = {"start": hear_start, "route": hear_route, "observe": hear_mass}
    for name, ear in ears.items():
        setattr(router, name, ear)
    hook = detector.register_forward_hook(keep)
    try:
        yield listener
    finally:
        hook.remove()
        for name in ears:
            delattr(router, name)
