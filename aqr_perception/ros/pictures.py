"""Pixels out of ``sensor_msgs/Image`` and ``sensor_msgs/CompressedImage``."""

from __future__ import annotations

import functools
import re
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aqr_perception.image_file import decode_image

MAX_PIXELS = 64_000_000
"""Largest picture that is decoded: above any camera on a car, below what would fill the memory."""

_BAYER = re.compile(r"bayer_(rggb|bggr|gbrg|grbg)(8|16)$")
_COLOR = re.compile(r"(rgb|bgr|rgba|bgra|mono)(8|16)$")
# The newer names of the two layouts, which cv_bridge of older distributions does not know.
_YUV422 = {"uyvy": "yuv422", "yuyv": "yuv422_yuy2"}
# OpenCV's own names say nothing of colour; they stand for OpenCV's own order.
_OTHER_NAMES = {**_YUV422, "8UC1": "mono8", "8UC3": "bgr8", "8UC4": "bgra8"}
_CHANNELS = {"mono": 1, "rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4}


def is_bgr8(message: Any) -> bool:
    """Whether a picture's pixels are looked at where they lie in the message, at no cost."""
    encoding = getattr(message, "encoding", "")
    return _OTHER_NAMES.get(encoding, encoding) == "bgr8"


def pixels_from_message(message: Any) -> NDArray[np.uint8]:
    """Read a picture.

    Args:
        message: ``sensor_msgs/Image`` in any colour encoding that cv_bridge knows (16-bit ones are
            scaled to 8), or ``sensor_msgs/CompressedImage`` (JPEG or PNG).

    Returns:
        (H, W, 3) uint8, BGR. May share memory with the message.

    Raises:
        ValueError: The encoding is not one of a colour or grey picture, the sizes in the message
            do not fit each other, or the compressed data are damaged.
    """
    if hasattr(message, "encoding"):
        return _pixels_from_image(message)
    return _pixels_from_compressed(message)


def _pixels_from_image(message: Any) -> NDArray[np.uint8]:
    encoding = _OTHER_NAMES.get(message.encoding, message.encoding)
    sample_bytes, pixel_bytes = _encoding_layout(encoding)
    data = np.frombuffer(memoryview(message.data), dtype=np.uint8)
    _check_pixel_count(message.width, message.height)
    if message.step < message.width * pixel_bytes or len(data) < message.height * message.step:
        raise ValueError(
            f"the {message.encoding} image says {message.width}×{message.height} pixels in rows of "
            f"{message.step} bytes and holds {len(data)} bytes; expected rows of at least "
            f"{message.width * pixel_bytes} bytes, {message.height} of them")
    if is_bgr8(message):  # a set of six is 26 MB: cv_bridge would copy them
        return np.ndarray((message.height, message.width, 3), np.uint8, data,
                          strides=(message.step, 3, 1))
    step = message.step
    if sample_bytes == 2 and (message.is_bigendian or step % 2):  # rows of whole samples
        step = message.width * pixel_bytes
        rows = np.ndarray((message.height, step // 2), "<>"[bool(message.is_bigendian)] + "u2",
                          data, strides=(message.step, 2))
        data = np.ascontiguousarray(rows, "<u2").view(np.uint8).ravel()
    # cv_bridge's own swapping fails on NumPy 2 and, for bytes, is not wanted: it gets native order.
    native = SimpleNamespace(encoding=encoding, width=message.width, height=message.height,
                             step=step, is_bigendian=False, data=data)
    bridge, bridge_errors = _bridge()
    try:
        return np.asarray(bridge.imgmsg_to_cv2(native, desired_encoding="bgr8"), dtype=np.uint8)
    except bridge_errors as error:
        raise ValueError(f"cv_bridge does not turn {message.encoding} into bgr8: "
                         f"{' '.join(str(error).split())}") from None


def _encoding_layout(encoding: str) -> tuple[int, int]:
    """Bytes of one sample and of one pixel."""
    if color := _COLOR.match(encoding):
        sample = int(color[2]) // 8
        return sample, sample * _CHANNELS[color[1]]
    if bayer := _BAYER.match(encoding):
        return int(bayer[2]) // 8, int(bayer[2]) // 8
    if encoding in _YUV422.values():
        return 1, 2
    raise ValueError(f"image encoding '{encoding}' is not a colour or grey picture; expected rgb8, "
                     "bgr8, rgba8, bgra8, mono8, their 16-bit forms, bayer_*, yuv422 or 8UC1/3/4")


def _pixels_from_compressed(message: Any) -> NDArray[np.uint8]:
    try:
        return decode_image(bytes(memoryview(message.data)))
    except ValueError as error:
        raise ValueError(f"the compressed image {error}") from None


def _check_pixel_count(width: int, height: int) -> None:
    if not 0 < width * height <= MAX_PIXELS or width < 0:
        raise ValueError(f"the image is {width}×{height}; expected 1 to {MAX_PIXELS:,} pixels")


@functools.cache
def _bridge() -> tuple[Any, tuple[type[Exception], ...]]:
    """The converter, and what it raises; imported late: bags and JPEGs are read without ROS."""
    from cv_bridge import CvBridge, CvBridgeError

    return CvBridge(), (CvBridgeError, RuntimeError, TypeError, cv2.error)
