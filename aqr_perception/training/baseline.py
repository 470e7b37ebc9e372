"""Adaptive query routing on top of a trained network, whose other parts may stay as they are."""

from __future__ import annotations

from dataclasses import replace

from torch.nn.modules.batchnorm import _BatchNorm

from aqr_perception.model.aqr.config import AqrConfig
from aqr_perception.model.aqr.gate import GateRouter
from aqr_perception.model.aqr.standard import Standard
from aqr_perception.model.detector import Detector


def with_mode(detector: Detector, mode: str) -> Detector:
    """The network with another mode of adaptive query routing, its other weights taken over.

    Args:
        detector: Its settings of that mode are kept.
        mode: See `AqrConfig`. The one that it has gives the network itself.

    Raises:
        ValueError: There is no such mode.
    """
    aqr = detector.config.aqr
    return detector if mode == aqr.mode else with_aqr(detector, replace(aqr, mode=mode))


def with_aqr(detector: Detector, aqr: AqrConfig) -> Detector:
    """The network with other adaptive query routing, untrained, and its other weights.

    Args:
        detector: Left as it is.
        aqr: Mode and settings.
    """
    made = Detector(replace(detector.config, aqr=aqr))
    fresh = {f"decoder.router.{name}": value
             for name, value in made.decoder.router.state_dict().items()}
    kept = {name: value for name, value in detector.state_dict().items()
            if not name.startswith("decoder.router.")}
    made.load_state_dict(kept | fresh)
    return made


def freeze_baseline(detector: Detector) -> None:
    """Leave only the parameters of adaptive query routing to train.

    Raises:
        ValueError: The network has none.
    """
    router = list(detector.decoder.router.parameters())
    if not router:
        raise ValueError(f"with aqr.mode '{detector.config.aqr.mode}' a frozen network has nothing "
                         "to train; expected another mode")
    detector.requires_grad_(False)
    for parameter in router:
        parameter.requires_grad_()


def freeze_eye(detector: Detector) -> None:
    """Keep whom a gate trusts as it learned it alone (`training.gate_alone`).

    With the loss of boxes pulling at it as well, few and small batches undo its calibration: after
    300 steps of four frames it left out sound sensors, or kept lying ones, by the seed.

    Raises:
        ValueError: The network has no gate that learns.
    """
    router = detector.decoder.router
    if not isinstance(router, GateRouter) or not router.config.learned:
        raise ValueError("what a gate has learned alone is to stay, and the network has none that "
                         "looks at frames; expected aqr.mode gate with learned: true")
    router.requires_grad_(False)
    for part in router.acting():
        part.requires_grad_()


def hold_eye(detector: Detector) -> None:
    """Let a gate's eye use the mean and spread of its evidence, and keep them."""
    for module in detector.decoder.router.modules():
        if isinstance(module, Standard):
            module.eval()


def hold_statistics(detector: Detector) -> None:
    """Let batch normalisation outside adaptive query routing use its statistics, and keep them."""
    routing = set(detector.decoder.router.modules())
    for module in detector.modules():
        if isinstance(module, _BatchNorm) and module not in routing:
            module.eval()
