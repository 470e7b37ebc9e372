"""Every state of seven inputs, in process: sets, assembly and pipeline without DDS."""

import itertools
import threading

import numpy as np
import pytest
from fingerprint import FingerprintPipeline
from live_rig import camera_info, cloud, image

from aqr_perception.geometry import rigid
from aqr_perception.recordings.rig import NUSCENES_CAMERAS
from aqr_perception.ros.calibration import CameraModels, RigTransforms
from aqr_perception.ros.conversions import stamp_to_ns
from aqr_perception.ros.frames import FrameAssembler
from aqr_perception.ros.messages import transform_to_message
from aqr_perception.ros.parameters import NodeConfig
from aqr_perception.ros.synchronization import (
    APPROXIMATE_TIME,
    EXACT_TIME,
    LIDAR_ANCHORED,
    SyncConfig,
    set_maker,
)
from aqr_perception.ros.transform_buffer import RestartingBuffer
from aqr_perception.runtime.mode import describe
from aqr_perception.runtime.sample_set import SampleState
from aqr_perception.types import Controls, Mounting

SENSORS = range(1 + len(NUSCENES_CAMERAS))
STATES = [frozenset(sensor for sensor in SENSORS if bits >> sensor & 1) for bits in range(128)]
START_NS, STEP_NS = 1_700_000_000_000_000_000, 100_000_000
LEAD_NS = 20_000_000


def configuration(mode=LIDAR_ANCHORED, frame_id="lidar", stale_s=0.06):
    return NodeConfig(
        autostart=True, weights=None, device="cpu", cameras=NUSCENES_CAMERAS,
        image_transport="raw", mounting=Mounting(), intensity_max=255.0,
        intensity_field="intensity", fixed_frame="", tf_timeout_s=0.0, lidar_frame_id=frame_id,
        sync=SyncConfig(mode, 0.06, stale_s, 0.08, 0.35, (0.0,) * len(NUSCENES_CAMERAS), 10, 0.08))


class Vehicle:
    """Plays the sensors to what the node is made of; time is simulated."""

    def __init__(self, config=None, unknown_to_tf=(), without_info=()):
        self.config = config or configuration()
        buffer = RestartingBuffer()
        for index, frame in enumerate(("lidar", *NUSCENES_CAMERAS)):
            if frame not in unknown_to_tf:
                buffer.set_transform_static(transform_to_message(
                    rigid.from_rotation_translation(np.eye(3), (0.0, 0.1 * index, 0.0)),
                    "base_link", frame.lower(), 0), "test")
        models = CameraModels(NUSCENES_CAMERAS)
        for index, name in enumerate(NUSCENES_CAMERAS):
            if name not in without_info:
                models.update(index, camera_info(0, name))
        self.assembler = FrameAssembler(self.config, models, RigTransforms(
            buffer, "", 0.0, threading.Event()))
        self.sets = set_maker(self.config.sync)
        self.pipeline = FingerprintPipeline()
        self.published, self.frames, self.dropped = [], [], []

    def message(self, sensor, stamp_ns, k):
        return cloud(stamp_ns, k) if sensor == 0 else image(stamp_ns, NUSCENES_CAMERAS[sensor - 1])

    def period(self, k, alive):
        """One period of the living sensors, then time up to the next."""
        sweep_ns = START_NS + k * STEP_NS
        for sensor in sorted(alive, reverse=True):  # cameras lead the sweep
            stamp_ns = sweep_ns - LEAD_NS * (sensor > 0)
            message = self.message(sensor, stamp_ns, k)
            self.sets.add(sensor, stamp_to_ns(message.header.stamp), message, stamp_ns)
            self.run(stamp_ns)
        while (due := self.sets.next_due()) is not None and due <= sweep_ns + STEP_NS - LEAD_NS:
            self.run(due)

    def run(self, now_ns):
        for samples in self.sets.poll(now_ns):
            try:
                assembled = self.assembler.assemble(samples)
            except ValueError as error:
                self.dropped.append(str(error))
                continue
            self.frames.append(assembled)
            self.published.append(self.pipeline(assembled.frame, Controls()).detections)

    def settle(self, alive, first, periods=8):
        """Let the sensors be ``alive`` for so long that the change is known; then one period more.

        Returns:
            The frames of that last period.
        """
        for k in range(first, first + periods):
            self.period(k, alive)
        before = len(self.frames)
        self.period(first + periods, alive)
        return self.frames[before:]


@pytest.fixture
def vehicle():
    made = Vehicle()
    yield made
    made.assembler.close()


def check(frames, alive):
    if not alive:
        assert frames == []
        return
    (assembled,) = frames
    assert set(np.flatnonzero(assembled.frame.present)) == alive
    assert assembled.frame.frame_id == "lidar"
    for sensor, use in enumerate(assembled.sensors):
        assert (use.state is SampleState.FRESH) == (sensor in alive)
        assert (use.state is SampleState.ABSENT) == (sensor not in alive)
        assert np.isnan(use.age_s) == (sensor not in alive)
        assert use.problem == ""
    if 0 in alive:
        assert assembled.frame.ages_s[0] == 0
        assert all(assembled.sensors[sensor].age_s == pytest.approx(0.02) for sensor in alive - {0})


@pytest.mark.parametrize("alive", STATES, ids=lambda alive: "".join(map(str, sorted(alive))) or "0")
def test_each_state_from_the_start(vehicle, alive):
    check(vehicle.settle(alive, 0), alive)
    assert vehicle.dropped == []
    assert all(len(detections) for detections in vehicle.published)


def test_coming_and_going_through_all_states_needs_no_restart(vehicle):
    rng = np.random.default_rng(0)
    for round_, state in enumerate(rng.permutation(len(STATES))):
        check(vehicle.settle(STATES[state], 20 * round_, 9), STATES[state])
    stamps = [detections.stamp_ns for detections in vehicle.published]
    assert stamps == sorted(set(stamps))
    assert vehicle.dropped == []


def test_the_next_frame_after_a_change_is_published_too(vehicle):
    """One frame a sweep throughout, when cameras come and go."""
    rng = np.random.default_rng(1)
    for k in range(60):
        vehicle.period(k, {0} | {sensor for sensor in SENSORS if rng.random() < 0.5})
    assert [d.stamp_ns for d in vehicle.published] == [START_NS + k * STEP_NS for k in range(60)]


def test_the_cameras_go_on_in_the_last_clouds_frame():
    vehicle = Vehicle(configuration(frame_id=""))
    cameras = set(SENSORS) - {0}
    assert vehicle.settle(cameras, 0) == []
    assert "set lidar.frame_id" in vehicle.dropped[-1]
    assert "no point cloud has come yet" in vehicle.dropped[-1]
    check(vehicle.settle(set(SENSORS), 10), set(SENSORS))
    check(vehicle.settle(cameras, 20), cameras)
    vehicle.assembler.close()


@pytest.mark.parametrize("mode", [APPROXIMATE_TIME, EXACT_TIME])
def test_the_modes_of_message_filters_give_complete_sets_only(mode, monkeypatch):
    if mode == EXACT_TIME:
        monkeypatch.setattr("test_degradation.LEAD_NS", 0)
    vehicle = Vehicle(configuration(mode))
    assert len(vehicle.settle(set(SENSORS), 0)) == 1
    for missing in SENSORS:
        assert vehicle.settle(set(SENSORS) - {missing}, 20 * (1 + missing)) == []
    assert len(vehicle.settle(set(SENSORS), 200)) == 1
    vehicle.assembler.close()


def test_a_camera_that_lags_is_stale_where_that_is_allowed():
    vehicle = Vehicle(configuration(stale_s=0.3))
    vehicle.settle(set(SENSORS), 0)
    before = len(vehicle.frames)
    for k in range(9, 14):
        vehicle.period(k, set(SENSORS) - {3})
    uses = [assembled.sensors[3] for assembled in vehicle.frames[before:]]
    assert [use.state.value for use in uses] == ["stale"] * 2 + ["absent"] * 3
    assert uses[0].age_s == pytest.approx(0.12)
    assert "CAM_FRONT_LEFT stale" in describe(vehicle.frames[before].sensors)
    vehicle.assembler.close()


def spoiled(message, how):
    if how == "frame":
        message.header.frame_id = ""
    elif how == "other frame":
        message.header.frame_id = "elsewhere"
    elif how == "size":
        message.data = message.data[:-1]
    elif how == "encoding":
        message.encoding = "32FC1"
    elif how == "fields":
        message.fields = message.fields[:2]
    elif how == "empty":
        message.width, message.row_step, message.data = 0, 0, b""
    return message


@pytest.mark.parametrize(("sensor", "how", "words"), [
    (2, "frame", "CAM_FRONT_RIGHT: the image's header.frame_id is empty"),
    (2, "size", "CAM_FRONT_RIGHT: the bgr8 image says 32×24"),
    (2, "encoding", "CAM_FRONT_RIGHT: image encoding '32FC1'"),
    (2, "other frame", "CAM_FRONT_RIGHT: tf has no transform from 'lidar' to 'elsewhere'"),
    (0, "other frame", "LiDAR: the point cloud's header.frame_id is 'elsewhere', which tf joins to "
                       "no camera; expected a frame such as 'lidar'"),
    (0, "size", "LiDAR: the point cloud holds"),
    (0, "fields", "LiDAR: the point cloud has no field z"),
    (0, "empty", "LiDAR: the point cloud holds no point"),
])
def test_a_message_that_does_not_fit_costs_its_own_sensor_alone(vehicle, monkeypatch, sensor, how,
                                                                words):
    good = vehicle.message
    monkeypatch.setattr(vehicle, "message", lambda index, *rest: spoiled(
        good(index, *rest), how if index == sensor else ""))
    (assembled,) = vehicle.settle(set(SENSORS), 0)
    assert set(np.flatnonzero(assembled.frame.present)) == set(SENSORS) - {sensor}
    assert assembled.sensors[sensor].state is SampleState.ABSENT
    assert assembled.sensors[sensor].problem.startswith(words)
    monkeypatch.undo()
    check(vehicle.settle(set(SENSORS), 10), set(SENSORS))


def test_a_cloud_in_an_unknown_frame_after_a_good_one_costs_the_lidar_alone(monkeypatch):
    vehicle = Vehicle(configuration(frame_id=""))
    check(vehicle.settle(set(SENSORS), 0), set(SENSORS))
    good = vehicle.message
    monkeypatch.setattr(vehicle, "message", lambda sensor, *rest: spoiled(
        good(sensor, *rest), "" if sensor else "other frame"))
    (assembled,) = vehicle.settle(set(SENSORS), 10)
    assert set(np.flatnonzero(assembled.frame.present)) == set(SENSORS) - {0}
    assert assembled.frame.frame_id == "lidar"
    assert "'elsewhere'" in assembled.sensors[0].problem
    (assembled,) = vehicle.settle({0}, 20)  # nothing is lost with it: it goes out as it is
    assert set(np.flatnonzero(assembled.frame.present)) == {0}
    assert assembled.frame.frame_id == "elsewhere"
    check(vehicle.settle(set(SENSORS) - {0}, 30), set(SENSORS) - {0})
    monkeypatch.undo()
    check(vehicle.settle(set(SENSORS), 40), set(SENSORS))
    vehicle.assembler.close()


@pytest.mark.parametrize(("arguments", "words"), [
    ({"unknown_to_tf": ("CAM_BACK",)}, "CAM_BACK: tf has no transform from 'lidar' to 'cam_back'"),
    ({"without_info": ("CAM_BACK",)}, "CAM_BACK: no camera_info has come"),
])
def test_a_camera_without_calibration_is_left_out_with_the_reason(arguments, words):
    vehicle = Vehicle(**arguments)
    (assembled,) = vehicle.settle(set(SENSORS), 0)
    back = 1 + NUSCENES_CAMERAS.index("CAM_BACK")
    assert set(np.flatnonzero(assembled.frame.present)) == set(SENSORS) - {back}
    assert assembled.sensors[back].problem.startswith(words)
    vehicle.assembler.close()


def test_nothing_usable_is_no_frame_but_all_reasons(vehicle, monkeypatch):
    good = vehicle.message
    monkeypatch.setattr(vehicle, "message", lambda *rest: spoiled(good(*rest), "size"))
    assert vehicle.settle(set(SENSORS), 0) == []
    assert vehicle.published == []
    assert all(name in vehicle.dropped[-1] for name in ("LiDAR", *NUSCENES_CAMERAS))


def test_the_mode_in_words(vehicle):
    words = {}
    for round_, alive in enumerate([set(SENSORS), {0}, {0, 1, 2}, set(SENSORS) - {0}, {4}]):
        (assembled,) = vehicle.settle(alive, 20 * round_)
        words[round_] = describe(assembled.sensors)
    assert words[0] == "LiDAR + 6 of 6 cameras"
    assert words[1] == "LiDAR + 0 of 6 cameras; " + ", ".join(NUSCENES_CAMERAS) + " absent"
    assert words[2].startswith("LiDAR + 2 of 6 cameras; CAM_FRONT_LEFT, ")
    assert words[3] == "6 of 6 cameras; LiDAR absent"
    assert words[4].startswith("1 of 6 cameras; LiDAR, CAM_FRONT, ")
    assert len(set(itertools.chain(words.values()))) == 5
