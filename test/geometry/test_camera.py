import cv2
import numpy as np
import pytest

from aqr_perception.geometry.camera import PinholeCamera

K = np.array([[500.0, 0, 320], [0, 510, 240], [0, 0, 1]])
LENSES = {
    "none": ("plumb_bob", []),
    "plumb_bob": ("plumb_bob", [-0.3, 0.1, 1e-3, -2e-3, 0.01]),
    "plumb_bob_4": ("plumb_bob", [-0.3, 0.1, 1e-3, -2e-3]),
    "rational": ("rational_polynomial", [0.1, 0.01, 1e-3, -1e-3, 0.001, 0.05, 0.01, 0.002]),
    "thin_prism": ("rational_polynomial", [0.1, 0.01, 1e-3, -1e-3, 0.001, 0.05, 0.01, 0.002,
                                           1e-3, -5e-4, 2e-3, 1e-4]),
    "tilted": ("rational_polynomial", [0.1, 0.01, 1e-3, -1e-3, 0.001, 0.05, 0.01, 0.002,
                                       1e-3, -5e-4, 2e-3, 1e-4, 0.02, -0.03]),
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


@pytest.mark.parametrize("lens", [name for name in LENSES if name not in ("none", "fisheye")])
def test_distortion_equals_opencv(lens):
    wanted, _ = cv2.projectPoints(POINTS, np.zeros(3), np.zeros(3), K, np.array(LENSES[lens][1]))
    np.testing.assert_allclose(make(lens).project(POINTS)[0], wanted[:, 0], atol=1e-6)


def test_fisheye_equals_opencv():
    wanted, _ = cv2.fisheye.projectPoints(POINTS[:, None], np.zeros(3), np.zeros(3), K,
                                          np.array(LENSES["fisheye"][1]))
    np.testing.assert_allclose(make("fisheye").project(POINTS)[0], wanted[:, 0], atol=1e-6)


def test_radial_distortion_is_the_polynomial():
    k1, k2, p1, p2, k3 = LENSES["plumb_bob"][1]
    x, y = 0.3, -0.2
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    bent = [x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y]
    pixels, _ = make("plumb_bob").project(np.array([[3 * x, 3 * y, 3.0]]))
    np.testing.assert_allclose(pixels[0], [500 * bent[0] + 320, 510 * bent[1] + 240])


def test_fisheye_distortion_is_in_the_angle():
    k1, k2, k3, k4 = LENSES["fisheye"][1]
    angle = 0.4
    bent = angle * (1 + k1 * angle**2 + k2 * angle**4 + k3 * angle**6 + k4 * angle**8)
    pixels, _ = make("fisheye").project(np.array([[np.tan(angle), 0, 1.0]]))
    np.testing.assert_allclose(pixels[0], [500 * bent + 320, 240])


def test_the_border_is_half_a_pixel_around_the_outermost_centres():
    pixels = np.array([[-0.5, 10], [-0.51, 10], [639.49, 10], [639.51, 10], [10, 479.49],
                       [10, 479.51]])
    visible = make().project(make().unproject(pixels, 3.0))[1]
    assert visible.tolist() == [True, False, True, False, True, False]


def test_coefficients_that_are_all_zero_are_no_distortion():
    assert not PinholeCamera(640, 480, K, "plumb_bob", np.zeros(5)).is_distorted
    assert make("plumb_bob").is_distorted
    assert not make("plumb_bob").undistorted().is_distorted


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


@pytest.mark.parametrize(("row", "column", "value", "words"), [
    (2, 2, 0.0, "last row of K"), (2, 0, 1e-3, "last row of K"), (0, 0, 1e20, "expected pixels"),
    (1, 1, 1e-9, "expected pixels"), (1, 2, -1e20, "expected pixels"),
    (0, 1, 1e20, "expected pixels")])
def test_a_matrix_that_no_camera_has_is_refused(row, column, value, words):
    intrinsics = K.copy()
    intrinsics[row, column] = value
    with pytest.raises(ValueError, match=words):
        PinholeCamera(640, 480, intrinsics)
