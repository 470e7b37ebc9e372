from __future__ import annotations

import numpy as np
import pytest
import torch

from aqr_perception.model.config import cmt_r50, cmt_vov99
from aqr_perception.model.voxelize import Grid, cell_index, grid_of, pillar_index, voxel_means

GRID = Grid(low=(-4.0, -4.0, -2.0), size=(0.5, 1.0, 2.0), shape=(2, 8, 16))


def by_hand(points, grid, max_points, max_voxels):
    """Voxels of one frame, a point at a time, as mmdet3d's hard voxelisation fills them."""
    voxels = {}
    for point in points:
        place = [int(np.floor((point[axis] - grid.low[axis]) / grid.size[axis]))
                 for axis in range(3)]
        if any(not 0 <= cell < cells for cell, cells in zip(place, grid.shape[::-1])):
            continue
        key = tuple(place[::-1])
        if key not in voxels and len(voxels) == max_voxels:
            continue
        if len(voxels.setdefault(key, [])) < max_points:
            voxels[key].append(point)
    return {key: np.mean(values, axis=0) for key, values in voxels.items()}


@pytest.mark.parametrize(("max_points", "max_voxels"), [(10, 1000), (2, 1000), (3, 20), (1, 1)])
def test_means_equal_those_computed_point_by_point(max_points, max_voxels):
    rng = np.random.default_rng(0)
    clouds = [rng.uniform(-6, 6, (count, 5)) for count in (200, 0, 350)]
    points = torch.from_numpy(np.concatenate(clouds))
    frame = torch.repeat_interleave(torch.arange(3), torch.tensor([len(c) for c in clouds]))
    means, coordinates = voxel_means(points, frame, 3, GRID, max_points, max_voxels)
    wanted = {(number, *key): value for number, cloud in enumerate(clouds)
              for key, value in by_hand(cloud, GRID, max_points, max_voxels).items()}
    assert [tuple(row) for row in coordinates.tolist()] == sorted(wanted)
    for row, mean in zip(coordinates.tolist(), means.numpy()):
        np.testing.assert_allclose(mean, wanted[tuple(row)], rtol=1e-12)


def test_faces_belong_to_the_upper_cell_and_the_far_end_is_outside():
    points = torch.tensor([[-4.0, -4.0, -2.0], [-3.5, -3.0, 0.0], [4.0, 0.0, 0.0],
                           [0.0, 0.0, 2.0], [-4.001, 0.0, 0.0], [torch.nan, 0.0, 0.0]])
    cells, inside = cell_index(points, GRID)
    assert inside.tolist() == [True, True, False, False, False, False]
    assert cells[:2].tolist() == [[0, 0, 0], [1, 1, 1]]


def test_pillars_number_frames_rows_and_columns():
    points = torch.tensor([[-4.0, -4.0, 0.0], [-3.5, -3.0, 0.0]])
    index, inside = pillar_index(points, torch.tensor([0, 1]), GRID)
    assert inside.all()
    assert index.tolist() == [0, (1 * 8 + 1) * 16 + 1]


def test_published_grids():
    assert grid_of(cmt_r50()).shape == (41, 1024, 1024)
    assert grid_of(cmt_vov99()).shape == (41, 1440, 1440)
    beyond = torch.tensor([[48.5, 0.0, 0.0], [48.3, 0.0, 0.0]])
    assert cell_index(beyond, grid_of(cmt_r50()))[1].tolist() == [False, True]
    assert cell_index(beyond, grid_of(cmt_vov99()))[1].tolist() == [True, True]
