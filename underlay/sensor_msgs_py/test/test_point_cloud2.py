"""Layouts of clouds, read and written; expected values are the numbers that were packed."""

import array
import struct

import numpy as np
import pytest
import sensor_msgs_py
from sensor_msgs.msg import PointCloud2, PointField
from sensor_msgs_py import numpy_compat, point_cloud2
from std_msgs.msg import Header

stand_in_only = pytest.mark.skipif(
    "stand-in" not in (sensor_msgs_py.__doc__ or ""),
    reason="upstream changes the message or misreads it here")


def field(name, offset, datatype=PointField.FLOAT32, count=1):
    return PointField(name=name, offset=offset, datatype=datatype, count=count)


def cloud_of(data, fields, point_step, width, height=1, row_step=None, big=False, dense=False):
    message = PointCloud2(width=width, height=height, fields=fields, point_step=point_step,
                          row_step=width * point_step if row_step is None else row_step,
                          is_bigendian=big, is_dense=dense)
    message.data = array.array("B", data)
    return message


XYZ = [field("x", 0), field("y", 4), field("z", 8)]


def xyz_cloud(points, **layout):
    data = b"".join(struct.pack("<fff", *point) for point in points)
    return cloud_of(data, XYZ, 12, len(points), **layout)


def mixed_cloud():
    """Two points of: gap, ring u16, gap, time f64, x f32, tail; the fields named out of order."""
    data = b"".join(struct.pack("<3xH2xdf5x", *values)
                    for values in [(7, 0.25, -1.5), (65535, 1e300, 3.0)])
    fields = [field("x", 15), field("ring", 3, PointField.UINT16),
              field("time", 7, PointField.FLOAT64)]
    return cloud_of(data, fields, 24, 2)


def test_fields_keep_the_order_of_the_message_and_their_types():
    points = point_cloud2.read_points(mixed_cloud())
    assert points.dtype.names == ("x", "ring", "time")
    assert points["x"].tolist() == [-1.5, 3.0]
    assert points["ring"].tolist() == [7, 65535]
    assert points["time"].tolist() == [0.25, 1e300]
    assert points.dtype.itemsize == 24


def test_requested_fields_come_in_the_requested_order():
    points = point_cloud2.read_points(mixed_cloud(), field_names=("time", "x"))
    assert points.dtype.names == ("time", "x")
    assert points[1].tolist() == (1e300, 3.0)


@pytest.mark.parametrize(("datatype", "code", "value"), [
    (PointField.INT8, "b", -128), (PointField.UINT8, "B", 255),
    (PointField.INT16, "h", -32768), (PointField.UINT16, "H", 65535),
    (PointField.INT32, "i", -2**31), (PointField.UINT32, "I", 2**32 - 1),
    (PointField.FLOAT32, "f", 0.5), (PointField.FLOAT64, "d", -1e-300)])
@pytest.mark.parametrize("order", "<>")
def test_every_type_in_either_byte_order(datatype, code, value, order):
    data = struct.pack(f"{order}{code}", value)
    message = cloud_of(data, [field("a", 0, datatype)], len(data), 1, big=order == ">")
    points = point_cloud2.read_points(message)
    assert points["a"].tolist() == [value]
    assert points.dtype["a"].isnative


def test_elements_of_a_field_are_numbered():
    data = struct.pack("<4f", 1, 2, 3, 4)
    message = cloud_of(data, [field("n", 0, count=3), field("", 12)], 16, 1)
    points = point_cloud2.read_points(message)
    assert points.dtype.names == ("n_0", "n_1", "n_2", "unnamed_field_1")
    assert points[0].tolist() == (1, 2, 3, 4)
    assert point_cloud2.read_points_numpy(message).tolist() == [[1, 2, 3, 4]]


def test_a_view_of_the_message_unless_bytes_must_move():
    message = xyz_cloud([(1, 2, 3), (4, 5, 6)])
    memory = np.frombuffer(message.data, np.uint8)
    assert np.shares_memory(point_cloud2.read_points(message), memory)
    assert np.shares_memory(point_cloud2.read_points(message, field_names=["z", "x"]), memory)


@stand_in_only
def test_reading_a_big_endian_cloud_leaves_it_as_it_was():
    data = struct.pack(">fff", 1, 2, 3)
    message = cloud_of(data, XYZ, 12, 1, big=True)
    for _ in range(2):
        assert point_cloud2.read_points_numpy(message).tolist() == [[1, 2, 3]]
    assert message.data.tobytes() == data


def test_nans_are_skipped_only_where_the_cloud_may_hold_them():
    nan = float("nan")
    points = [(0, 1, 2), (3, nan, 5), (6, 7, 8)]
    skipped = point_cloud2.read_points_numpy(xyz_cloud(points), skip_nans=True)
    assert skipped.tolist() == [[0, 1, 2], [6, 7, 8]]
    # y is not asked for, so it is no reason to leave a point out
    kept = point_cloud2.read_points_numpy(xyz_cloud(points), ["x", "z"], skip_nans=True)
    assert kept.tolist() == [[0, 2], [3, 5], [6, 8]]
    assert len(point_cloud2.read_points(xyz_cloud(points, dense=True), skip_nans=True)) == 3


def test_uvs_choose_points_after_nans_are_gone():
    message = xyz_cloud([(float("nan"), 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0)])
    chosen = point_cloud2.read_points(message, ["x"], uvs=[3, 1])
    assert chosen["x"].tolist() == [3, 1]
    chosen = point_cloud2.read_points(message, ["x"], skip_nans=True, uvs=np.array([0, 2, 0]))
    assert chosen["x"].tolist() == [1, 3, 1]
    with pytest.raises(IndexError):
        point_cloud2.read_points(message, uvs=[4])


def organised(row_step, tail=b""):
    """Two rows of three points: x = 10 · row + column."""
    rows = [struct.pack("<fff", *(10 * row + column for column in range(3))) for row in range(2)]
    data = rows[0].ljust(row_step, b"\xff") + rows[1] + tail
    return cloud_of(data, [field("x", 0)], 4, width=3, height=2, row_step=row_step)


def test_an_organised_cloud_is_flat_or_width_by_height():
    message = organised(row_step=12)
    assert point_cloud2.read_points(message)["x"].tolist() == [0, 1, 2, 10, 11, 12]
    shaped = point_cloud2.read_points_numpy(message, reshape_organized_cloud=True)
    assert shaped.shape == (3, 2, 1)
    assert shaped.ravel().tolist() == [0, 1, 2, 10, 11, 12]


@stand_in_only
@pytest.mark.parametrize("tail", [b"", b"\xff" * 8])
def test_padding_of_rows_is_not_read_as_points(tail):
    message = organised(row_step=20, tail=tail)
    assert point_cloud2.read_points(message)["x"].tolist() == [0, 1, 2, 10, 11, 12]


@pytest.mark.parametrize("row_step", [0, 24])
def test_a_row_step_that_the_data_contradict_is_not_believed(row_step):
    message = organised(row_step=12)
    message.row_step = row_step
    assert point_cloud2.read_points(message)["x"].tolist() == [0, 1, 2, 10, 11, 12]


def test_named_tuples():
    points = point_cloud2.read_points_list(xyz_cloud([(1, 2, 3), (4, 5, 6)]), ["z", "x"])
    assert points == [(3, 1), (6, 4)]
    assert points[1]._fields == ("z", "x")
    assert points[1].z == 6
    assert point_cloud2.read_points_list(xyz_cloud([(1, 2, 3)]))[0].y == 2


@pytest.mark.parametrize("call", [
    lambda: point_cloud2.read_points("a cloud"),
    lambda: point_cloud2.read_points_list(None),
    lambda: point_cloud2.read_points(mixed_cloud(), field_names=["y"]),
    lambda: point_cloud2.read_points_numpy(mixed_cloud()),
    # the first field's type decides, also where it is not asked for
    lambda: point_cloud2.read_points_numpy(mixed_cloud(), field_names=["ring"]),
    lambda: point_cloud2.dtype_from_fields([field("x", 0, count=0)]),
    lambda: point_cloud2.dtype_from_fields([field("x", 0), field("x", 4)]),
    lambda: point_cloud2.dtype_from_fields([field("x", 0, count=2), field("x_1", 8)]),
    lambda: point_cloud2.create_cloud(Header(), XYZ, np.zeros((2, 2, 2, 3), np.float32)),
    lambda: point_cloud2.create_cloud(Header(), XYZ, np.zeros(2, [("x", "f4"), ("y", "f4")])),
    lambda: point_cloud2.create_cloud(Header(), mixed_cloud().fields, np.zeros((2, 3)))])
def test_wrong_arguments_are_assertion_errors(call):
    with pytest.raises(AssertionError):
        call()


def test_damaged_messages():
    with pytest.raises(KeyError):
        point_cloud2.dtype_from_fields([field("x", 0, datatype=9)])
    with pytest.raises(ValueError, match=r"12.* 11"):
        point_cloud2.dtype_from_fields(XYZ, point_step=11)
    message = xyz_cloud([(1, 2, 3), (4, 5, 6)])
    message.data.pop()
    with pytest.raises(TypeError, match="buffer is too small"):
        point_cloud2.read_points(message)


@stand_in_only
def test_a_count_beyond_the_point_is_refused_before_it_takes_memory():
    with pytest.raises(ValueError, match=r"ends at byte 17179869180 of a point of 16 bytes"):
        point_cloud2.dtype_from_fields([field("x", 0, count=2**32 - 1)], point_step=16)


def test_created_bytes():
    header = Header(frame_id="lidar")
    message = point_cloud2.create_cloud_xyz32(header, [(1, 2, 3), (4, 5, 6)])
    assert message.data.tobytes() == struct.pack("<6f", 1, 2, 3, 4, 5, 6)
    assert (message.width, message.height, message.point_step, message.row_step) == (2, 1, 12, 24)
    assert [(f.name, f.offset, f.datatype, f.count) for f in message.fields] == [
        ("x", 0, 7, 1), ("y", 4, 7, 1), ("z", 8, 7, 1)]
    assert message.header == header
    assert not message.is_dense
    assert not message.is_bigendian
    assert message == point_cloud2.create_cloud_xyz32(header, np.array([[1, 2, 3], [4, 5, 6]]))


def test_created_cloud_of_two_axes_is_organised_as_it_is_read():
    points = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    message = point_cloud2.create_cloud_xyz32(Header(), points)
    assert (message.width, message.height, message.row_step) == (4, 2, 48)
    read = point_cloud2.read_points_numpy(message, reshape_organized_cloud=True)
    np.testing.assert_array_equal(read, points)


def test_created_with_padding_and_several_types():
    fields = [field("x", 0), field("t", 4, PointField.FLOAT64), field("r", 12, PointField.UINT8)]
    message = point_cloud2.create_cloud(Header(), fields, [(1.5, 1e300, 200)], point_step=32)
    assert message.point_step == 32
    assert len(message.data) == 32
    assert point_cloud2.read_points(message)[0].tolist() == (1.5, 1e300, 200)
    structured = point_cloud2.read_points(message).copy()
    again = point_cloud2.create_cloud(Header(), fields, structured, point_step=32)
    assert point_cloud2.read_points(again)[0].tolist() == (1.5, 1e300, 200)


def test_an_empty_cloud():
    message = point_cloud2.create_cloud_xyz32(Header(), [])
    assert (message.width, message.height, len(message.data)) == (0, 1, 0)
    assert point_cloud2.read_points_numpy(message).shape == (0, 3)


def test_plain_arrays_become_structured_and_back():
    plain = np.arange(6, dtype=np.float32).reshape(2, 3)
    structured = numpy_compat.unstructured_to_structured(plain, names=["a", "b", "c"])
    assert structured["b"].tolist() == [1, 4]
    np.testing.assert_array_equal(numpy_compat.structured_to_unstructured(structured), plain)
