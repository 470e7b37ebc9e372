from types import SimpleNamespace

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aqr_perception.ros.point_cloud import cloud_from_message, cloud_note

CODES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}


def field(name, offset, dtype, count=1):
    return SimpleNamespace(name=name, offset=offset, datatype=CODES[dtype], count=count)


def cloud_message(columns, layout, height=1, gap=0, row_gap=0, big_endian=False):
    """PointCloud2 with the given columns (name → values) in the given layout [(name, dtype)]."""
    order = ">" if big_endian else "<"
    fields, offset = [], gap
    for name, dtype in layout:
        fields.append(field(name, offset, dtype))
        offset += np.dtype(dtype).itemsize + gap
    count = len(next(iter(columns.values())))
    width = count // height
    row_step = width * offset + row_gap
    data = np.full(height * row_step, 0xAB, np.uint8)
    for item, (name, dtype) in zip(fields, layout):
        if not count:
            break
        view = np.ndarray((height, width), np.dtype(order + dtype), data, item.offset,
                          (row_step, offset))
        view[...] = np.asarray(columns[name]).reshape(height, width)
    return SimpleNamespace(fields=fields, height=height, width=width, point_step=offset,
                           row_step=row_step, is_bigendian=big_endian, data=data.tobytes())


XYZI = [("x", "f4"), ("y", "f4"), ("z", "f4"), ("intensity", "f4")]


@st.composite
def clouds(draw):
    height = draw(st.integers(1, 4))
    width = draw(st.integers(0, 6))
    values = draw(hnp.arrays(np.float32, (height * width, 3), elements=st.floats(
        -500, 500, width=32, allow_nan=False)))
    broken = draw(hnp.arrays(bool, height * width))
    intensity = draw(hnp.arrays(np.uint8, height * width))
    types = {name: draw(st.sampled_from(["f4", "f8"])) for name in "xyz"}
    types["intensity"] = draw(st.sampled_from(["u1", "u2", "i4", "f4", "f8"]))
    types["ring"] = "u2"
    layout = [(name, types[name]) for name in draw(st.permutations(list(types)))]
    shown = np.where(broken[:, None], np.float32(np.nan), values)
    message = cloud_message(
        {"x": shown[:, 0], "y": values[:, 1], "z": values[:, 2], "intensity": intensity,
         "ring": np.arange(height * width)}, layout, height, draw(st.integers(0, 3)),
        draw(st.integers(0, 9)), draw(st.booleans()))
    return message, values[~broken], intensity[~broken]


@settings(max_examples=200, deadline=None)
@given(clouds())
def test_any_layout_gives_the_same_points(case):
    message, xyz, intensity = case
    before = bytes(message.data)
    points = cloud_from_message(message, 255.0)
    assert points.dtype == np.float32
    assert points.shape == (len(xyz), 5)
    np.testing.assert_array_equal(points[:, :3], xyz)
    np.testing.assert_array_equal(points[:, 3], (intensity / np.float32(255)).astype(np.float32))
    assert not points[:, 4].any()
    assert bytes(message.data) == before


def test_intensity_is_scaled_and_clipped():
    message = cloud_message({"x": [1.0, 2, 3], "y": [0.0] * 3, "z": [0.0] * 3,
                             "intensity": [0.0, 50, 200]}, XYZI)
    np.testing.assert_array_equal(cloud_from_message(message, 100.0)[:, 3],
                                  np.array([0, 0.5, 1], np.float32))


def test_a_missing_intensity_is_zero_and_said():
    message = cloud_message({"x": [1.0], "y": [2.0], "z": [3.0]}, XYZI[:3])
    np.testing.assert_array_equal(cloud_from_message(message), [[1, 2, 3, 0, 0]])
    assert "'intensity'" in cloud_note(message)
    assert "x, y, z" in cloud_note(message)
    named = cloud_message({"x": [1.0], "y": [2.0], "z": [3.0], "i": [51.0]},
                          [*XYZI[:3], ("i", "f4")])
    assert cloud_from_message(named, intensity_field="i")[0, 3] == np.float32(0.2)
    assert cloud_note(named, "i") == ""


def test_a_value_beyond_float32_is_not_a_point():
    message = cloud_message({"x": [1e300, 1.0], "y": [0.0] * 2, "z": [0.0] * 2},
                            [("x", "f8"), ("y", "f4"), ("z", "f4")])
    assert len(cloud_from_message(message)) == 1


@pytest.mark.parametrize(("change", "words"), [
    ({"data": b"\0" * 31}, "holds 31 bytes"),
    ({"width": 3}, "row_step is 32"),
    ({"width": 1 << 31, "row_step": 1 << 40}, "holds 32 bytes"),
    ({"point_step": 0}, "row_step|bytes"),
    ({"width": -1}, "negative"),
    ({"fields": [field("x", 0, "f4"), field("z", 4, "f4")]}, "no field y; it has x, z"),
    ({"fields": []}, "no field x, y, z; it has none"),
    ({"fields": [field("x", 0, "f4"), field("y", 4, "f4"), field("z", 14, "f4")]}, "'z'.*byte 18"),
    ({"fields": [field("x", 0, "f4"), field("y", 4, "f4"),
                 SimpleNamespace(name="z", offset=8, datatype=11, count=1)]}, "datatype 11"),
])
def test_sizes_that_do_not_fit_are_named(change, words):
    message = cloud_message({"x": [1.0, 2], "y": [1.0, 2], "z": [1.0, 2], "intensity": [1.0, 2]},
                            XYZI)
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ValueError, match=words):
        cloud_from_message(message)


def test_a_huge_claim_takes_no_memory():
    message = cloud_message({"x": [], "y": [], "z": []}, XYZI[:3])
    message.height = message.width = 1 << 31
    message.row_step = message.width * message.point_step
    with pytest.raises(ValueError, match="holds 0 bytes"):
        cloud_from_message(message)


def test_more_points_than_any_lidar_has_are_refused_before_memory_is_taken():
    message = SimpleNamespace(
        height=1, width=16 << 20, point_step=1, row_step=16 << 20, is_bigendian=False,
        fields=[field(name, 0, "i1") for name in "xyz"], data=bytes(16 << 20))
    with pytest.raises(ValueError, match="1 × 16777216 points; expected at most 10,000,000"):
        cloud_from_message(message)


XYZT = [("x", "f4"), ("y", "f4"), ("z", "f4"), ("dt", "f4")]


def test_a_point_of_an_age_that_cannot_be_is_left_out():
    message = cloud_message({"x": [1.0, 2, 3], "y": [0.0] * 3, "z": [0.0] * 3,
                             "dt": [0.1, 1e30, -0.05]}, XYZT)
    np.testing.assert_array_equal(cloud_from_message(message)[:, 0], [1.0, 3.0])


def test_ages_in_nanoseconds_are_named():
    message = cloud_message({"x": [1.0, 2], "y": [0.0] * 2, "z": [0.0] * 2, "dt": [1e8, 2e8]},
                            XYZT)
    with pytest.raises(ValueError, match=r"dt goes to 2e\+08; expected seconds"):
        cloud_from_message(message)


def test_an_empty_cloud_has_no_points():
    message = cloud_message({"x": [], "y": [], "z": []}, XYZI[:3])
    assert cloud_from_message(message).shape == (0, 5)
