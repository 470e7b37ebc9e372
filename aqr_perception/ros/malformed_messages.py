"""Messages as a broken driver would send them, made of sound ones.

Sizes, encodings, fields, lenses and bytes are spoiled, some of them or all; coordinates become NaN,
stamps 0, contents empty or huge. What comes out may by chance still be sound.
"""

from __future__ import annotations

import array
import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

SIZES = (0, 1, 2, 3, 7, 8, 255, 256, 4096, 65535, 2**31 - 1, 2**31, 2**32 - 1)
ENCODINGS = ("", "bgr8", "rgb8", "mono8", "mono16", "rgb16", "bgra8", "bayer_rggb8", "bayer_gbrg16",
             "yuv422", "yuv422_yuy2", "8UC1", "8UC2", "8UC3", "8UC4", "16UC1", "32FC1", "64FC4",
             "nv12", "BGR8", "bgr8\0", "ünicode", "x" * 1000)
NUMBERS = (0.0, -1.0, 1e-300, 1e300, float("inf"), float("-inf"), float("nan"))
LENSES = ("", "plumb_bob", "rational_polynomial", "equidistant", "fisheye", "none", "\0")
HUGE_BYTES = 4 * 2**20
NOISE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
PICTURES = tuple(cv2.imencode(kind, NOISE)[1].tobytes() for kind in (".jpg", ".png"))


def bad_image(rng: np.random.Generator, message: Image) -> Image:
    """An image whose sizes, encoding or bytes do not fit each other."""
    return _change(rng, again(message), {
        "height": lambda: _pick(rng, SIZES), "width": lambda: _pick(rng, SIZES),
        "step": lambda: _pick(rng, SIZES), "encoding": lambda: _pick(rng, ENCODINGS),
        "is_bigendian": lambda: int(rng.integers(256)),
        "data": lambda: _bytes(rng, message.data)})


def bad_compressed(rng: np.random.Generator, message: Image) -> CompressedImage:
    """A JPEG or PNG that is cut, changed, or claims another size, under an image's header."""
    data = bytearray(_bytes(rng, _pick(rng, PICTURES)))
    if rng.random() < 0.3 and len(data) > 200:  # a size that the head only claims
        place = data.find(b"\xff\xc0") + 5 if data[:2] == b"\xff\xd8" else 16
        data[place:place + 4] = rng.bytes(4)
    made = CompressedImage(format=_pick(rng, ("jpeg", "png", "", "h264", "\0")),
                           header=copy.deepcopy(message.header))
    made.data = array.array("B", bytes(data))
    return made


def bad_cloud(rng: np.random.Generator, message: PointCloud2) -> PointCloud2:
    """A cloud whose sizes, fields or bytes do not fit each other."""

    def fields() -> list[Any]:
        kept = [copy.copy(field) for field in message.fields if rng.random() < 0.8]
        for field in kept:
            if rng.random() < 0.4:
                _change(rng, field, {
                    "name": lambda: _pick(rng, ("x", "y", "z", "intensity", "", "dt", "\0")),
                    "offset": lambda: _pick(rng, SIZES), "count": lambda: _pick(rng, SIZES),
                    "datatype": lambda: int(rng.integers(256))})
        return kept

    return _change(rng, again(message), {
        "height": lambda: _pick(rng, SIZES), "width": lambda: _pick(rng, SIZES),
        "point_step": lambda: _pick(rng, SIZES), "row_step": lambda: _pick(rng, SIZES),
        "is_bigendian": lambda: bool(rng.integers(2)), "is_dense": lambda: bool(rng.integers(2)),
        "fields": fields, "data": lambda: _bytes(rng, message.data)})


def nan_cloud(rng: np.random.Generator, message: PointCloud2) -> PointCloud2:
    """A cloud of float32 fields in which some values, or all, are no numbers or beyond reason."""
    values = np.frombuffer(bytes(message.data), np.float32).copy()
    spoiled = rng.random(len(values)) < _pick(rng, (0.01, 0.5, 1.0))
    values[spoiled] = rng.choice(np.array([np.nan, np.inf, -np.inf, 3e38], np.float32),
                                 int(spoiled.sum()))
    made = again(message)
    made.data = array.array("B", values.tobytes())
    return made


def bad_info(rng: np.random.Generator, message: CameraInfo) -> CameraInfo:
    """A camera_info of a lens that cannot be."""
    share = _pick(rng, (0.1, 1.0))
    roi = copy.copy(message.roi)
    _change(rng, roi, {name: lambda: _pick(rng, SIZES) for name in (
        "x_offset", "y_offset", "height", "width")})
    return _change(rng, again(message), {
        "height": lambda: _pick(rng, SIZES), "width": lambda: _pick(rng, SIZES),
        "distortion_model": lambda: _pick(rng, LENSES),
        "d": lambda: [_pick(rng, NUMBERS) for _ in range(int(rng.integers(0, 15)))],
        "k": lambda: [_pick(rng, (*NUMBERS, 20.0)) if rng.random() < share else value
                      for value in message.k],
        "binning_x": lambda: _pick(rng, SIZES), "binning_y": lambda: _pick(rng, SIZES),
        "roi": lambda: roi})


def without_stamp(rng: np.random.Generator, message: Any) -> Any:
    """The message with the stamp 0."""
    made = again(message)
    made.header.stamp.sec = made.header.stamp.nanosec = 0
    return made


def without_content(rng: np.random.Generator, message: Any) -> Any:
    """An empty message of the same type, under the same header."""
    return type(message)(header=copy.deepcopy(message.header))


def huge(rng: np.random.Generator, message: Any) -> Any:
    """The message with `HUGE_BYTES` of content, and perhaps with sizes that claim so many."""
    made = again(message)
    made.data = array.array("B", bytes(HUGE_BYTES))
    if rng.random() < 0.5:
        made.height = made.width = _pick(rng, (1024, 2**16, 2**32 - 1))
    return made


def again(message: Any) -> Any:
    """The same once more, with a header of its own."""
    made = copy.copy(message)
    made.header = copy.deepcopy(message.header)
    return made


def _pick(rng: np.random.Generator, values: Sequence[Any]) -> Any:
    return values[int(rng.integers(len(values)))]


def _bytes(rng: np.random.Generator, data: Any) -> Any:
    """The same bytes, cut, grown, or a few of them changed."""
    data = bytearray(data)
    kind = int(rng.integers(4))
    if kind == 0:
        data = data[:int(rng.integers(len(data) + 1))]
    elif kind == 1:
        data += rng.bytes(int(rng.integers(1, 200)))
    elif kind == 2:
        for _ in range(int(rng.integers(1, 8))):
            if data:
                data[int(rng.integers(len(data)))] = int(rng.integers(256))
    return array.array("B", bytes(data))


def _change(rng: np.random.Generator, message: Any, fields: Mapping[str, Callable[[], Any]]
            ) -> Any:
    """Set some of the fields, one at least."""
    for name in rng.choice(list(fields), int(rng.integers(1, len(fields) + 1)), replace=False):
        setattr(message, str(name), fields[str(name)]())
    return message
