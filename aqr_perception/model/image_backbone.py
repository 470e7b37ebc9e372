"""The camera branch: trunk (strides 16 and 32), then a feature pyramid that keeps stride 16."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aqr_perception.model.config import ImageConfig


class Bottleneck(nn.Module):
    """ResNet's 1×1, 3×3, 1×1 residual block, with the stride in the 3×3."""

    def __init__(self, entering: int, inner: int, leaving: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(entering, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, leaving, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(leaving)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or entering != leaving:
            self.downsample = nn.Sequential(
                nn.Conv2d(entering, leaving, 1, stride, bias=False), nn.BatchNorm2d(leaving))

    def forward(self, x: Tensor) -> Tensor:
        """(B, entering, H, W) → (B, leaving, H / stride, W / stride)."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet50(nn.Module):
    """ResNet-50 (He et al., 2016), with torchvision's names; gives its last two stages."""

    BLOCKS = (3, 4, 6, 3)

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        stem, *stages = channels
        self.conv1 = nn.Conv2d(3, stem, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(*(Bottleneck(entering if block == 0 else leaving, leaving // 4, leaving,
                                       2 if block == 0 and number else 1)
                            for block in range(blocks)))
            for number, (blocks, entering, leaving) in enumerate(
                zip(self.BLOCKS, channels, stages)))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) → maps of strides 16 and 32."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(images))), 3, 2, 1)
        x = self.layer2(self.layer1(x))
        third = self.layer3(x)
        return third, self.layer4(third)


class ConvNorm(nn.Sequential):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(self, entering: int, leaving: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(entering, leaving, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(leaving)
        self.relu = nn.ReLU(inplace=True)


class OneShotAggregation(nn.Module):
    """VoVNet's block: five 3×3 convolutions in a row, all concatenated once, then a channel gate.

    The gate is eSE (Lee and Park, CenterMask, 2020): relu6(fc(mean) + 3) / 6.
    """

    def __init__(self, entering: int, inner: int, leaving: int, residual: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            ConvNorm(entering if i == 0 else inner, inner) for i in range(5))
        self.concat = ConvNorm(entering + 5 * inner, leaving, kernel=1)
        self.gate = nn.Conv2d(leaving, leaving, 1)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """(B, entering, H, W) → (B, leaving, H, W)."""
        maps = [x]
        for layer in self.layers:
            maps.append(layer(maps[-1]))
        y = self.concat(torch.cat(maps, dim=1))
        y = y * F.relu6(self.gate(y.mean(dim=(2, 3), keepdim=True)) + 3) / 6
        return y + x if self.residual else y


class VoVNet99(nn.Module):
    """VoVNet-99-eSE; gives its last two stages."""

    BLOCKS = (1, 3, 9, 3)

    def __init__(self, channels: Sequence[int], inner_channels: Sequence[int]) -> None:
        super().__init__()
        first, second, entering, *stages = channels
        self.stem = nn.Sequential(ConvNorm(3, first, stride=2), ConvNorm(first, second),
                                  ConvNorm(second, entering, stride=2))
        self.stages = nn.ModuleList()
        for blocks, inner, leaving in zip(self.BLOCKS, inner_channels, stages):
            self.stages.append(nn.Sequential(*(
                OneShotAggregation(entering if block == 0 else leaving, inner, leaving,
                                   residual=block > 0) for block in range(blocks))))
            entering = leaving

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) → maps of strides 16 and 32."""
        x = self.stem(images)
        maps = []
        for number, stage in enumerate(self.stages):
            if number:
                x = F.max_pool2d(x, 3, 2, ceil_mode=True)
            x = stage(x)
            maps.append(x)
        return maps[2], maps[3]


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                                    nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), same shape."""
        return F.relu(x + self.second(self.first(x)))


class SmallTrunk(nn.Module):
    """A residual network of ten convolutions for small images on a CPU.

    The first one strides by 4: at higher resolution a map costs more than it tells.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        entering, *stages = channels
        self.stem = ConvNorm(3, entering, kernel=7, stride=4)
        self.stages = nn.ModuleList()
        for leaving in stages:
            self.stages.append(nn.Sequential(ConvNorm(entering, leaving, stride=2),
                                             BasicBlock(leaving)))
            entering = leaving

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) → maps of strides 16 and 32."""
        x = self.stem(images)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps[-2], maps[-1]


class FeaturePyramid(nn.Module):
    """CPFPN: the coarse map is upsampled (nearest) onto the fine one, which is then smoothed."""

    def __init__(self, fine: int, coarse: int, leaving: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList([nn.Conv2d(fine, leaving, 1), nn.Conv2d(coarse, leaving, 1)])
        self.smooth = nn.Conv2d(leaving, leaving, 3, padding=1)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Maps of strides 16 and 32 → (N, leaving, H, W) of stride 16."""
        fine = self.lateral[0](fine)
        above = F.interpolate(self.lateral[1](coarse), size=fine.shape[-2:], mode="nearest")
        return self.smooth(fine + above)


class ImageBranch(nn.Module):
    """Pictures → one token map each."""

    def __init__(self, config: ImageConfig, channels: int) -> None:
        super().__init__()
        self.frozen_norm = config.frozen_norm
        self.trunk: nn.Module
        if config.backbone == "resnet50":
            self.trunk = ResNet50(config.channels)
        elif config.backbone == "vovnet99":
            self.trunk = VoVNet99(config.channels, config.inner_channels)
        else:
            self.trunk = SmallTrunk(config.channels)
        self.neck = FeaturePyramid(config.channels[-2], config.channels[-1], channels)
        for module in self.trunk.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def train(self, mode: bool = True) -> ImageBranch:
        """Switch mode; the statistics of a frozen trunk stay those of the file."""
        super().train(mode)
        if self.frozen_norm:
            for module in self.trunk.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) normalised → (N, C, H / 16, W / 16)."""
        return self.neck(*self.trunk(images))
