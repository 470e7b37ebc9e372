from __future__ import annotations

import math

import torch
from aqr_scenes import RANGE, make_scene, ring_of_cameras
from torch.nn.functional import normalize

from aqr_perception.model.aqr.agreement import (
    GROUPS,
    SHIFTS,
    Descriptors,
    agreement,
    cameras_against_cameras,
    column_rays,
    pooled,
    shift_correlation,
)
from aqr_perception.model.aqr.config import GateConfig
from aqr_perception.model.aqr.places import project
from aqr_perception.model.aqr.statistics import occupancy

SIZE = (32, 80)


def test_rays_come_back_to_their_columns():
    cameras = ring_of_cameras(2, 4, SIZE)
    depths = torch.tensor([3.0, 20.0])
    rays = column_rays(cameras, SIZE, 10, depths)
    assert rays.shape == (2, 4, 10, 2, 3)
    places, visible = project(rays.flatten(2, 3), cameras, SIZE)
    column = (places[..., 0] + 1) / 2 * 10 - 0.5
    expected = torch.arange(10.0).repeat_interleave(2).expand_as(column)
    torch.testing.assert_close(column, expected, rtol=0, atol=1e-3)
    assert visible.all()


def test_agreement_is_the_cosine_in_parts():
    first, second = normalize(torch.randn(5, 32), dim=-1), normalize(torch.randn(5, 32), dim=-1)
    torch.testing.assert_close(agreement(first, second).mean(-1), (first * second).sum(-1))
    torch.testing.assert_close(agreement(first, first).mean(-1), torch.ones(5))


def test_pooling_counts_shared_places_only():
    values = torch.tensor([1.0, 3.0, 100.0])[:, None].expand(3, GROUPS)
    edge = pooled(values, torch.tensor([True, True, False]))
    assert edge.values[0] == 2.0
    assert edge.overlap.item() == 2 / 3 or math.isclose(edge.overlap.item(), 2 / 3, rel_tol=1e-6)
    assert pooled(values, torch.zeros(3, dtype=torch.bool)).values.abs().max() == 0


def test_a_turned_camera_shows_in_the_shifts():
    row = normalize(torch.randn(20, 64), dim=-1)
    for number, shift in enumerate(SHIFTS):
        scores = shift_correlation(row, row.roll(-shift, 0))
        assert scores.argmax() == number
        assert scores[number] > 0.99


def test_cameras_meet_only_where_they_overlap_and_agree_there():
    cameras = ring_of_cameras(1, 4, SIZE)
    width = 40
    middle = column_rays(cameras, SIZE, width, torch.tensor([15.0]))[:, :, :, 0]
    heading = torch.atan2(middle[..., 1], middle[..., 0])  # what each column looks at
    waves = [torch.sin(k * heading + shift) for k in range(1, 5) for shift in (0.0, 1.5)]
    columns = normalize(torch.stack(waves * 2, -1), dim=-1)
    present = torch.tensor([[True, True, True, False]])
    values, shared = cameras_against_cameras(columns, middle, columns, cameras, present, SIZE)
    for a in range(4):
        for b in range(4):
            overlap = shared[0, a, b].sum()
            neighbours = (a - b) % 4 in (1, 3)
            assert (overlap > 0) == ((neighbours or a == b) and b != 3), (a, b)
            if overlap:
                assert values[0, a, b][shared[0, a, b]].mean() > 0.98
    assert (values[~shared] == 0).all()


def test_absent_sensors_have_empty_maps():
    present = torch.tensor([[True, False, True, True, True], [False, True, True, True, True]])
    scene = make_scene(present=present)
    maps = Descriptors(16, GateConfig())(scene, occupancy(scene))
    assert maps.bev[0].abs().max() > 0
    assert maps.bev[1].abs().max() == 0
    assert (maps.images.abs().amax((2, 3, 4)) > 0).tolist() == present[:, 1:].tolist()


def test_rays_read_the_birds_eye_view_where_they_pass():
    config = GateConfig(depth_bins=2)
    descriptors = Descriptors(16, config)
    bev = torch.zeros(1, config.channels, 16, 16)
    points = torch.zeros(1, 1, 1, 2, 3)
    points[..., 0, 0], points[..., 1, 0] = 10.0, 30.0
    empty = descriptors.lidar_columns(bev, points, RANGE)
    beside = bev.clone()
    beside[..., 2, 2] = 1.0
    torch.testing.assert_close(descriptors.lidar_columns(beside, points, RANGE), empty)
    hit = bev.clone()
    hit[..., 8, 9] = 1.0  # x = 10 m lies at column 9.0 between cells 8 and 9
    assert (descriptors.lidar_columns(hit, points, RANGE) - empty).abs().max() > 1e-3


def test_nothing_flows_back_into_the_tokens():
    scene = make_scene()
    scene.memory.tokens.requires_grad_()
    maps = Descriptors(16, GateConfig())(scene, occupancy(scene))
    (maps.bev.sum() + maps.columns.sum()).backward()
    assert scene.memory.tokens.grad is None
