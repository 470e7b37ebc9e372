from __future__ import annotations

import numpy as np
import pytest
import torch
from rig import camera, camera_from_lidar
from thin_networks import thin_cmt, thin_tiny

from aqr_perception.model.locality import (
    FourierPosition,
    Locality,
    query_directions,
    token_directions,
)
from aqr_perception.model.memory import Memory
from aqr_perception.model.position import (
    Cameras,
    PositionEmbedding,
    bev_cell_centers,
    depth_bins,
    inverse_sigmoid,
    pixel_grid,
    project,
    ray_points,
    sine_embedding,
)

CONFIG = thin_tiny()


def cameras(count=4, usable=True):
    matrices = []
    for view in range(count):
        lens = np.eye(4)
        width, height = CONFIG.image.width, CONFIG.image.height
        lens[:3, :3] = camera(width, height, 70.0).intrinsics
        matrices.append(lens @ camera_from_lidar(np.pi / 2 + view * np.pi / 2))
    projections = torch.tensor(np.stack(matrices), dtype=torch.float64)[None]
    return Cameras(projections, torch.full((1, count), usable))


def in_range(points):
    low, high = (torch.tensor(CONFIG.detection_range[i:i + 3], dtype=torch.float64)
                 for i in (0, 3))
    return (torch.as_tensor(points, dtype=torch.float64) - low) / (high - low)


def test_cells_are_laid_row_by_row():
    centers = bev_cell_centers(2, 4, torch.zeros(1, dtype=torch.float64))
    assert centers.tolist() == [[(j + 0.5) / 4, (i + 0.5) / 2] for i in range(2) for j in range(4)]


def test_sines_of_y_come_first():
    """At x = 0 the second half is 0, 1, 0, 1...; divisors run from 1 to below 2."""
    embedding = sine_embedding(torch.tensor([0.0, 0.3], dtype=torch.float64), 8)
    assert embedding[8:].tolist() == [0.0, 1.0] * 4
    divisors = [1.0, 1.25, 1.5, 1.75]
    angles = np.array([2 * np.pi * 0.3 / divisor for divisor in divisors])
    np.testing.assert_allclose(embedding[:8:2], np.sin(angles))
    np.testing.assert_allclose(embedding[1:8:2], np.cos(angles))


def test_depths_are_even():
    depths = depth_bins(64, 54.0, torch.zeros(1, dtype=torch.float64))
    assert depths[0] == 1
    assert float(depths[-1]) == pytest.approx(53.17, abs=0.01)
    np.testing.assert_allclose(depths.diff(), 53 / 64)


def test_points_on_rays_project_back_onto_their_pixels():
    rig = cameras()
    pixels = pixel_grid(4, 6, 16.0, 16.0, rig.image_from_lidar)
    assert pixels[7].tolist() == [16.0, 16.0, 1.0]
    points = ray_points(pixels, rig.model_from_image, torch.tensor([1.0, 7.0, 30.0]).double())
    for view in range(4):
        seen, _ = project(points[:, view].flatten(1, 2), rig.image_from_lidar, 96, 64)
        back = seen[0, view].unflatten(0, (24, 3))
        torch.testing.assert_close(back[..., :2], pixels[:, None, :2].expand(-1, 3, -1),
                                   rtol=1e-5, atol=1e-4)


def test_what_lies_behind_or_beside_is_not_visible():
    points = torch.tensor([[[0.0, 20.0, 0.0], [0.0, -20.0, 0.0], [20.0, 20.5, 0.0]]]).double()
    _, visible = project(points, cameras().image_from_lidar, 96, 64)
    assert visible[0, :, 0].tolist() == [True, False, False, False]
    assert visible[0, :, 1].tolist() == [False, False, True, False]


def test_inverse_sigmoid_is_clamped():
    x = torch.tensor([-1.0, 0.0, 0.3, 1.0, 2.0], dtype=torch.float64)
    limit = np.log(1e5)
    np.testing.assert_allclose(inverse_sigmoid(x), [-limit, -limit, np.log(0.3 / 0.7), limit,
                                                    limit])


@pytest.mark.parametrize("embedding", [PositionEmbedding(thin_cmt()), FourierPosition(CONFIG)])
def test_cameras_that_are_not_usable_do_not_place_queries(embedding):
    embedding = embedding.double()
    points = in_range([[[0.0, 20.0, 0.0], [5.0, -12.0, 0.0]]])
    nothing = Cameras(torch.zeros(1, 0, 4, 4).double(), torch.zeros(1, 0, dtype=torch.bool))

    def embedded(rig):
        if isinstance(embedding, PositionEmbedding):
            return embedding.queries(points, rig)
        return embedding.queries(points, query_directions(CONFIG, points, rig))

    blind = embedded(cameras(usable=False))
    torch.testing.assert_close(blind, embedded(nothing))
    assert (embedded(cameras()) - blind).abs().max() > 1e-3


def test_a_query_points_where_the_token_that_shows_it_does():
    rig = cameras()
    directions = token_directions(CONFIG, rig, 4, 6)
    pixels = pixel_grid(4, 6, 16.0, 16.0, rig.image_from_lidar) + torch.tensor([7.5, 7.5, 0.0])
    for depth in (3.0, 40.0):
        points = ray_points(pixels, rig.model_from_image, torch.tensor([depth]).double())[..., 0, :]
        for view in range(4):
            ours = query_directions(CONFIG, in_range(points[:, view]), rig)
            cosine = (ours * directions[:, view]).sum(-1)
            alone = project(points[:, view], rig.image_from_lidar, 96, 64)[1].sum(1) == 1
            assert (cosine[alone] > 1 - 1e-9).all()
            assert alone.sum() > 10


def test_unseen_queries_have_no_direction():
    up = in_range([[[0.0, 0.1, 2.9]]])
    assert query_directions(CONFIG, up, cameras()).abs().max() == 0
    assert query_directions(CONFIG, up, cameras(usable=False)).isfinite().all()


def test_the_bias_is_the_gaussian_of_distance():
    locality = Locality(CONFIG).double()
    rows, columns, rig = 6, 8, cameras()
    tokens = torch.zeros(1, rows * columns + 4 * 24, CONFIG.decoder.channels).double()
    memory = Memory(tokens, tokens, torch.zeros(tokens.shape[1]).long(),
                    torch.ones(1, 5, dtype=torch.bool), (rows, columns), (0, 1, 2, 3), (4, 6))
    places = torch.tensor([[[3.0, 22.0, 0.0], [-30.0, 9.0, 1.0]]]).double()
    seen = query_directions(CONFIG, in_range(places), rig)
    toward = token_directions(CONFIG, rig, 4, 6)
    columns_, _ = locality(1, in_range(places), seen, locality.keys(memory, toward))
    bias = columns_.queries @ columns_.keys[:, None].transpose(-1, -2)
    cells = bev_cell_centers(rows, columns, tokens) * 108 - 54
    distance = (places[0, :, None, :2] - cells).norm(dim=-1)
    for head, sigma in enumerate(locality.log_meters[1].exp().tolist()):
        torch.testing.assert_close(bias[0, head, :, :48], -distance ** 2 / (2 * sigma ** 2),
                                   rtol=1e-6, atol=1e-6)
    chord = (seen[0, :, None] - toward.flatten(1, 2)[0]).norm(dim=-1)
    for head, sigma in enumerate(locality.log_radians[1].exp().tolist()):
        torch.testing.assert_close(bias[0, head, :, 48:], -chord ** 2 / (2 * sigma ** 2),
                                   rtol=1e-6, atol=1e-6)


def test_queries_are_told_how_far_off_their_heads_looked():
    locality = Locality(CONFIG).double()
    rows, columns, rig = 6, 8, cameras()
    tokens = torch.zeros(1, rows * columns + 4 * 24, CONFIG.decoder.channels).double()
    memory = Memory(tokens, tokens, torch.zeros(tokens.shape[1]).long(),
                    torch.ones(1, 5, dtype=torch.bool), (rows, columns), (0, 1, 2, 3), (4, 6))
    place = torch.tensor([[[3.0, 22.0, 0.0]]]).double()
    directions = token_directions(CONFIG, rig, 4, 6)
    seen = query_directions(CONFIG, in_range(place), rig)
    keys = locality.keys(memory, directions)
    _, reading = locality(1, in_range(place), seen, keys)
    heads, told = CONFIG.decoder.heads, locality.told[1]
    torch.nn.init.zeros_(told.weight)
    torch.nn.init.zeros_(told.bias)
    with torch.no_grad():
        told.weight[:7 * heads, :7 * heads] = torch.eye(7 * heads)[:told.out_features]

    def attended(token):  # all heads look at one token alone
        seen = keys[:, token].expand(heads, -1)[None, :, None]
        return reading.read(seen)[0, 0, :7]  # of the first head

    cell = bev_cell_centers(rows, columns, tokens)[20] * 108 - 54
    sigma = locality.log_meters[1, 0].exp()
    torch.testing.assert_close(attended(20)[:3], torch.cat(
        [(cell - place[0, 0, :2]) / sigma, torch.ones(1)]).double())
    assert not attended(20)[3:].any()
    turn = (directions.flatten(1, 2)[0, 30] - seen[0, 0]) / locality.log_radians[1, 0].exp()
    torch.testing.assert_close(attended(78)[3:], torch.cat([turn, torch.ones(1)]).double())
    assert not attended(78)[:3].any()
