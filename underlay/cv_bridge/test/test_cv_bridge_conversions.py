"""Between encodings; expected are the pixels themselves or their scale, 257 = 65535 / 255."""

import array

import cv2
import numpy as np
import pytest
from cv_bridge import CvBridge, CvBridgeError
from cv_bridge.boost.cv_bridge_boost import cvtColor2
from sensor_msgs.msg import Image

BRIDGE = CvBridge()
RED, GREEN, BLUE, ALPHA = 10, 20, 40, 255
PIXEL = {"rgb": (RED, GREEN, BLUE), "bgr": (BLUE, GREEN, RED),
         "rgba": (RED, GREEN, BLUE, ALPHA), "bgra": (BLUE, GREEN, RED, ALPHA)}


def converted(pixels, encoding, desired):
    pixels = np.ascontiguousarray(pixels)
    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding,
                    step=pixels.strides[0])
    message.data = array.array("B", pixels.tobytes())
    return BRIDGE.imgmsg_to_cv2(message, desired)


@pytest.mark.parametrize("desired", PIXEL)
@pytest.mark.parametrize("source", PIXEL)
@pytest.mark.parametrize(("bits_in", "bits_out"), [(8, 8), (16, 16), (8, 16), (16, 8)])
def test_order_of_colors_and_full_scale(source, desired, bits_in, bits_out):
    def picture(order, bits):
        values = np.array(PIXEL[order]) * (257 if bits == 16 else 1)
        return np.broadcast_to(values, (2, 3, len(values))).astype(f"uint{bits}")

    result = converted(picture(source, bits_in), f"{source}{bits_in}", f"{desired}{bits_out}")
    expected = picture(desired, bits_out)
    if len(source) < 4 and len(desired) == 4 and bits_in == bits_out == 16:
        expected[..., 3] = 65535  # no alpha in the source is opaque
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(("source", "values"), [
    ("rgb8", (100, 200, 50)), ("bgr8", (50, 200, 100)), ("rgba8", (100, 200, 50, 7))])
def test_grey_is_weighted(source, values):
    picture = np.full((2, 2, len(values)), values, np.uint8)
    grey = 0.299 * 100 + 0.587 * 200 + 0.114 * 50
    assert converted(picture, source, "mono8").tolist() == [[round(grey)] * 2] * 2
    # depth after colour: the rounded 8-bit grey is scaled
    assert converted(picture, source, "mono16").tolist() == [[round(grey) * 257] * 2] * 2


@pytest.mark.parametrize("desired", ["rgb8", "bgr8"])
def test_grey_to_color(desired):
    assert converted(np.array([[3, 200]], np.uint8), "mono8", desired).tolist() == [
        [[3] * 3, [200] * 3]]
    assert converted(np.array([[3 * 257, 65535]], np.uint16), "mono16", desired).tolist() == [
        [[3] * 3, [255] * 3]]


def test_sixteen_bits_to_eight_round_to_nearest():
    values = np.array([[0, 128, 129, 257, 385, 386, 65406, 65407]], np.uint16)
    expected = [[0, 0, 1, 1, 1, 2, 254, 255]]  # round(value / 257)
    assert converted(values, "mono16", "mono8").tolist() == expected
    assert converted(values, "16UC1", "8UC1").tolist() == expected


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (16, np.uint16)])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_are_named_by_their_first_four_pixels(pattern, bits, dtype):
    level = {"r": RED, "g": GREEN, "b": BLUE}
    tile = np.array([level[letter] for letter in pattern]).reshape(2, 2)
    mosaic = np.tile(tile * (257 if bits == 16 else 1), (4, 4)).astype(dtype)
    inner = converted(mosaic, f"bayer_{pattern}{bits}", "rgb8")[2:-2, 2:-2]
    np.testing.assert_array_equal(inner, np.broadcast_to(PIXEL["rgb"], inner.shape))
    inner = converted(mosaic, f"bayer_{pattern}{bits}", "bgr8")[2:-2, 2:-2]
    np.testing.assert_array_equal(inner, np.broadcast_to(PIXEL["bgr"], inner.shape))


@pytest.mark.parametrize(("encoding", "pixels"), [
    ("yuv422", [(90, 41), (240, 41)]),  # U Y, V Y
    ("yuv422_yuy2", [(41, 90), (41, 240)])])  # Y U, Y V
def test_yuv_422_orders(encoding, pixels):
    picture = np.array([pixels] * 2, np.uint8)
    # BT.601, studio range: R = 1.164 (Y - 16) + 1.596 (V - 128), and so on
    red, green, blue = (1.164 * 25 + 1.596 * 112, 1.164 * 25 - 0.813 * 112 + 0.391 * 38,
                        1.164 * 25 - 2.018 * 38)
    expected = np.clip([red, green, blue], 0, 255)
    result = converted(picture, encoding, "rgb8")
    assert np.abs(result - expected).max() <= 1
    np.testing.assert_array_equal(converted(picture, encoding, "bgr8"), result[..., ::-1])
    assert converted(picture, encoding, "mono8").tolist() == [[41, 41]] * 2


@pytest.mark.parametrize(("source", "desired", "values", "expected"), [
    ("8UC1", "16UC1", [0, 1, 255], [0, 257, 65535]),
    ("8SC1", "16SC1", [-128, -1, 127], [-32768, -257, 32639]),
    ("8UC1", "8SC1", [0, 127, 200], [0, 127, 127]),
    ("16SC1", "32SC1", [-5, 0, 32767], [-5, 0, 32767]),
    ("32SC1", "16UC1", [-5, 7, 70000], [0, 7, 65535]),
    ("32FC1", "8UC1", [-0.6, 0.5, 1.5, 254.6, 300], [0, 0, 2, 255, 255]),
    ("32FC1", "16UC1", [2.5, 3.5, 65534.6], [2, 4, 65535]),
    ("64FC1", "32SC1", [-2.5, 1e6 + 0.7], [-2, 1000001]),
    ("16UC1", "32FC1", [0, 65535], [0, 65535]),
    ("mono8", "32FC1", [0, 7], [0, 7]),
    ("mono16", "8UC1", [0, 65535], [0, 255])])
def test_types_saturate_round_half_to_even_and_scale_only_between_8_and_16_bits(
        source, desired, values, expected):
    dtype, _ = BRIDGE.encoding_to_dtype_with_channels(source)
    result = converted(np.array([values], dtype), source, desired)
    assert result.tolist() == [expected]
    assert result.dtype == BRIDGE.encoding_to_dtype_with_channels(desired)[0]


def test_a_colour_as_a_type_of_as_many_channels():
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    np.testing.assert_array_equal(converted(picture, "bgr8", "8UC3"), picture)
    np.testing.assert_array_equal(converted(picture, "rgb8", "16UC3"), picture * np.uint16(257))


@pytest.mark.parametrize(("source", "desired", "message"), [
    ("8UC3", "bgr8", r"^\[8UC3\] is not a color format. but \[bgr8\] is. The conversion does not "
                     "make sense$"),
    ("8UC3", "16UC1", r"^\[8UC3\] and \[16UC1\] do not have the same number of channel$"),
    ("rgb8", "8UC1", r"^\[rgb8\] is a color format but \[8UC1\] is not so they must have the same "
                     "OpenCV type"),
    ("rgb8", "yuv422", r"^Unsupported conversion from \[rgb8\] to \[yuv422\]$"),
    ("rgb8", "bayer_rggb8", "Unsupported conversion"),
    ("rgb8", "uyvy", "Unsupported conversion"),
    ("rgb8", "jpeg", "^Unknown encoding jpeg$"),
    ("rgb8", "8U", "^Unknown encoding 8U$")])
def test_conversions_that_there_are_not(source, desired, message):
    with pytest.raises(CvBridgeError, match=message):
        converted(np.zeros((2, 2, 3), np.uint8), source, desired)
    with pytest.raises(RuntimeError, match=message):
        cvtColor2(np.zeros((2, 2, 3), np.uint8), source, desired)


def test_bayer_has_no_way_to_alpha_or_to_another_depth():
    for desired in ("rgba8", "bayer_rggb16", "bayer_bggr8"):
        with pytest.raises(CvBridgeError, match="Unsupported conversion"):
            converted(np.zeros((4, 4), np.uint8), "bayer_rggb8", desired)


def test_what_opencv_refuses():
    with pytest.raises(RuntimeError, match="OpenCV"):  # it is not rgb8
        cvtColor2(np.zeros((2, 2, 5), np.uint8), "rgb8", "bgr8")


def test_one_call_of_opencv_is_what_it_takes():
    picture = np.random.default_rng(1).integers(0, 256, (9, 7, 3), np.uint8)
    np.testing.assert_array_equal(
        converted(picture, "rgb8", "bgr8"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
