from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from conftest import thin_tiny
from rig import make_frame

from aqr_perception.model.checkpoint import untrained
from aqr_perception.model.heat import HEIGHT, place_queries
from aqr_perception.model.inputs import prepare
from aqr_perception.types import Controls, Heat, Mounting

RANGE = (-54.0, -54.0, -5.0, 54.0, 54.0, 3.0)


def heat_with(*peaks, frames=1, rows=6, columns=8):
    heat = torch.full((frames, rows, columns, 10), -5.0)
    heat += torch.rand(heat.shape, generator=torch.Generator().manual_seed(0)) * 1e-3
    for frame, row, column, label, score in peaks:
        heat[frame, row, column, label] = score
    return Heat(heat, torch.zeros(frames, 0, 0, 0, 10), (), torch.zeros(frames, rows, columns, 3))


def test_queries_start_at_the_strongest_peaks():
    heat = heat_with((0, 2, 5, 3, 4.0), (0, 5, 0, 9, 3.0), (0, 2, 6, 3, 3.5))
    learned = torch.rand(1, 7, 3)
    placed = place_queries(heat, torch.tensor([True]), learned, 2, RANGE)
    # The second highest stands beside the highest, of the same class: no peak of its own.
    torch.testing.assert_close(placed[0, :2], torch.tensor([[5.5 / 8, 2.5 / 6, HEIGHT],
                                                            [0.5 / 8, 5.5 / 6, HEIGHT]]))
    assert torch.equal(placed[:, 2:], learned[:, 2:])


def test_neighbours_of_other_classes_keep_their_own_peaks():
    heat = heat_with((0, 2, 5, 3, 4.0), (0, 2, 6, 8, 3.5))
    placed = place_queries(heat, torch.tensor([True]), torch.rand(1, 7, 3), 2, RANGE)
    assert placed[0, :2, 0].tolist() == pytest.approx([5.5 / 8, 6.5 / 8])


def test_frames_whose_lidar_is_left_out_keep_the_learned_places():
    heat = heat_with((0, 2, 5, 3, 4.0), (1, 2, 5, 3, 4.0), frames=2)
    learned = torch.rand(1, 7, 3).expand(2, -1, -1)
    placed = place_queries(heat, torch.tensor([True, False]), learned, 3, RANGE)
    assert torch.equal(placed[1], learned[1])
    assert not torch.equal(placed[0], learned[0])
    nothing = replace(heat, bev=heat.bev[:, :0, :0], offset=heat.offset[:, :0, :0])
    usable = torch.tensor([True, True])
    assert torch.equal(place_queries(nothing, usable, learned, 3, RANGE), learned)


def test_placed_queries_stand_where_their_token_says():
    heat = heat_with((0, 2, 5, 3, 4.0))
    heat.offset[0, 2, 5] = torch.tensor([1.0, -2.0, 0.5])
    placed = place_queries(heat, torch.tensor([True]), torch.rand(1, 7, 3), 1, RANGE)
    wanted = torch.tensor([5.5 / 8 + 1 / 108, 2.5 / 6 - 2 / 108, HEIGHT + 0.5 / 8])
    torch.testing.assert_close(placed[0, 0], wanted)


def test_heat_comes_with_the_output_only_where_it_is_asked_for():
    config = thin_tiny()
    batch = prepare([make_frame()], config, Mounting(), Controls())
    heat = untrained(config)(batch).heat
    assert heat.bev.shape == (1, *config.lidar.bev_shape, 10)
    assert heat.offset.shape == (1, *config.lidar.bev_shape, 3)
    assert heat.image.shape == (1, 4, *config.image.map_shape, 10)
    assert heat.views == (0, 1, 2, 3)
    plain = replace(config, decoder=replace(config.decoder, heat=False, placed=0))
    assert untrained(plain)(batch).heat is None
