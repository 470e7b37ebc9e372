from __future__ import annotations

import numpy as np
import pytest

from aqr_perception.geometry import rigid
from aqr_perception.simulation.materials import MATERIALS, Material, column
from aqr_perception.simulation.mesh import Mesh, MeshBuilder, grid_triangles

GREY = np.array([.5, .5, .5])


def area(mesh: Mesh) -> float:
    a, b, c = mesh.triangles.astype(np.float64).transpose(1, 0, 2)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def test_a_box_has_its_surface():
    build = MeshBuilder()
    build.box([1, 2, 3], [4, 2, 1], Material.METAL, GREY, yaw=.3)
    mesh = build.build()
    assert len(mesh) == 12
    assert area(mesh) == pytest.approx(2 * (8 + 4 + 2), rel=1e-5)
    assert mesh.triangles.reshape(-1, 3).mean(0) == pytest.approx([1, 2, 3], abs=.6)


def test_pitch_lifts_the_front():
    build = MeshBuilder()
    build.box([0, 0, 0], [2, .01, .01], Material.METAL, GREY, pitch=np.pi / 6)
    corner = build.build().triangles.reshape(-1, 3)
    assert corner[corner[:, 0].argmax()][2] == pytest.approx(.5, abs=.01)


@pytest.mark.parametrize("end", [(0, 0, 3), (2, 1, 0), (0, 3, 4)])
def test_a_tube_approaches_a_cylinder(end: tuple[float, float, float]):
    build = MeshBuilder()
    build.tube([0, 0, 0], end, .5, None, Material.METAL, GREY, sides=64)
    length = np.linalg.norm(end)
    assert area(build.build()) == pytest.approx(np.pi * length + 2 * np.pi * .25, rel=.005)
    middle = build.build().triangles.reshape(-1, 3).mean(0)
    assert middle == pytest.approx(np.array(end) / 2, abs=1e-5)


def test_disc_and_ball_approach_theirs():
    build = MeshBuilder()
    build.disc([1, 1, 1], [1, 2, 2], 2.0, Material.METAL, GREY, sides=64)
    disc = build.build()
    assert area(disc) == pytest.approx(4 * np.pi, rel=.005)
    assert (disc.triangles - 1) @ [1, 2, 2] == pytest.approx(0, abs=1e-5)
    build = MeshBuilder()
    build.ball([0, 0, 0], [1, 1, 1], Material.METAL, GREY, sides=48, rings=24)
    assert area(build.build()) == pytest.approx(4 * np.pi, rel=.02)


def test_fitted_moved_and_joined():
    build = MeshBuilder()
    build.box([5, 5, 5], [1, 1, 1], Material.GLASS, GREY, style=7)
    mesh = build.build().fitted([4, 2, 1])
    assert np.allclose(mesh.bounds(), ([-2, -1, -.5], [2, 1, .5]))
    there = mesh.moved(rigid.from_xyz_yaw(10, 0, 0, np.pi / 2))
    assert np.allclose(there.bounds(), ([9, -2, -.5], [11, 2, .5]), atol=1e-5)
    both = Mesh.joined([mesh, there])
    assert len(both) == 24
    assert (both.material == Material.GLASS).all()
    assert (both.style == 7).all()
    assert len(Mesh.joined([])) == 0
    again = MeshBuilder()
    again.add_mesh(both)
    assert np.array_equal(again.build().triangles, both.triangles)


def test_a_grid_covers_its_plane():
    y, x = np.mgrid[0:4, 0:5].astype(float)
    triangles = grid_triangles(np.stack([x, y, np.zeros_like(x)], -1))
    assert triangles.shape == (2 * 3 * 4, 3, 3)
    mesh = Mesh(triangles.astype(np.float32), np.zeros(24, np.uint8),
                np.zeros((24, 3), np.float32), np.zeros(24, np.uint16))
    assert area(mesh) == pytest.approx(12)


def test_every_material_has_its_optics():
    assert set(MATERIALS) == set(Material)
    assert column("lidar_gain")[Material.PAINT] == MATERIALS[Material.PAINT].lidar_gain
