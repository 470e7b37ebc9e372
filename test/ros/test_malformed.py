"""Thousands of malformed messages through the decode path: each costs a ValueError and no more."""

import array
import resource
import threading

import cv2
import numpy as np
import pytest
from live_rig import camera_info, cloud, image
from sensor_msgs.msg import CompressedImage
from test_degradation import configuration

from aqr_perception.recordings.rig import NUSCENES_CAMERAS
from aqr_perception.ros.calibration import CameraModels, RigTransforms
from aqr_perception.ros.frames import FrameAssembler
from aqr_perception.ros.transform_buffer import RestartingBuffer
from aqr_perception.runtime.sample_set import Sample, SampleSet, SampleState

COUNT = 1500
STAMP_NS = 1_700_000_000_000_000_000
SIZES = (0, 1, 2, 3, 7, 8, 255, 256, 4096, 65535, 2**31 - 1, 2**31, 2**32 - 1)
ENCODINGS = ("", "bgr8", "rgb8", "mono8", "mono16", "rgb16", "bgra8", "bayer_rggb8", "bayer_gbrg16",
             "yuv422", "yuv422_yuy2", "8UC1", "8UC2", "8UC3", "8UC4", "16UC1", "32FC1", "64FC4",
             "nv12", "BGR8", "bgr8\0", "ünicode", "x" * 1000)
NUMBERS = (0.0, -1.0, 1e-300, 1e300, float("inf"), float("-inf"), float("nan"))
LENSES = ("", "plumb_bob", "rational_polynomial", "equidistant", "fisheye", "none", "\0")
MOST_BYTES = 300 * 2**20
"""What the largest picture that may be decoded takes twice over would be above this."""


def pick(rng, values):
    return values[int(rng.integers(len(values)))]


def bytes_of(rng, data):
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


def change(rng, message, fields):
    for name in rng.choice(list(fields), int(rng.integers(1, len(fields) + 1)), replace=False):
        setattr(message, str(name), fields[str(name)]())
    return message


def bad_image(rng):
    message = image(STAMP_NS, NUSCENES_CAMERAS[0])
    return change(rng, message, {
        "height": lambda: pick(rng, SIZES), "width": lambda: pick(rng, SIZES),
        "step": lambda: pick(rng, SIZES), "encoding": lambda: pick(rng, ENCODINGS),
        "is_bigendian": lambda: int(rng.integers(256)),
        "data": lambda: bytes_of(rng, message.data)})


PICTURES = [cv2.imencode(kind, np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
                         )[1].tobytes() for kind in (".jpg", ".png")]


def bad_compressed(rng):
    data = bytearray(bytes_of(rng, pick(rng, PICTURES)))
    if rng.random() < 0.3 and len(data) > 200:  # a size that the head only claims
        place = data.find(b"\xff\xc0") + 5 if data[:2] == b"\xff\xd8" else 16
        data[place:place + 4] = rng.bytes(4)
    message = CompressedImage(format=pick(rng, ("jpeg", "png", "", "h264", "\0")))
    message.header.frame_id = NUSCENES_CAMERAS[0].lower()
    message.data = array.array("B", bytes(data))
    return message


def bad_cloud(rng):
    message = cloud(STAMP_NS, 0)

    def fields():
        kept = [field for field in message.fields if rng.random() < 0.8]
        for field in kept:
            if rng.random() < 0.4:
                change(rng, field, {
                    "name": lambda: pick(rng, ("x", "y", "z", "intensity", "", "dt", "\0")),
                    "offset": lambda: pick(rng, SIZES), "count": lambda: pick(rng, SIZES),
                    "datatype": lambda: int(rng.integers(256))})
        return kept

    return change(rng, message, {
        "height": lambda: pick(rng, SIZES), "width": lambda: pick(rng, SIZES),
        "point_step": lambda: pick(rng, SIZES), "row_step": lambda: pick(rng, SIZES),
        "is_bigendian": lambda: bool(rng.integers(2)), "is_dense": lambda: bool(rng.integers(2)),
        "fields": fields, "data": lambda: bytes_of(rng, message.data)})


def bad_info(rng):
    message = camera_info(STAMP_NS, NUSCENES_CAMERAS[0])
    roi = message.roi
    change(rng, roi, {name: lambda: pick(rng, SIZES) for name in (
        "x_offset", "y_offset", "height", "width")})
    return change(rng, message, {
        "height": lambda: pick(rng, SIZES), "width": lambda: pick(rng, SIZES),
        "distortion_model": lambda: pick(rng, LENSES),
        "d": lambda: [pick(rng, NUMBERS) for _ in range(int(rng.integers(0, 15)))],
        "k": lambda: [pick(rng, (*NUMBERS, 20.0)) for _ in range(9)],
        "binning_x": lambda: pick(rng, SIZES), "binning_y": lambda: pick(rng, SIZES),
        "roi": lambda: roi})


def assembled(assembler, models, message, info):
    """One frame of a good sweep and one picture, or of a sweep alone."""
    models.update(0, info)
    samples = [None] * (1 + len(NUSCENES_CAMERAS))
    samples[0] = Sample(STAMP_NS, 0, cloud(STAMP_NS))
    if hasattr(message, "point_step"):
        samples[0] = Sample(STAMP_NS, 0, message)
        samples[1] = Sample(STAMP_NS, 0, image(STAMP_NS, NUSCENES_CAMERAS[0]))
    else:
        samples[1] = Sample(STAMP_NS, 0, message)
    states = tuple(SampleState.ABSENT if sample is None else SampleState.FRESH
                   for sample in samples)
    return assembler.assemble(SampleSet(STAMP_NS, 0, tuple(samples), states, 0, False))


@pytest.fixture
def rig():
    from aqr_perception.geometry import rigid
    from aqr_perception.ros.messages import transform_to_message

    buffer = RestartingBuffer()
    for index, frame in enumerate(("lidar", NUSCENES_CAMERAS[0].lower())):
        buffer.set_transform_static(transform_to_message(
            rigid.from_xyz_yaw(0.0, 0.1 * index, 0.0, 0.0), "base_link", frame, 0), "test")
    models = CameraModels(NUSCENES_CAMERAS)
    made = FrameAssembler(configuration(), models, RigTransforms(buffer, "", 0.0,
                                                                 threading.Event()))
    yield made, models
    made.close()


@pytest.mark.parametrize(("make", "spoiled"), [
    (bad_image, 1), (bad_compressed, 1), (bad_cloud, 0), (bad_info, 1)])
def test_a_malformed_message_costs_its_own_sensor_and_no_memory(rig, make, spoiled):
    assembler, models = rig
    rng = np.random.default_rng(7)
    good_info = camera_info(STAMP_NS, NUSCENES_CAMERAS[0])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = 0
    for _ in range(COUNT):
        message = make(rng)
        if make is bad_info:
            frame = assembled(assembler, models, image(STAMP_NS, NUSCENES_CAMERAS[0]), message)
        else:
            frame = assembled(assembler, models, message, good_info)
        assert frame.frame.present[1 - spoiled]
        assert frame.sensors[1 - spoiled].problem == ""
        if not frame.frame.present[spoiled]:
            refused += 1
            problem = frame.sensors[spoiled].problem
            assert problem.startswith(("LiDAR: ", f"{NUSCENES_CAMERAS[0]}: "))
            assert "\n" not in problem
            assert len(problem) < 1500
    assert COUNT / 2 < refused < COUNT
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < MOST_BYTES
    good = assembled(assembler, models, image(STAMP_NS, NUSCENES_CAMERAS[0]), good_info)
    assert good.frame.present[:2].all()
