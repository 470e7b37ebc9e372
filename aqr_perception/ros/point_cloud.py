"""Points out of ``sensor_msgs/PointCloud2``, whatever its layout."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry.points import MOST_POINTS, sound_points

# sensor_msgs/PointField.datatype → NumPy
_DATATYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}


def cloud_from_message(message: Any, intensity_max: float = 255.0,
                       intensity_field: str = "intensity") -> NDArray[np.float32]:
    """Read a PointCloud2 of any field order, types, padding and byte order, organised or not.

    Each field is read through its own strided view of the message's bytes. ``sensor_msgs_py`` does
    the same for the common case, but swaps a big-endian message's bytes in place and takes only
    the message class of rclpy, not the one of a bag reader.

    Args:
        message: The message; its data is left untouched.
        intensity_max: Value of the intensity field that means 1.
        intensity_field: Name of that field; 0 is taken where the cloud has none, see `cloud_note`.

    Returns:
        (N, 5) float32: x, y, z [m] as they came, intensity 0..1 (clipped), and dt [s] of a field
        of this name (the age of the point's sweep, in a cloud of several), else 0. Points with a
        value that cannot be are left out, see `sound_points`.

    Raises:
        ValueError: x, y or z is missing, the sizes in the message do not fit each other, there are
            more than `MOST_POINTS`, or dt is not in seconds.
    """
    if not intensity_max > 0:
        raise ValueError(f"lidar.intensity_max is {intensity_max}; expected above 0")
    fields = {field.name: field for field in message.fields}
    missing = [name for name in "xyz" if name not in fields]
    if missing:
        raise ValueError(f"the point cloud has no field {', '.join(missing)}; it has "
                         f"{', '.join(fields) or 'none'}: expected x, y and z")
    data = np.frombuffer(memoryview(message.data), dtype=np.uint8)
    _check_layout(message, len(data))

    points = np.zeros((message.height * message.width, 5), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # a float64 beyond float32 goes out below
        for column, name in enumerate("xyz"):
            points[:, column] = _column(message, fields[name], data).ravel()
        if intensity_field in fields:
            intensity = _column(message, fields[intensity_field], data).ravel()
            np.clip(intensity / np.float32(intensity_max), 0, 1, out=points[:, 3], casting="unsafe")
        if "dt" in fields:
            points[:, 4] = _column(message, fields["dt"], data).ravel()
    return sound_points(points)


def cloud_note(message: Any, intensity_field: str = "intensity") -> str:
    """Say in words what a cloud lacks that the network was trained with; empty if nothing."""
    names = [field.name for field in message.fields]
    if intensity_field in names:
        return ""
    return (f"the point cloud has no field '{intensity_field}' (it has {', '.join(names)}): "
            "intensity is taken as 0; name the field with lidar.intensity_field")


def _check_layout(message: Any, size: int) -> None:
    """Hold the message's numbers to its bytes, before any memory is taken for points."""
    if min(message.width, message.height, message.point_step, message.row_step) < 0:
        raise ValueError("the point cloud has a negative size")
    if not message.width * message.height:
        return
    if message.row_step < message.width * message.point_step:
        raise ValueError(
            f"the point cloud's row_step is {message.row_step}; expected at least width × "
            f"point_step = {message.width} × {message.point_step}")
    needed = (message.height - 1) * message.row_step + message.width * message.point_step
    if message.point_step < 1 or size < needed:
        raise ValueError(
            f"the point cloud holds {size} bytes; {message.height} × {message.width} points of "
            f"{message.point_step} bytes need {needed}")
    if message.width * message.height > MOST_POINTS:
        raise ValueError(f"the point cloud has {message.height} × {message.width} points; "
                         f"expected at most {MOST_POINTS:,}")


def _column(message: Any, field: Any, data: NDArray[np.uint8]) -> NDArray[Any]:
    """(height, width) view of one field; of several values (count above 1) the first."""
    if field.datatype not in _DATATYPES:
        raise ValueError(f"field '{field.name}' of the point cloud has datatype {field.datatype}; "
                         "expected 1 to 8 (sensor_msgs/PointField)")
    dtype = np.dtype(("<", ">")[bool(message.is_bigendian)] + _DATATYPES[field.datatype])
    shape = (message.height, message.width)
    if not shape[0] * shape[1]:
        return np.zeros(shape, dtype)
    if field.offset < 0 or field.offset + dtype.itemsize > message.point_step:
        raise ValueError(f"field '{field.name}' of the point cloud ends at byte "
                         f"{field.offset + dtype.itemsize} of points of {message.point_step} bytes")
    return np.ndarray(shape, dtype, buffer=data, offset=field.offset,
                      strides=(message.row_step, message.point_step))
