from __future__ import annotations

import math

import torch
from aqr_scenes import make_scene

from aqr_perception.model.aqr.statistics import (
    map_statistics,
    occupancy,
    pixel_statistics,
    windowed,
)


def test_points_are_counted_in_their_cells_and_frames():
    scene = make_scene(bev_shape=(4, 4), present=torch.tensor([[True] * 5, [False] + [True] * 4]))
    points = scene.batch.points
    points[:] = 1e3  # out of range
    points[0, :2] = torch.tensor([-53.0, -53.0])  # first row, first column
    points[1:3, :2] = torch.tensor([30.0, -53.0])  # first row, last column
    points[400, :2] = torch.tensor([0.0, 0.0])  # a frame whose LiDAR is not to be used
    counted = occupancy(scene)
    expected = torch.zeros(2, 1, 4, 4)
    expected[0, 0, 0, 0], expected[0, 0, 0, 3] = math.log(2), math.log(3)
    torch.testing.assert_close(counted, expected)


def test_no_bird_s_eye_view_no_cells():
    scene = make_scene(bev_shape=(0, 0))
    assert occupancy(scene).shape == (2, 1, 1, 1)


def test_windows_are_means_around_each_cell():
    maps = torch.zeros(1, 1, 21, 21)
    maps[0, 0, 10, 10] = 1.0
    near, wide = windowed(maps)[0]
    assert near[8, 12] == 1 / 25
    assert near[7, 10] == 0
    assert wide[3, 17] == 1 / 225
    assert wide[2, 10] == 0


def test_pixel_statistics_by_hand():
    images = torch.zeros(1, 3, 3, 4, 6)
    images[0, 1] = 2.0  # even grey: no spread, nothing sharp
    images[0, 2, :, :, ::2] = 1.0  # stripes
    expected = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.5, 0.5, 1.0]])
    torch.testing.assert_close(pixel_statistics(images)[0], expected)


def test_map_statistics_count_only_weighted_cells():
    maps = torch.tensor([[[1.0, 3.0], [50.0, -50.0]]])
    weight = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    torch.testing.assert_close(map_statistics(maps, weight), torch.tensor([2.0, 1.0]),
                               rtol=1e-5, atol=1e-5)
    whole = map_statistics(maps)
    torch.testing.assert_close(whole, torch.tensor([maps.mean(), maps.std(correction=0)]))
