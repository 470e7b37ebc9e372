"""Read ``sensor_msgs/PointCloud2`` as NumPy arrays, and write it from them.

Names, signatures, results and refusals are those of the upstream module (Jazzy, Kilted). It does
better where upstream harms or misreads data, and only there: a big-endian cloud is swapped in a
copy and not in the message, and padding at the end of the rows of an organised cloud is skipped.

A wrong argument is an AssertionError as upstream, raised also under ``python -O``.
"""

from __future__ import annotations

import array
import sys
from collections import namedtuple
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.lib.recfunctions import structured_to_unstructured, unstructured_to_structured
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

DUMMY_FIELD_PREFIX = "unnamed_field"
"""What a field without a name is called; its index in the message follows."""

_DATATYPES = {
    PointField.INT8: np.dtype(np.int8),
    PointField.UINT8: np.dtype(np.uint8),
    PointField.INT16: np.dtype(np.int16),
    PointField.UINT16: np.dtype(np.uint16),
    PointField.INT32: np.dtype(np.int32),
    PointField.UINT32: np.dtype(np.uint32),
    PointField.FLOAT32: np.dtype(np.float32),
    PointField.FLOAT64: np.dtype(np.float64),
}
_NATIVE_IS_BIG = sys.byteorder == "big"


def read_points(
        cloud: PointCloud2,
        field_names: list[str] | None = None,
        skip_nans: bool = False,
        uvs: Iterable | None = None,
        reshape_organized_cloud: bool = False) -> np.ndarray:
    """Read a cloud into a structured array, one item a point.

    Args:
        cloud: The message.
        field_names: Fields to keep, in this order; None keeps all. Element ``i`` of a field with
            a count above one is named ``NAME_i``.
        skip_nans: Leave out points with a NaN in one of those fields, unless the message says
            that the cloud is dense.
        uvs: Indices of the points to return, counted after NaNs were left out.
        reshape_organized_cloud: Return a cloud of several rows as (width, height), upstream's
            order, instead of flat.

    Returns:
        Structured array. It shares the memory of the message, unless bytes are swapped, rows are
        padded, or points are chosen.

    Raises:
        AssertionError: Not a PointCloud2, a field that it lacks, fields of one name, count 0.
        KeyError: A data type that PointField does not define.
        TypeError: Fewer bytes than width, height and point_step promise.
    """
    _require(isinstance(cloud, PointCloud2),
             f"expected a sensor_msgs.msg.PointCloud2, got {type(cloud).__name__}")
    points = _points_of(cloud)
    if field_names is not None:
        names = list(field_names)
        unknown = [name for name in names if name not in points.dtype.names]
        _require(not unknown, f"the cloud has no field {', '.join(map(repr, unknown))}; "
                              f"it has {', '.join(points.dtype.names)}")
        points = points[names]
    if bool(cloud.is_bigendian) != _NATIVE_IS_BIG:
        points = points.byteswap()

    if skip_nans and not cloud.is_dense:
        complete = np.ones(points.shape, dtype=bool)
        for name in points.dtype.names:
            complete &= ~np.isnan(points[name])
        points = points[complete]
    if uvs is not None:
        points = points[uvs if isinstance(uvs, np.ndarray) else np.fromiter(uvs, int)]
    if reshape_organized_cloud and cloud.height > 1:
        points = points.reshape(cloud.width, cloud.height)
    return points


def read_points_numpy(
        cloud: PointCloud2,
        field_names: list[str] | None = None,
        skip_nans: bool = False,
        uvs: Iterable | None = None,
        reshape_organized_cloud: bool = False) -> np.ndarray:
    """Read fields of one type into a plain array; arguments as for `read_points`.

    Returns:
        (N, F) array for F fields (elements of fields), (width, height, F) when reshaped.

    Raises:
        AssertionError: As `read_points`; or a requested field has another type than the first
            field of the cloud (requested or not, as upstream): use `read_points` there.
    """
    names = None if field_names is None else list(field_names)
    differing = [field.name for field in cloud.fields[1:]
                 if (names is None or field.name in names)
                 and field.datatype != cloud.fields[0].datatype]
    _require(not differing, f"{', '.join(differing)} and the cloud's first field differ in type; "
                            "use read_points() for fields of several types")
    return structured_to_unstructured(
        read_points(cloud, names, skip_nans, uvs, reshape_organized_cloud))


def read_points_list(
        cloud: PointCloud2,
        field_names: list[str] | None = None,
        skip_nans: bool = False,
        uvs: Iterable | None = None) -> list[NamedTuple]:
    """Read a cloud into a list of named tuples ``Point``; slow, for small clouds.

    Arguments and errors as for `read_points`; without ``field_names`` every field of the message
    is read under its own name, so each must have a count of one.
    """
    _require(isinstance(cloud, PointCloud2),
             f"expected a sensor_msgs.msg.PointCloud2, got {type(cloud).__name__}")
    names = [field.name for field in cloud.fields] if field_names is None else field_names
    point = namedtuple("Point", names)
    return [point._make(values) for values in read_points(cloud, names, skip_nans, uvs)]


def dtype_from_fields(fields: Iterable[PointField], point_step: int | None = None) -> np.dtype:
    """Describe a point as a NumPy type in native byte order.

    Args:
        fields: Of the message. One without a name is called ``unnamed_field_INDEX``; one with a
            count above one becomes that many, ``NAME_0``, ``NAME_1``, ...
        point_step: Bytes from point to point; None ends a point with its last field.

    Raises:
        AssertionError: Two fields of one name, or a count of 0.
        KeyError: A data type that PointField does not define.
        ValueError: A field reaches beyond ``point_step``.
    """
    names: list[str] = []
    formats: list[str] = []
    offsets: list[int] = []
    for index, field in enumerate(fields):
        scalar = _DATATYPES[field.datatype]
        _require(field.count > 0, f"field {index} ('{field.name}') has a count of 0")
        end = field.offset + field.count * scalar.itemsize
        if point_step is not None and end > point_step:  # before a list of that length is made
            raise ValueError(f"field {index} ('{field.name}') ends at byte {end} of a point of "
                             f"{point_step} bytes")
        name = field.name or f"{DUMMY_FIELD_PREFIX}_{index}"
        names += [name] if field.count == 1 else [f"{name}_{i}" for i in range(field.count)]
        formats += [scalar.str] * field.count
        offsets += range(field.offset, end, scalar.itemsize)
        _require(len(set(names)) == len(names), f"a second field is called '{name}'")
    layout: dict = {"names": names, "formats": formats, "offsets": offsets}
    if point_step is not None:
        layout["itemsize"] = point_step
    return np.dtype(layout)


def create_cloud(
        header: Header,
        fields: Iterable[PointField],
        points: Iterable,
        point_step: int | None = None) -> PointCloud2:
    """Make a message of points.

    Args:
        header: Stamp and frame.
        fields: Layout of a point; a list, as the message keeps it.
        points: A structured array of exactly that layout; or a plain array (N, F) for F fields of
            one type; or any iterable of points whose values stand in the order of the fields
            (slow). Arrays may have one more leading axis for an organised cloud: (width, height)
            points, upstream's order.
        point_step: Bytes from point to point, for padding after the last field.

    Raises:
        AssertionError: The array's layout differs from ``fields``, or it has too many axes.
        ValueError: Another number of values a point than fields, or fields that do not lie in
            ascending order of offset.
    """
    if not isinstance(points, np.ndarray):
        points = np.array([tuple(point) for point in points],
                          dtype=dtype_from_fields(fields, point_step))
    elif points.dtype.names is None:
        _require(all(field.datatype == fields[0].datatype for field in fields[1:]),
                 "a plain array has one type, the fields have several; pass a structured array")
        points = unstructured_to_structured(points, dtype=dtype_from_fields(fields, point_step))
    else:
        expected = dtype_from_fields(fields, point_step)
        _require(points.dtype == expected,
                 f"the array holds {points.dtype}, the fields say {expected}")
    _require(points.ndim <= 2, f"the points have {points.ndim} axes; a cloud has one or two")

    data = array.array("B")
    data.frombytes(memoryview(points).cast("B"))
    width = points.shape[0]
    cloud = PointCloud2(
        header=header, width=width, height=points.shape[1] if points.ndim == 2 else 1,
        fields=fields, is_bigendian=_NATIVE_IS_BIG, is_dense=False,
        point_step=points.dtype.itemsize, row_step=points.dtype.itemsize * width)
    cloud.data = data  # the constructor would copy and check it byte by byte
    return cloud


def create_cloud_xyz32(header: Header, points: Iterable) -> PointCloud2:
    """Make a message with the float32 fields x, y, z; ``points`` as for `create_cloud`."""
    fields = [PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
              for i, name in enumerate("xyz")]
    return create_cloud(header, fields, points)


def _points_of(cloud: PointCloud2) -> np.ndarray:
    """(width · height,) points, row after row: a view of the message where rows are not padded."""
    dtype = dtype_from_fields(cloud.fields, cloud.point_step)
    width, height, row_step = cloud.width, cloud.height, cloud.row_step
    row_bytes = width * cloud.point_step
    # Some drivers fill in row_step wrongly; it counts only where the data bear it out.
    if height > 1 and row_step > row_bytes and (
            len(cloud.data) >= (height - 1) * row_step + row_bytes):
        rows = np.ndarray((height, width), dtype, cloud.data,
                          strides=(row_step, cloud.point_step))
        return rows.reshape(-1)
    return np.ndarray((width * height,), dtype, cloud.data)


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)
