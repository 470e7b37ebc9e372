"""Thousands of malformed messages through the decode path: each costs a ValueError and no more."""

import resource
import threading

import numpy as np
import pytest
from fingerprint import FingerprintPipeline
from live_rig import camera_info, cloud, image
from test_degradation import configuration

from aqr_perception.recordings.rig import NUSCENES_CAMERAS, Rig
from aqr_perception.ros.calibration import CameraModels, RigTransforms
from aqr_perception.ros.frames import FrameAssembler
from aqr_perception.ros.malformed_check import run_malformed
from aqr_perception.ros.malformed_messages import bad_cloud, bad_compressed, bad_image, bad_info
from aqr_perception.ros.transform_buffer import RestartingBuffer
from aqr_perception.runtime.sample_set import Sample, SampleSet, SampleState

COUNT = 1500
STAMP_NS = 1_700_000_000_000_000_000
MOST_BYTES = 300 * 2**20
"""What the largest picture that may be decoded takes twice over would be above this."""


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
    picture = image(STAMP_NS, NUSCENES_CAMERAS[0])
    sound = {bad_cloud: cloud(STAMP_NS), bad_info: good_info}.get(make, picture)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = 0
    for _ in range(COUNT):
        message = make(rng, sound)
        if make is bad_info:
            frame = assembled(assembler, models, picture, message)
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


def test_through_the_inputs_each_costs_its_own_sensor_alone():
    """As `check-vehicle --malformed` does it, with few messages; memory is for it to judge."""
    report = run_malformed(120, Rig(), FingerprintPipeline())
    assert (report.sent, report.lost, report.others) == (120, 0, 0)
    assert 60 < report.refused < 120
    assert sum(report.reasons.values()) == report.refused
    assert report.same
    assert report.before_mib > 0
