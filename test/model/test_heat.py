from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from rig import make_frame
from thin_networks import thin_tiny

from aqr_perception.model.checkpoint import untrained
from aqr_perception.model.config import tiny
from aqr_perception.model.heat import HEIGHT, place_queries, unit_depth
from aqr_perception.model.inputs import prepare
from aqr_perception.model.seed import NOWHERE
from aqr_perception.types import Controls, Heat, Mounting

RANGE = (-54.0, -54.0, -5.0, 54.0, 54.0, 3.0)


IMAGE = (96, 160)
ROWS, COLUMNS = 6, 10
# x right, y forward, z up → x right, y down, z forward; 100 px focal length.
PROJECTION = torch.tensor([[100.0, 80.0, 0.0, 0.0], [0.0, 48.0, -100.0, 0.0],
                           [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])


def config_with(placed, by_images=0, queries=7):
    config = tiny()
    return replace(config, image=replace(config.image, width=IMAGE[1], height=96),
                   decoder=replace(config.decoder, queries=queries, placed=placed,
                                   placed_by_images=by_images))


def noise(*shape):
    return -5.0 + torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 1e-3


def heat_with(*peaks, frames=1, rows=6, columns=8, views=0):
    heat = noise(frames, rows, columns, 10)
    for frame, row, column, label, score in peaks:
        heat[frame, row, column, label] = score
    return Heat(heat, noise(frames, views, ROWS, COLUMNS, 10), tuple(range(views)),
                torch.zeros(frames, rows, columns, 3), torch.zeros(frames, views, ROWS, COLUMNS, 3))


def place(heat, placed, learned, lidar=(True,), by_images=0, cameras=True):
    frames, views = heat.image.shape[:2]
    usable = torch.cat([torch.tensor(lidar)[:, None], torch.full((frames, views), cameras)], dim=1)
    return place_queries(config_with(placed, by_images, learned.shape[1]), heat,
                         PROJECTION.expand(frames, views, 4, 4), usable, learned)[0]


def test_queries_start_at_the_strongest_peaks():
    heat = heat_with((0, 2, 5, 3, 4.0), (0, 5, 0, 9, 3.0), (0, 2, 6, 3, 3.5))
    learned = torch.rand(1, 7, 3)
    placed = place(heat, 2, learned)
    # The second highest stands beside the highest, of the same class: no peak of its own.
    torch.testing.assert_close(placed[0, :2], torch.tensor([[5.5 / 8, 2.5 / 6, HEIGHT],
                                                            [0.5 / 8, 5.5 / 6, HEIGHT]]))
    assert torch.equal(placed[:, 2:], learned[:, 2:])


def test_neighbours_of_other_classes_keep_their_own_peaks():
    heat = heat_with((0, 2, 5, 3, 4.0), (0, 2, 6, 7, 3.5))
    placed = place(heat, 2, torch.rand(1, 7, 3))
    assert placed[0, :2, 0].tolist() == pytest.approx([5.5 / 8, 6.5 / 8])


def test_people_who_stand_side_by_side_do_too():
    heat = heat_with((0, 2, 5, 8, 4.0), (0, 2, 6, 8, 3.5))
    placed = place(heat, 2, torch.rand(1, 7, 3))
    assert placed[0, :2, 0].tolist() == pytest.approx([5.5 / 8, 6.5 / 8])


def test_frames_whose_lidar_is_left_out_keep_the_learned_places():
    heat = heat_with((0, 2, 5, 3, 4.0), (1, 2, 5, 3, 4.0), frames=2)
    learned = torch.rand(1, 7, 3).expand(2, -1, -1)
    placed = place(heat, 3, learned, (True, False))
    assert torch.equal(placed[1], learned[1])
    assert not torch.equal(placed[0], learned[0])
    nothing = replace(heat, bev=heat.bev[:, :0, :0], offset=heat.offset[:, :0, :0])
    assert torch.equal(place(nothing, 3, learned, (True, True)), learned)


def test_placed_queries_stand_where_their_token_says():
    heat = heat_with((0, 2, 5, 3, 4.0))
    heat.offset[0, 2, 5] = torch.tensor([1.0, -2.0, 0.5])
    placed = place(heat, 1, torch.rand(1, 7, 3))
    wanted = torch.tensor([5.5 / 8 + 1 / 108, 2.5 / 6 - 2 / 108, HEIGHT + 0.5 / 8])
    torch.testing.assert_close(placed[0, 0], wanted)


def shown_by_a_camera(lidar):
    """Heat of one frame with a car at (5.3, 20.2, -0.5) that only the image shows, and learned."""
    heat = heat_with((0, 2, 5, 3, 4.0), views=2)
    u, v = (100 * 5.3 / 20.2 + 80) / 16, (48 + 100 * 0.5 / 20.2) / 16
    heat.image[0, 1, int(v), int(u), 0] = 5.0
    heat.image_offset[0, 1, int(v), int(u)] = torch.tensor(
        [u % 1 - 0.5, v % 1 - 0.5, math.log(20.2 * 160 / 100)])
    learned = torch.rand(1, 7, 3)
    return place(heat, 3, learned, (lidar,), by_images=2), learned


@pytest.mark.parametrize(("lidar", "where"), [(True, 3), (False, 0)])
def test_cameras_place_queries_on_the_ray_at_the_depth_that_the_token_says(lidar, where):
    placed, learned = shown_by_a_camera(lidar)
    low, high = torch.tensor(RANGE[:3]), torch.tensor(RANGE[3:])
    xyz = placed[0, where] * (high - low) + low
    torch.testing.assert_close(xyz, torch.tensor([5.3, 20.2, -0.5]), atol=1e-3, rtol=1e-4)
    assert torch.equal(placed[:, 5:], learned[:, 5:])


def test_without_any_camera_the_rest_stays_as_learned():
    heat, learned = heat_with((0, 2, 5, 3, 4.0), views=2), torch.rand(1, 7, 3)
    placed = place(heat, 3, learned, by_images=2, cameras=False)
    assert torch.equal(placed[:, 3:], learned[:, 3:])


@pytest.mark.parametrize("beside", [False, True])
def test_places_beyond_the_tokens_of_the_only_camera_stay_as_learned(beside):
    """Alone, and in a batch beside a frame that has two cameras."""
    views, queries = (2, 80) if beside else (1, 80)
    heat = heat_with(frames=1 + beside, views=views)
    learned = torch.rand(1, queries, 3).expand(1 + beside, -1, -1)
    usable = torch.zeros(1 + beside, 1 + views, dtype=torch.bool)
    usable[0, 1] = True
    usable[1:, 1:] = True
    projections = PROJECTION.expand(1 + beside, views, 4, 4).clone()
    projections[0, 1:] = torch.eye(4)  # nobody knows where an absent camera is
    placed, tokens = place_queries(config_with(20, 50, queries), heat, projections, usable, learned)
    assert (tokens[0, :60].sort().values == torch.arange(60) + 48).all()  # all that it has
    assert (tokens[0, 60:] == NOWHERE).all()
    assert torch.equal(placed[0, 60:], learned[0, 60:])
    if beside:
        assert (tokens[1, :70] != NOWHERE).all()


def test_depth_is_measured_in_focal_lengths():
    turned = rotation_about_z(0.7) @ torch.linalg.inv(torch.diag(torch.tensor([1.1, 1.1, 1.1, 1])))
    for matrix in (PROJECTION, PROJECTION @ turned):
        assert float(unit_depth(matrix, 160)) == pytest.approx(1.6, rel=1e-5)


def rotation_about_z(angle):
    matrix = torch.eye(4)
    matrix[:2, :2] = torch.tensor([[math.cos(angle), -math.sin(angle)],
                                   [math.sin(angle), math.cos(angle)]])
    return matrix


def test_heat_comes_with_the_output_only_where_it_is_asked_for():
    config = thin_tiny()
    batch = prepare([make_frame()], config, Mounting(), Controls())
    heat = untrained(config)(batch).heat
    assert heat.bev.shape == (1, *config.lidar.bev_shape, 10)
    assert heat.offset.shape == (1, *config.lidar.bev_shape, 3)
    assert heat.image.shape == (1, 4, *config.image.map_shape, 10)
    assert heat.image_offset.shape == (1, 4, *config.image.map_shape, 3)
    assert heat.views == (0, 1, 2, 3)
    plain = replace(config, decoder=replace(config.decoder, heat=False, seeded=False, placed=0,
                                            placed_by_images=0))
    assert untrained(plain)(batch).heat is None
