from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aqr_perception.ros.conversions import camera_from_message, matrix_from_message, stamp_to_ns

K = [1000.0, 0, 800, 0, 1100, 450, 0, 0, 1]


def camera_info(**changes):
    values = {"width": 1600, "height": 900, "k": K, "d": [0.0] * 5,
              "distortion_model": "plumb_bob", "binning_x": 0, "binning_y": 0}
    roi = {name: changes.pop(name, 0) for name in ("x_offset", "y_offset", "roi_width",
                                                  "roi_height")}
    values.update(changes)
    return SimpleNamespace(roi=SimpleNamespace(
        x_offset=roi["x_offset"], y_offset=roi["y_offset"], width=roi["roi_width"],
        height=roi["roi_height"], do_rectify=False), **values)


@given(st.integers(0, 2**31 - 1), st.integers(0, 999_999_999))
def test_stamps_are_exact(seconds, nanoseconds):
    assert stamp_to_ns(SimpleNamespace(sec=seconds, nanosec=nanoseconds)) == (
        seconds * 10**9 + nanoseconds)


def test_a_plain_camera():
    camera = camera_from_message(camera_info())
    assert (camera.width, camera.height) == (1600, 900)
    np.testing.assert_array_equal(camera.intrinsics, np.reshape(K, (3, 3)))
    assert not camera.is_distorted


@pytest.mark.parametrize(("model", "count"), [("plumb_bob", 5), ("rational_polynomial", 8),
                                              ("equidistant", 4)])
def test_distortion_models(model, count):
    coefficients = np.linspace(0.01, 0.05, count)
    camera = camera_from_message(camera_info(distortion_model=model, d=coefficients))
    assert camera.distortion_model == model
    np.testing.assert_array_equal(camera.distortion, coefficients)


def test_a_region_of_interest_projects_to_the_same_place_of_the_sensor():
    whole = camera_from_message(camera_info(d=[0.1, 0.01, 0.0, 0.0, 0.0]))
    part = camera_from_message(camera_info(
        d=[0.1, 0.01, 0.0, 0.0, 0.0], x_offset=300, y_offset=100, roi_width=800, roi_height=600))
    point = np.array([[0.1, 0.05, 1.0]])
    np.testing.assert_allclose(part.project(point)[0], whole.project(point)[0] - [300, 100])
    assert (part.width, part.height) == (800, 600)


def test_binning_divides_the_pixels():
    camera = camera_from_message(camera_info(binning_x=2, binning_y=3))
    assert (camera.width, camera.height) == (800, 300)
    np.testing.assert_allclose(camera.intrinsics, [[500, 0, 400], [0, 1100 / 3, 150], [0, 0, 1]])


def test_a_binned_region():
    camera = camera_from_message(camera_info(
        binning_x=2, binning_y=2, x_offset=200, y_offset=50, roi_width=1000, roi_height=800))
    assert (camera.width, camera.height) == (500, 400)
    np.testing.assert_allclose(camera.intrinsics, [[500, 0, 300], [0, 550, 200], [0, 0, 1]])


@pytest.mark.parametrize(("changes", "words"), [
    ({"k": [0.0] * 9}, "calibrated"),
    ({"k": [1000.0, 0, 800, 0, 1100.0, 450, 0, 0, 0]}, "last row of K"),
    ({"k": [1e20, 0, 800, 0, 1100.0, 450, 0, 0, 1]}, "expected pixels"),
    ({"width": 0}, "0×900"),
    ({"distortion_model": "fov"}, "'fov'"),
    ({"d": [0.0] * 3}, "3 coefficients"),
    ({"x_offset": 1000, "roi_width": 800, "roi_height": 100}, "region of interest"),
    ({"roi_width": 800}, "region of interest"),
])
def test_what_is_no_camera_is_named(changes, words):
    with pytest.raises(ValueError, match=words):
        camera_from_message(camera_info(**changes))


def transform(x, y, z, qx, qy, qz, qw):
    return SimpleNamespace(translation=SimpleNamespace(x=x, y=y, z=z),
                           rotation=SimpleNamespace(x=qx, y=qy, z=qz, w=qw))


def test_a_transform():
    matrix = matrix_from_message(transform(1.0, 2.0, 3.0, 0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5)))
    np.testing.assert_allclose(matrix, [[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]],
                               atol=1e-12)


@pytest.mark.parametrize("values", [(0.0,) * 7, (np.nan, 0, 0, 0, 0, 0, 1.0),
                                    (0, np.inf, 0, 0, 0, 0, 1.0), (0, 0, -1e39, 0, 0, 0, 1.0)])
def test_a_transform_without_sense_is_refused(values):
    with pytest.raises(ValueError, match=r"quaternion|finite"):
        matrix_from_message(transform(*values))
