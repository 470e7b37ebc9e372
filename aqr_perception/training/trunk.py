"""One trunk alone, taught by its tokens' side task: three times quicker a frame than the whole.

Detectors start from trunks that were trained elsewhere. A small one that starts from nothing gets
the same by training each trunk by what its tokens are asked (`model.heat`), without any query; both
can be trained side by side, before the whole network goes on from them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from aqr_perception.model.detector import Detector
from aqr_perception.model.memory import select_sensors
from aqr_perception.training.augment import Augmentation
from aqr_perception.training.dataset import FrameSource
from aqr_perception.types import Annotations, Batch, Heat, SensorFrame

TRUNKS = {"lidar": ("tokenizer.lidar.", "heat.bev.", "heat.offset."),
          "image": ("tokenizer.image.", "heat.image.", "heat.image_offset.")}
"""What belongs to each trunk, by the beginning of its name."""


class TrunkTask(nn.Module):
    """The tokens of one sensor and what they are asked.

    Args:
        detector: Whose trunk; its other parameters no longer ask for a gradient.
        trunk: ``lidar`` or ``image``.

    Raises:
        ValueError: The network has no such trunk, or asks its tokens nothing.
    """

    def __init__(self, detector: Detector, trunk: str) -> None:
        super().__init__()
        if trunk not in TRUNKS:
            raise ValueError(f"trunk is '{trunk}'; expected {' or '.join(TRUNKS)}")
        if detector.heat is None or getattr(detector.tokenizer, trunk) is None:
            raise ValueError(f"the network '{detector.config.name}' has no {trunk} trunk with a "
                             "side task; expected one, as tiny has")
        self.detector = detector
        self.trunk = trunk
        for name, parameter in detector.named_parameters():
            parameter.requires_grad_(name.startswith(TRUNKS[trunk]))

    def forward(self, batch: Batch) -> Heat:
        """Ask the tokens of the trunk."""
        assert self.detector.heat is not None
        selection = select_sensors(batch, self.trunk == "lidar", self.trunk == "image")
        return self.detector.heat(self.detector.tokenizer(batch, selection))


@dataclass(frozen=True)
class OneSensor:
    """Frames with the other kind of sensor left out."""

    source: FrameSource
    trunk: str

    def __len__(self) -> int:
        return len(self.source)

    def read(self, index: int) -> tuple[SensorFrame, Annotations]:
        """Frame and truth number ``index``."""
        frame, truth = self.source.read(index)
        return self._only(frame), truth

    def history(self, index: int, length: int) -> list[SensorFrame]:
        """Up to ``length`` frames before."""
        return [self._only(frame) for frame in self.source.history(index, length)]

    def _only(self, frame: SensorFrame) -> SensorFrame:
        if self.trunk == "lidar":
            return replace(frame, images=(None,) * len(frame.images))
        return replace(frame, lidar=None)


def unmasked(augmentation: Augmentation) -> Augmentation:
    """The same without modal masking, which would leave nothing."""
    return replace(augmentation, no_images=0.0, no_lidar=0.0, some_images=0.0)


@torch.no_grad()
def take_trunk(detector: Detector, other: Detector, trunk: str) -> None:
    """Copy a trunk and its side task from another network.

    Raises:
        ValueError: That trunk of the other has other shapes.
    """
    mine, theirs = detector.state_dict(), other.state_dict()
    for name, value in mine.items():
        if name.startswith(TRUNKS[trunk]):
            if name not in theirs or theirs[name].shape != value.shape:
                raise ValueError(f"{name} of the trunk to start from does not fit; expected the "
                                 f"shape {tuple(value.shape)}")
            value.copy_(theirs[name])
