"""Pictures as files: JPEG and PNG, their size known before memory is taken for them."""

from __future__ import annotations

import struct

import cv2
import numpy as np
from numpy.typing import NDArray

MOST_PIXELS = 100_000_000
"""Above any camera on a car, below what would fill the memory."""
_PIXELS_PER_BYTE = {"JPEG": 1024, "PNG": 8400}
"""More do not fit: a JPEG spends a bit or more on each 8×8 block (two of slack here), deflate packs
1032 bytes into one, and a PNG's pixel takes a bit or more."""
_HEAD = 1 << 20
"""Bytes in which a JPEG's size stands; metadata (EXIF, colour profiles) comes before it."""
_TAIL = 4096
"""Bytes in which a JPEG's end stands; some cameras pad behind it."""
_JPEG_END = b"\xff\xd9"


def image_size(data: bytes) -> tuple[str, int, int]:
    """Read kind (``JPEG`` or ``PNG``), width and height from the head of a file.

    Raises:
        ValueError: It is neither, or its head is damaged.
    """
    head = data[:_HEAD]
    if head[:8] == b"\x89PNG\r\n\x1a\n" and head[12:16] == b"IHDR" and len(head) >= 24:
        width, height = struct.unpack(">II", head[16:24])
        return "PNG", width, height
    if head[:2] == b"\xff\xd8":
        width, height = _jpeg_size(head)
        return "JPEG", width, height
    raise ValueError(f"begins with {head[:8].hex(' ') or 'nothing'}; expected a JPEG or PNG file")


def decode_image(data: bytes) -> NDArray[np.uint8]:
    """Decode a picture into (H, W, 3) BGR, as the sensor gave it: EXIF's rotation is not applied.

    Raises:
        ValueError: It is no JPEG or PNG, too large, damaged or cut off.
    """
    kind, width, height = image_size(data)
    if not 0 < width * height <= MOST_PIXELS:
        raise ValueError(f"is {width}×{height}; expected 1 to {MOST_PIXELS} pixels")
    if width * height > _PIXELS_PER_BYTE[kind] * len(data):
        raise ValueError(f"says {width}×{height} and holds {len(data)} bytes, too few for a {kind} "
                         "of this size: it is damaged or cut off")
    if kind == "JPEG" and _JPEG_END not in data[-_TAIL:]:
        raise ValueError("has no end marker: the JPEG file is cut off")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8),
                              cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ValueError(f"does not decode: {' '.join(str(error).split())}") from None
    if pixels is None:
        raise ValueError(f"does not decode: the {kind} file is damaged")
    return np.asarray(pixels, dtype=np.uint8)


def _jpeg_size(head: bytes) -> tuple[int, int]:
    """Walk the segments to the frame header (ITU-T T.81, B.1.1.4 and B.2.2)."""
    position = 2
    while position + 9 <= len(head) and head[position] == 0xFF:
        marker = head[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", head[position + 5:position + 9])
            return width, height
        else:
            position += 2 + struct.unpack(">H", head[position + 2:position + 4])[0]
    raise ValueError("has no frame header: the JPEG file is damaged or cut off")
