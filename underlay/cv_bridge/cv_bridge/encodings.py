"""What the names of image encodings mean: channels, depth, colour.

Two kinds of name. The *colour* encodings of ``sensor_msgs/image_encodings.hpp`` say what a pixel
shows; OpenCV's type names (``8UC3``, ``32FC1``) say only how it is stored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import cv2

NUMPY_OF_DEPTH = {"8U": "uint8", "8S": "int8", "16U": "uint16", "16S": "int16", "32S": "int32",
                  "32F": "float32", "64F": "float64"}
"""NumPy's name for each of OpenCV's depths."""

_CHANNEL_STRIDE = cv2.CV_8UC2 - cv2.CV_8UC1  # a type is its depth + stride · (channels - 1)
_MAX_CHANNELS = 512  # CV_CN_MAX
_TYPE_NAME = re.compile(rf"({'|'.join(NUMPY_OF_DEPTH)})(?:C([0-9]+))?")
# A wider pattern, and without a bare "8U": upstream asks for depth and channels of a type through
# another library than for the type itself.
_GENERIC_NAME = re.compile(r"(8|16|32|64)[USF]C([0-9]*)")


@dataclass(frozen=True)
class Color:
    """A colour encoding.

    Attributes:
        family: What OpenCV calls it in the names of its conversions; empty where upstream knows
            the name but converts neither from nor to it.
        bits: 8 or 16 a channel.
        channels: Of the image that holds it.
        has_type: Whether `getCvType` knows it.
    """

    family: str
    bits: int
    channels: int
    has_type: bool = True


def _color_encodings() -> dict[str, Color]:
    colors = {
        "yuv422": Color("UYVY", 8, 2),
        "yuv422_yuy2": Color("YUY2", 8, 2),
        **{name: Color("", 8, 2, has_type=False) for name in ("uyvy", "yuyv", "nv21", "nv24")}}
    # ROS names a Bayer pattern by its first two pixels of the first two rows, OpenCV by the second
    # and third pixel of the second row and the one after it.
    bayer = {"rggb": "BayerBG", "bggr": "BayerRG", "gbrg": "BayerGR", "grbg": "BayerGB"}
    for bits in (8, 16):
        colors[f"mono{bits}"] = Color("GRAY", bits, 1)
        for family in ("RGB", "BGR", "RGBA", "BGRA"):
            colors[f"{family.lower()}{bits}"] = Color(family, bits, len(family))
        for pattern, family in bayer.items():
            colors[f"bayer_{pattern}{bits}"] = Color(family, bits, 1)
    return colors


COLORS = _color_encodings()
"""Every colour encoding by name."""


@lru_cache(maxsize=256)
def getCvType(encoding: str) -> int:
    """Return OpenCV's type number, such as ``cv2.CV_8UC3``, for an encoding.

    Raises:
        RuntimeError: The encoding has none.
    """
    color = COLORS.get(encoding)
    if color is not None and color.has_type:
        return _type_number(f"{color.bits}U", color.channels)
    match = _TYPE_NAME.fullmatch(encoding)
    channels = int(match[2] or 1) if match else 0
    if color is not None or not 1 <= channels <= _MAX_CHANNELS:
        raise RuntimeError(f"Unrecognized image encoding [{encoding}]")
    return _type_number(match[1], channels)


def _type_number(depth: str, channels: int) -> int:
    return getattr(cv2, f"CV_{depth}") + _CHANNEL_STRIDE * (channels - 1)


def CV_MAT_CNWrap(cv_type: int) -> int:
    """Channels of an OpenCV type number."""
    return cv_type // _CHANNEL_STRIDE + 1


def CV_MAT_DEPTHWrap(cv_type: int) -> int:
    """Depth of an OpenCV type number, such as ``cv2.CV_16U``."""
    return cv_type % _CHANNEL_STRIDE


def bits_and_channels(encoding: str) -> tuple[int, int]:
    """Bits of a channel and number of channels of a pixel.

    Raises:
        RuntimeError: The encoding is neither a colour nor one of OpenCV's types.
    """
    if encoding in COLORS:
        return COLORS[encoding].bits, COLORS[encoding].channels
    match = _GENERIC_NAME.fullmatch(encoding)
    if match is None:
        raise RuntimeError(f"Unknown encoding {encoding}")
    return int(match[1]), int(match[2] or 1)
