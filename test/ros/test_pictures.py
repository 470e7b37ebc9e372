from importlib.util import find_spec
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aqr_perception.image_file import image_size
from aqr_perception.ros import pictures
from aqr_perception.ros.pictures import is_bgr8, pixels_from_message

RNG = np.random.default_rng(3)
BGR = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
SMOOTH = np.dstack([np.add.outer(np.arange(48), np.arange(64)).astype(np.uint8) + k
                    for k in (0, 40, 90)])


def image(pixels, encoding, padding=0, big_endian=False):
    pixels = pixels.reshape(len(pixels), -1)
    if big_endian:
        pixels = pixels.byteswap()
    rows = pixels.view(np.uint8).reshape(len(pixels), -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xCD)
    return SimpleNamespace(encoding=encoding, height=rows.shape[0], width=0, step=rows.shape[1],
                           is_bigendian=big_endian, data=rows.tobytes())


def colour_image(pixels, encoding, **options):
    message = image(pixels, encoding, **options)
    message.width = pixels.shape[1]
    return message


def compressed(pixels, extension, *parameters):
    ok, data = cv2.imencode(extension, pixels, list(parameters))
    assert ok
    return SimpleNamespace(format=extension[1:], data=data.tobytes())


needs_cv_bridge = pytest.mark.skipif(find_spec("cv_bridge") is None,
                                     reason="cv_bridge is not in this environment")


@needs_cv_bridge
@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(("encoding", "pixels"), [
    ("bgr8", BGR), ("8UC3", BGR), ("rgb8", BGR[..., ::-1]),
    ("bgra8", np.dstack([BGR, BGR[..., :1]])),
    ("8UC4", np.dstack([BGR, BGR[..., :1]])),
    ("rgba8", np.dstack([BGR[..., ::-1], BGR[..., :1]])),
])
def test_colour_encodings_are_exact(encoding, pixels, padding):
    message = colour_image(np.ascontiguousarray(pixels), encoding, padding=padding)
    before = message.data
    np.testing.assert_array_equal(pixels_from_message(message), BGR)
    assert message.data == before


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("encoding", ["bgr8", "8UC3"])
def test_bgr8_is_looked_at_where_it_lies(encoding, padding):
    message = colour_image(BGR, encoding, padding=padding)
    assert is_bgr8(message)
    assert np.shares_memory(pixels_from_message(message), np.frombuffer(message.data, np.uint8))


def test_what_is_decoded_or_converted_is_not_bgr8():
    assert not is_bgr8(colour_image(BGR, "rgb8"))
    assert not is_bgr8(compressed(BGR, ".png"))


@needs_cv_bridge
@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey_becomes_three_equal_channels(encoding):
    grey = np.ascontiguousarray(BGR[..., 0])
    np.testing.assert_array_equal(pixels_from_message(colour_image(grey, encoding)),
                                  np.repeat(grey[..., None], 3, axis=2))


@needs_cv_bridge
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("rows", [5, 6])
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize(("encoding", "channels"), [("mono16", 1), ("rgb16", 3)])
def test_sixteen_bits_are_scaled_to_eight_in_either_byte_order(encoding, channels, big_endian,
                                                               rows, padding):
    picture = BGR[:rows]
    wide = (picture[..., :channels].astype(np.uint16) * 257)
    message = colour_image(wide, encoding, big_endian=big_endian, padding=padding)
    expected = np.repeat(picture[..., :1], 3, 2) if channels == 1 else picture[..., ::-1]
    np.testing.assert_allclose(pixels_from_message(message).astype(int), expected, atol=1)


@needs_cv_bridge
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_give_the_right_colour(pattern):
    colour = {"r": 200, "g": 100, "b": 20}
    mosaic = np.zeros((16, 16), np.uint8)
    for position, letter in enumerate(pattern):
        mosaic[position // 2::2, position % 2::2] = colour[letter]
    inner = pixels_from_message(colour_image(mosaic, f"bayer_{pattern}8"))[4:-4, 4:-4]
    assert (inner == [20, 100, 200]).all()


@needs_cv_bridge
@pytest.mark.parametrize(("encoding", "luma_at"), [("yuv422", 1), ("uyvy", 1), ("yuv422_yuy2", 0),
                                                   ("yuyv", 0)])
def test_yuv422_of_a_grey_scene_is_grey(encoding, luma_at):
    luma = RNG.integers(30, 220, (6, 8), dtype=np.uint8)
    packed = np.full((6, 8, 2), 128, np.uint8)
    packed[..., luma_at] = luma
    pixels = pixels_from_message(colour_image(packed, encoding))
    assert np.ptp(pixels.astype(int), axis=2).max() <= 1
    assert np.corrcoef(pixels[..., 0].ravel(), luma.ravel())[0, 1] > 0.99


@pytest.mark.parametrize(("newer", "older"), [("uyvy", "yuv422"), ("yuyv", "yuv422_yuy2")])
def test_older_cv_bridge_is_asked_by_the_names_that_it_knows(monkeypatch, newer, older):
    asked = []

    class Bridge:
        def imgmsg_to_cv2(self, message, desired_encoding):
            asked.append(message.encoding)
            return BGR

    monkeypatch.setattr(pictures, "_bridge", lambda: (Bridge(), (RuntimeError,)))
    pixels_from_message(colour_image(np.zeros((6, 8, 2), np.uint8), newer))
    assert asked == [older]


@pytest.mark.parametrize("encoding", ["32FC1", "16UC1", "", "h264", "8UC2"])
def test_what_is_no_picture_is_refused(encoding):
    with pytest.raises(ValueError, match="encoding"):
        pixels_from_message(colour_image(BGR, encoding))


@pytest.mark.parametrize("change", [
    {"data": b"\0" * 143}, {"step": 23}, {"width": 9}, {"height": 7}, {"height": 0},
    {"width": 1 << 31, "height": 1 << 31, "step": 1 << 33}])
def test_sizes_that_do_not_fit_are_refused(change):
    message = colour_image(BGR, "bgr8")
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ValueError, match="image"):
        pixels_from_message(message)


def test_png_is_exact_and_jpeg_close():
    np.testing.assert_array_equal(pixels_from_message(compressed(SMOOTH, ".png")), SMOOTH)
    jpeg = pixels_from_message(compressed(SMOOTH, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 95))
    assert np.abs(jpeg.astype(int) - SMOOTH).mean() < 3


@pytest.mark.parametrize("pixels", [SMOOTH[..., 0], np.dstack([SMOOTH, SMOOTH[..., :1]]),
                                    SMOOTH.astype(np.uint16) * 257])
def test_other_png_kinds_become_bgr8(pixels):
    result = pixels_from_message(compressed(pixels, ".png"))
    expected = np.repeat(SMOOTH[..., :1], 3, 2) if pixels.ndim == 2 else SMOOTH
    assert result.dtype == np.uint8
    np.testing.assert_allclose(result.astype(int), expected, atol=1)


@pytest.mark.parametrize("extension", [".jpg", ".png"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 700), (900, 16)])
def test_the_size_is_read_from_the_head(extension, shape):
    message = compressed(np.zeros((*shape, 3), np.uint8), extension)
    kind, width, height = image_size(bytes(message.data))
    assert (height, width) == shape
    assert kind == {".jpg": "JPEG", ".png": "PNG"}[extension]


@pytest.mark.parametrize("extension", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9])
def test_a_cut_file_is_refused(extension, share):
    message = compressed(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8), extension)
    message.data = message.data[:int(len(message.data) * share)]
    with pytest.raises(ValueError, match="image"):
        pixels_from_message(message)


def test_a_bomb_is_not_decoded():
    data = bytearray(compressed(SMOOTH, ".png").data)
    data[16:24] = (100_000).to_bytes(4, "big") * 2
    with pytest.raises(ValueError, match="100000×100000"):
        pixels_from_message(SimpleNamespace(format="png", data=bytes(data)))


JPEG = compressed(SMOOTH, ".jpg").data


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(JPEG) - 1), st.integers(0, 255)), max_size=6),
       st.integers(0, len(JPEG)))
def test_a_damaged_jpeg_gives_pixels_or_a_value_error(changes, length):
    data = bytearray(JPEG)
    for position, value in changes:
        data[position] = value
    try:
        pixels = pixels_from_message(SimpleNamespace(format="jpeg", data=bytes(data[:length])))
    except ValueError:
        return
    assert pixels.ndim == 3
