"""Images from one encoding to another: colour, depth, or both."""

from __future__ import annotations

import cv2
import numpy as np

from .encodings import (
    COLORS,
    NUMPY_OF_DEPTH,
    Color,
    CV_MAT_DEPTHWrap,
    bits_and_channels,
    getCvType,
)

_DTYPE_OF_DEPTH = {getattr(cv2, f"CV_{depth}"): np.dtype(name)
                   for depth, name in NUMPY_OF_DEPTH.items()}
_WHITE_RATIO = 65535 // 255  # of white in 16 bits to white in 8


def cvtColor2(
        image: np.ndarray | None, encoding_in: str, encoding_out: str) -> np.ndarray | None:
    """Convert an image; always into new memory.

    Between colours of 8 and of 16 bits, white stays white: values are scaled by 257. Colours come
    first and depth second. OpenCV's types convert among each other, and a colour into a type,
    only where the number of channels stays.

    Args:
        image: (H, W) or (H, W, C); None (a picture that could not be decoded) stays None where
            no colour is to be changed.
        encoding_in: What it holds.
        encoding_out: What to return; empty for the same.

    Raises:
        RuntimeError: There is no such conversion, or OpenCV refuses the image.
    """
    if encoding_out in ("", encoding_in):
        return None if image is None else image.copy()
    code = _color_code(encoding_in, encoding_out)
    bits_in, bits_out = bits_and_channels(encoding_in)[0], bits_and_channels(encoding_out)[0]
    if code is not None:
        try:
            image = cv2.cvtColor(image, code)
        except cv2.error as error:
            raise RuntimeError(str(error)) from None
        if bits_in == bits_out:
            return image
    if image is None:
        return None
    dtype = _DTYPE_OF_DEPTH[CV_MAT_DEPTHWrap(getCvType(encoding_out))]
    return _to_depth(image, dtype, bits_in, bits_out)


def _color_code(encoding_in: str, encoding_out: str) -> int | None:
    """OpenCV's number for the change of colour; None where only the depth changes."""
    source, target = COLORS.get(encoding_in), COLORS.get(encoding_out)
    same_channels = bits_and_channels(encoding_in)[1] == bits_and_channels(encoding_out)[1]
    if source is None and target is not None:
        raise RuntimeError(f"[{encoding_in}] is not a color format. but [{encoding_out}] is. "
                           "The conversion does not make sense")
    if target is None:
        if same_channels:
            return None
        if source is None:
            raise RuntimeError(f"[{encoding_in}] and [{encoding_out}] "
                               "do not have the same number of channel")
        raise RuntimeError(f"[{encoding_in}] is a color format but [{encoding_out}] is not so they "
                           "must have the same OpenCV type, CV_8UC3, CV16UC1 ....")
    if source.family == target.family and source.bits != target.bits and (
            not source.family.startswith("Bayer")):
        return None
    code = getattr(cv2, _code_name(source, target), None)
    if code is None:
        raise RuntimeError(f"Unsupported conversion from [{encoding_in}] to [{encoding_out}]")
    return code


def _code_name(source: Color, target: Color) -> str:
    """How OpenCV would call it; not every name exists."""
    if target.family not in ("GRAY", "RGB", "BGR", "RGBA", "BGRA"):
        return ""
    if source.family in ("UYVY", "YUY2"):
        return f"COLOR_YUV2{target.family}_{source.family}"
    if source.family.startswith("Bayer") and target.family.endswith("A"):
        return ""  # OpenCV could, upstream does not
    return f"COLOR_{source.family}2{target.family}"


def _to_depth(image: np.ndarray, dtype: np.dtype, bits_in: int, bits_out: int) -> np.ndarray:
    """Change the depth as ``cv::Mat::convertTo`` does: to nearest (half to even), saturating.

    What is NaN or beyond 32-bit integers becomes the least value, as on x86.
    """
    scale = {(8, 16): float(_WHITE_RATIO), (16, 8): 1 / _WHITE_RATIO}.get((bits_in, bits_out), 1.0)
    if (image.dtype, dtype, bits_in, bits_out) == (np.uint16, np.uint8, 16, 8):  # common, so fast
        return cv2.convertScaleAbs(image, alpha=scale).reshape(image.shape)
    with np.errstate(invalid="ignore", over="ignore"):
        if dtype.kind == "f":
            return image.astype(dtype)
        values = np.rint(image * np.float64(scale))
        values = np.where(np.abs(values) < 2.0**31, values, -2.0**31)
        limits = np.iinfo(dtype)
        return np.clip(values, limits.min, limits.max).astype(dtype)
