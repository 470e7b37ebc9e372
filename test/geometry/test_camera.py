import cv2
import numpy as np
import pytest

from aqr_perception.geometry.camera import PinholeCamera

K = np.array([[500.0, 0, 320], [0, 510, 240], [0, 0, 1]])
LENSES = {
    "none": ("plumb_bob", []),
    "plumb_bob": ("plumb_bob", [-0.3, 0.1, 1e-3, -2e-3, 0.01]),
    "rational": ("rational_polynomial", [0.1, 0.01, 1e-3, -1e-3, 0.001, 0.05, 0.01, 0.002]),
    "fisheye": ("equidistant", [0.05, 0.01, -2e-3, 1e-3])}
POINTS = np.random.default_rng(0).uniform([-1.5, -1, 2], [1.5, 1, 6], (200, 3))


def make(lens="none"):
    model, coefficients = LENSES[lens]
    return PinholeCamera(640, 480, K, model, np.array(coefficients))


def test_projection_is_arithmetic():
    pixels, visible = make().project(np.array([[0.5, 0.3, 2], [0, 0, -1], [10, 0, 1]]))
    np.testing.assert_allclose(pixels[0], [500 * 0.25 + 320, 510 * 0.15 + 240])
    assert visible.tolist() == [True, False, False]
    assert np.isnan(pixels[1]).all()


@pytest.mark.parametrize("lens", ["plumb_bob", "rational"])
def test_distortion_equals_opencv(lens):
    wanted, _ = cv2.projectPoints(POINTS, np.zeros(3), np.zeros(3), K, np.array(LENSES[lens][1]))
    np.testing.assert_allclose(make(lens).project(POINTS)[0], wanted[:, 0], atol=1e-6)


def test_fisheye_equals_opencv():
    wanted, _ = cv2.fisheye.projectPoints(POINTS[:, None], np.zeros(3), np.zeros(3), K,
                                          np.array(LENSES["fisheye"][1]))
    np.testing.assert_allclose(make("fisheye").project(POINTS)[0], wanted[:, 0], atol=1e-6)


@pytest.mark.parametrize("lens", LENSES)
def test_unproject_undoes_project(lens):
    pixels, _ = make(lens).project(POINTS)
    np.testing.assert_allclose(make(lens).unproject(pixels, POINTS[:, 2]), POINTS, atol=1e-6)


@pytest.mark.parametrize("lens", LENSES)
def test_resize_and_crop_move_pixels_and_camera_together(lens):
    camera = make(lens)
    pixels, _ = camera.project(POINTS)
    changed = camera.resized(320, 120).cropped(40, 10, 200, 100)
    moved, _ = changed.project(POINTS)
    np.testing.assert_allclose(moved, pixels * [0.5, 0.25] - [40, 10], atol=1e-6)
    assert (changed.width, changed.height) == (200, 100)


@pytest.mark.parametrize("lens", ["plumb_bob", "rational", "fisheye"])
def test_undistort_map_says_where_each_pixel_came_from(lens):
    camera = make(lens)
    target = camera.undistorted().resized(160, 120)
    u, v = camera.undistort_map(target)
    assert u.shape == (120, 160)
    inside = target.unproject(np.array([[80.0, 60], [40, 30]]), 1.0)
    wanted, _ = camera.project(inside)
    np.testing.assert_allclose([u[60, 80], v[60, 80]], wanted[0], atol=1e-3)
    np.testing.assert_allclose([u[30, 40], v[30, 40]], wanted[1], atol=1e-3)


@pytest.mark.parametrize(("changes", "words"), [
    ({"width": 0}, "size"), ({"intrinsics": np.eye(2)}, "3×3"),
    ({"intrinsics": np.zeros((3, 3))}, "calibrated"), ({"distortion_model": "x"}, "unknown"),
    ({"distortion": np.ones(3)}, "coefficients"), ({"distortion": np.full(5, np.nan)}, "finite")])
def test_a_camera_that_makes_no_sense_is_named(changes, words):
    arguments = {"width": 640, "height": 480, "intrinsics": K} | changes
    with pytest.raises(ValueError, match=words):
        PinholeCamera(**arguments)
