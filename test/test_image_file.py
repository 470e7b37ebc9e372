import contextlib
import struct

import cv2
import numpy as np
import pytest

from aqr_perception.image_file import decode_image, image_size

PIXELS = np.zeros((30, 40, 3), np.uint8)
PIXELS[:, :20] = (250, 10, 20)


def encoded(kind):
    return cv2.imencode(kind, PIXELS)[1].tobytes()


@pytest.mark.parametrize(("kind", "name"), [(".jpg", "JPEG"), (".png", "PNG")])
def test_size_and_pixels_of_both_kinds(kind, name):
    data = encoded(kind)
    assert image_size(data) == (name, 40, 30)
    assert np.abs(decode_image(data).astype(int) - PIXELS)[:, 4:16].max() < 12


def test_the_size_is_found_behind_metadata():
    data = encoded(".jpg")
    block = b"\xff\xe1" + struct.pack(">H", 60_002) + bytes(60_000)
    assert image_size(data[:2] + block * 3 + b"\xff" + data[2:]) == ("JPEG", 40, 30)


def test_a_rotation_noted_in_exif_is_not_applied():
    tiff = b"MM\x00*\x00\x00\x00\x08\x00\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0) + bytes(4)
    exif = b"Exif\x00\x00" + tiff
    data = encoded(".jpg")
    turned = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), 1).shape == (40, 30, 3), "OpenCV would"
    assert decode_image(turned).shape == (30, 40, 3)


def test_padding_behind_the_end_is_allowed():
    assert decode_image(encoded(".jpg") + bytes(512)).shape == (30, 40, 3)


@pytest.mark.parametrize(("kind", "parameters"), [
    (".png", [cv2.IMWRITE_PNG_COMPRESSION, 9]), (".png", [cv2.IMWRITE_PNG_BILEVEL, 1]),
    (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 1]),
    (".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_OPTIMIZE, 1])])
def test_the_emptiest_picture_still_takes_the_bytes_that_are_asked_for(kind, parameters):
    flat = np.zeros((3000, 4000), np.uint8)
    ok, data = cv2.imencode(kind, flat, parameters)
    assert ok
    assert decode_image(data.tobytes()).shape == (3000, 4000, 3)


@pytest.mark.parametrize("kind", [".jpg", ".png"])
def test_a_size_that_its_bytes_cannot_hold_takes_no_memory(kind):
    data = bytearray(encoded(kind))
    place = data.find(b"\xff\xc0") + 5 if kind == ".jpg" else 16
    size = struct.pack(">HH", 9000, 9000) if kind == ".jpg" else struct.pack(">II", 9000, 9000)
    data[place:place + len(size)] = size
    with pytest.raises(ValueError, match=r"says 9000×9000 and holds .* too few"):
        decode_image(bytes(data))


def huge_png():
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + bytes(100)


@pytest.mark.parametrize(("data", "words"), [
    (b"", "nothing"), (b"GIF89a", "expected a JPEG or PNG"), (b"\xff\xd8", "frame header"),
    (encoded(".jpg")[:-40], "cut off"), (encoded(".jpg")[:100], "cut off"),
    (encoded(".png")[:40], "damaged"), (huge_png(), "60000×60000")])
def test_what_is_no_picture_is_named(data, words):
    with pytest.raises(ValueError, match=words):
        decode_image(data)


def test_damaged_heads_raise_nothing_else():
    rng = np.random.default_rng(0)
    head = encoded(".jpg")[:400]
    for _ in range(300):
        spoilt = bytearray(head)
        for place in rng.integers(0, len(spoilt), 5):
            spoilt[place] = rng.integers(256)
        with contextlib.suppress(ValueError):
            decode_image(bytes(spoilt))
