import numpy as np
import pytest

from aqr_perception.visualization.drawing import arrow, fill, line, rectangle, shade, tag, write


@pytest.fixture
def picture():
    return np.zeros((60, 80, 3), np.uint8)


def columns(picture):
    return np.nonzero(picture.any(axis=(0, 2)))[0]


def test_a_rectangle_fills_its_pixels(picture):
    fill(picture, rectangle(10, 20, 5, 4), (1, 2, 3))
    assert picture[22, 12].tolist() == [1, 2, 3]
    assert columns(picture).min() == pytest.approx(10, abs=1)
    assert columns(picture).max() == pytest.approx(15, abs=1)


def test_a_shade_mixes_and_stops_at_the_border(picture):
    picture[:] = 100
    shade(picture, rectangle(-30, -30, 50, 50), (200, 200, 200), 0.25)
    assert picture[5, 5].tolist() == [125] * 3
    assert picture[40, 40].tolist() == [100] * 3
    shade(picture, rectangle(500, 500, 5, 5), (0, 0, 0), 1.0)
    assert picture[5, 5].tolist() == [125] * 3


def test_lines_from_far_outside_keep_their_direction(picture):
    line(picture, np.array([[-1e5, 30.0], [1e5, 30.0]]), (255, 255, 255))
    assert picture[30].any(axis=1).all()
    assert not picture[:28].any()


def test_an_arrow_has_its_head_at_its_end_and_none_without_length(picture):
    arrow(picture, np.array([10.0, 30]), np.array([60.0, 30]), (255, 255, 255))
    assert columns(picture).max() == pytest.approx(60, abs=1)
    thick = (picture.any(axis=2)).sum(axis=0)
    assert thick[54] > thick[30]
    still = np.zeros_like(picture)
    arrow(still, np.array([10.0, 30]), np.array([10.2, 30]), (255, 255, 255))
    assert not still.any()


def test_text_tells_its_width_and_a_tag_lies_on_its_ground(picture):
    width = write(picture, "car", (5, 30))
    assert columns(picture).max() == pytest.approx(5 + width, abs=4)
    blank = np.zeros_like(picture)
    tag(blank, "x", (0, 0), (0, 0, 0), (200, 100, 50), alpha=1.0)
    assert blank[2, 2].tolist() == [200, 100, 50]
