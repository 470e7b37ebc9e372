import numpy as np
import pytest

from aqr_perception.geometry.camera import PinholeCamera
from aqr_perception.visualization.view_limits import MARGIN, NEAR, ViewLimits

K = np.array([[100.0, 0, 100], [0, 100.0, 50], [0, 0, 1]])
CAMERA = PinholeCamera(200, 100, K)


def cut(start, end, camera=CAMERA):
    starts, ends, seen = ViewLimits(camera).cut_lines(np.array([start], float),
                                                      np.array([end], float))
    return starts[0], ends[0], bool(seen[0])


def test_slopes_are_those_of_the_border_and_a_little_more():
    left, right, top, bottom = ViewLimits(CAMERA).slopes
    assert (left, right) == pytest.approx((-1 - 2 * MARGIN, 1 + 2 * MARGIN))
    assert (top, bottom) == pytest.approx((-0.5 - MARGIN, 0.5 + MARGIN))


def test_what_is_seen_whole_stays_as_it_is():
    start, end, seen = cut((0, 0, 5), (1, 0.5, 9))
    assert seen
    np.testing.assert_array_equal([start, end], [(0, 0, 5), (1, 0.5, 9)])


def test_what_runs_behind_the_camera_ends_at_the_near_plane():
    start, end, seen = cut((0, 0, 5), (0, 0, -5))
    assert seen
    np.testing.assert_allclose([start, end], [(0, 0, 5), (0, 0, NEAR)])
    start, end, seen = cut((0, 0, -5), (0, 0, 5))
    np.testing.assert_allclose([start, end], [(0, 0, NEAR), (0, 0, 5)])


@pytest.mark.parametrize(("start", "end"), [
    ((0, 0, -5), (1, 0, -1)), ((50, 0, 5), (60, 0, 5)), ((0, 9, 5), (0, 9, -5)),
    ((10, 0, 5), (1, 9, 5))])
def test_what_is_not_seen_is_left_out(start, end):
    assert not cut(start, end)[2]


def test_random_lines_keep_exactly_their_part_inside():
    rng = np.random.default_rng(0)
    limits = ViewLimits(CAMERA)
    starts, ends = rng.uniform(-5, 5, (2, 300, 3))
    left, right, top, bottom = limits.slopes
    share = np.linspace(0, 1, 4001)
    points = starts[:, None] + share[:, None] * (ends - starts)[:, None]
    x, y, z = np.moveaxis(points, -1, 0)
    inside = ((z >= NEAR) & (x >= left * z) & (x <= right * z) & (y >= top * z) & (y <= bottom * z))
    cut_starts, cut_ends, seen = limits.cut_lines(starts, ends)
    assert seen.sum() > 30
    for i in range(300):
        if not seen[i]:
            assert inside[i].sum() <= 1
            continue
        length = np.linalg.norm(ends[i] - starts[i])
        kept = np.linalg.norm(cut_ends[i] - cut_starts[i])
        assert kept / length == pytest.approx(inside[i].mean(), abs=1e-3)


def test_a_face_is_cut_at_every_border():
    face = np.array([[-50.0, -50, 5], [50, -50, 5], [50, 50, 5], [-50, 50, 5]])
    kept = ViewLimits(CAMERA).cut_face(face)
    left, right, top, bottom = ViewLimits(CAMERA).slopes
    np.testing.assert_allclose([kept.min(axis=0)[:2], kept.max(axis=0)[:2]],
                               [[5 * left, 5 * top], [5 * right, 5 * bottom]])
    assert len(ViewLimits(CAMERA).cut_face(face * [1, 1, -1])) == 0


@pytest.mark.parametrize(("model", "coefficients"), [
    ("plumb_bob", [-0.35, 0.12, 0, 0, 0]), ("equidistant", [0.02, -0.01, 0, 0])])
def test_a_lens_does_not_fold_back_what_lies_outside(model, coefficients):
    camera = PinholeCamera(200, 100, K, model, np.array(coefficients))
    far_outside = np.array([[8.0, 0.2, 2.0]])
    assert not cut(far_outside[0], far_outside[0] * 1.5, camera)[2]
    start, end, seen = cut((0, 0, 5), (40, 0, 5), camera)
    assert seen
    pixels, _ = camera.project(np.stack([start, end]))
    assert pixels[1, 0] == pytest.approx(200 * (1 + MARGIN), abs=12)
