"""Networks small enough to test with."""

from __future__ import annotations

from dataclasses import replace

from aqr_perception.model.aqr.config import AqrConfig
from aqr_perception.model.config import (
    DecoderConfig,
    DetectorConfig,
    ImageConfig,
    LidarConfig,
    tiny,
)


def thin_cmt(**decoder) -> DetectorConfig:
    """CMT's structure with few channels and a coarse grid."""
    return DetectorConfig(
        name="thin",
        image=ImageConfig("resnet50", 64, 32, (4, 16, 16, 16, 32)),
        lidar=LidarConfig("voxels", (1.6875, 1.6875, 0.2), (41, 64, 64), (4, 4, 8, 8, 8), (8, 8),
                          (1, 1), 8, 8),
        decoder=DecoderConfig(32, 4, 2, 32, 20, head_channels=8, depth_bins=8, **decoder),
        aqr=AqrConfig(mode="off"))


def thin_tiny(**decoder) -> DetectorConfig:
    """The tiny preset's structure, thinner still."""
    config = tiny()
    return replace(
        config, image=replace(config.image, width=96, height=64, channels=(8, 8, 16, 16)),
        lidar=replace(config.lidar, voxel_size=(2.25, 2.25, 8.0), grid=(1, 48, 48),
                      sparse_channels=(8,), trunk_channels=(8, 16), neck_channels=16,
                      max_tokens=200),
        decoder=replace(config.decoder, channels=32, layers=2, feedforward=32, queries=20,
                        placed=8, placed_by_images=6, head_channels=8, **decoder),
        aqr=AqrConfig(mode="off"))


THIN = {"cmt": thin_cmt, "tiny": thin_tiny}
