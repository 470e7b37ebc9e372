"""Trunks and necks against what the published code computed."""

from __future__ import annotations

import pytest
import torch
from cmt_vectors import DTYPES, load

from aqr_perception.model.config import LidarConfig
from aqr_perception.model.image_backbone import (
    FeaturePyramid,
    OneShotAggregation,
    ResNet50,
    VoVNet99,
)
from aqr_perception.model.lidar_backbone import NORM_EPS, Second, SecondNeck
from aqr_perception.model.sparse_conv import from_cells, sparse_stages
from aqr_perception.model.voxelize import Grid, voxel_means

pytestmark = pytest.mark.parametrize("dtype", DTYPES)


@pytest.fixture
def vector(shared_reference, request, dtype):
    return load(shared_reference / "golden", request.param, dtype)


@pytest.mark.parametrize("vector", ["resnet50_thin"], indirect=True)
def test_resnet50(vector):
    constructor = vector.constructor
    base = constructor["base_channels"]
    trunk = ResNet50((constructor["stem_channels"], *(4 * base * 2 ** i for i in range(4))))
    vector.fill(trunk, "img_backbone.", "tokenizer.image.trunk.")
    third, fourth = trunk(vector.input("img"))
    vector.check(third, "layer3")
    vector.check(fourth, "layer4")


@pytest.mark.parametrize("vector", ["vovnet99_thin"], indirect=True)
def test_vovnet99(vector):
    spec = vector.constructor["spec"]
    trunk = VoVNet99((*spec["stem"], *spec["stage_out_ch"]), spec["stage_conv_ch"])
    vector.fill(trunk, "img_backbone.", "tokenizer.image.trunk.")
    fourth, fifth = trunk(vector.input("img"))
    vector.check(fourth, "stage4")
    vector.check(fifth, "stage5")


@pytest.mark.parametrize("vector", ["vovnet_osa_stage"], indirect=True)
def test_vovnet_stage_pools_odd_maps_upwards(vector):
    built = vector.constructor
    number, inner, leaving = built["stage_num"], built["stage_ch"], built["concat_ch"]
    stage = torch.nn.Sequential(*(
        OneShotAggregation(built["in_ch"] if block == 0 else leaving, inner, leaving, block > 0)
        for block in range(built["block_per_stage"])))
    vector.fill(stage, f"img_backbone.stage{number}.",
                f"tokenizer.image.trunk.stages.{number - 2}.")
    pooled = torch.nn.functional.max_pool2d(vector.input("x"), 3, 2, ceil_mode=True)
    vector.check(stage(pooled), "out")


@pytest.mark.parametrize("vector", ["cpfpn"], indirect=True)
def test_feature_pyramid(vector):
    neck = FeaturePyramid(*vector.constructor["in_channels"], vector.constructor["out_channels"])
    vector.fill(neck, "img_neck.", "tokenizer.image.neck.")
    vector.check(neck(vector.input("x0"), vector.input("x1")), "out0")


@pytest.mark.parametrize("vector", ["second"], indirect=True)
def test_second(vector):
    built = vector.constructor
    trunk = Second(built["in_channels"], _lidar(built["out_channels"], built["layer_nums"]),
                   first_stride=built["layer_strides"][0])
    vector.fill(trunk, "pts_backbone.", "tokenizer.lidar.trunk.")
    for ours, name in zip(trunk(vector.input("x")), ("out0", "out1")):
        vector.check(ours, name)


@pytest.mark.parametrize("vector", ["second_fpn"], indirect=True)
def test_second_neck(vector):
    built = vector.constructor
    neck = SecondNeck(built["in_channels"], built["out_channels"], 0.01)
    vector.fill(neck, "pts_neck.", "tokenizer.lidar.neck.")
    vector.check(neck(vector.input("x0"), vector.input("x1")), "out")


@pytest.mark.parametrize("vector", ["hard_simple_vfe"], indirect=True)
def test_means_of_voxels(vector):
    voxels, counts = vector.input("voxels"), vector.input("num_points")
    slots = voxels.shape[1]
    used = torch.arange(slots) < counts[:, None]
    points = voxels[used]
    # One voxel of the grid a row: x of the points is replaced by the row's place, then restored.
    row = torch.arange(len(voxels)).repeat_interleave(counts)
    placed = points.clone()
    placed[:, :3] = 0.5
    placed[:, 0] += row
    grid = Grid((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (1, 1, len(voxels)))
    means, coordinates = voxel_means(torch.cat([placed, points], dim=1), torch.zeros_like(row), 1,
                                     grid, slots, len(voxels))
    assert torch.equal(coordinates[:, 3], torch.arange(len(voxels))[counts > 0])
    vector.check(means[:, 5:], "out")


@pytest.mark.parametrize("vector", ["sparse_encoder"], indirect=True)
def test_sparse_encoder(vector):
    built = vector.constructor
    first = [channels[0] for channels in built["encoder_channels"]]
    stages = sparse_stages(built["in_channels"], (*first, built["output_channels"]), NORM_EPS,
                           0.01)
    vector.fill(stages, "pts_middle_encoder.", "tokenizer.lidar.encoder.stages.")
    cells = from_cells(vector.input("voxel_features"), vector.input("coors").long(),
                       tuple(built["sparse_shape"]), vector.about["batch_size"])
    names = ("conv_input", *(f"encoder_layer{i}" for i in range(1, 5)), "conv_out")
    for stage, name in zip(stages, names):
        cells = stage(cells)
        vector.check(cells.coordinates, f"{name}_indices")
        vector.check(cells.features, f"{name}_features")
    vector.check(cells.dense().flatten(1, 2), "out")


def _lidar(trunk, layers):
    return LidarConfig("voxels", (0.1, 0.1, 0.2), (41, 128, 128), (4, 4, 4, 4, 4), tuple(trunk),
                       tuple(layers), 8, 8)
