from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from training_frames import make_frame

from aqr_perception.runtime.fault_runs import CLEAN, FaultRuns, Setting, settings_of
from aqr_perception.simulation.faults import FAULTS, MULTICORRUPT
from aqr_perception.types import Annotations, CameraImage, Controls, LidarCloud, SensorFrame

EVERYTHING = Controls(score_threshold=0.0)


@dataclass
class Notes:
    """A detector that remembers what it was shown since the last reset."""

    shown: list[SensorFrame] = field(default_factory=list)

    def __call__(self, frame: SensorFrame, controls: Controls) -> int:
        assert controls is EVERYTHING
        self.shown.append(frame)
        return len(self.shown)

    def reset(self) -> None:
        self.shown.clear()


def drive(count: int, step_s: float = .5) -> list[tuple[SensorFrame, Annotations]]:
    """Frames whose pictures are of the grey level 10, 20 ..., so that it shows which one it is."""
    found = []
    for k in range(count):
        frame, truth = make_frame(0)
        stamp = 10**9 + round(k * step_s * 1e9)
        images: list[CameraImage | None] = []
        for image in frame.images:
            assert image is not None
            pixels = np.full_like(image.pixels, 10 * (k + 1))
            images.append(replace(image, stamp_ns=stamp, pixels=pixels))
        assert frame.lidar is not None
        found.append((replace(frame, stamp_ns=stamp, images=tuple(images),
                              lidar=LidarCloud(stamp, frame.lidar.points)), truth))
    return found


def runs_of(*settings: Setting, **rest):
    made: list[Notes] = []

    def make() -> Notes:
        made.append(Notes())
        return made[-1]

    return FaultRuns(make, settings, EVERYTHING, **rest), made


def grey(frame: SensorFrame) -> int:
    image = frame.images[0]
    assert image is not None
    return int(image.pixels[0, 0, 0])


def test_each_setting_has_a_detector_that_sees_the_drive_in_order():
    runs, (clean, black) = runs_of(CLEAN, Setting("all_cameras_black", 1))
    frames = drive(3)
    runs.start_drive()
    results = [dict(runs(frame, truth, k)) for k, (frame, truth) in enumerate(frames)]
    assert results[-1] == {CLEAN: 3, Setting("all_cameras_black", 1): 3}
    assert [grey(frame) for frame in clean.shown] == [10, 20, 30]
    assert [grey(frame) for frame in black.shown] == [0, 0, 0]
    assert all(shown is frame for shown, (frame, _) in zip(clean.shown, frames))
    runs.start_drive()
    assert clean.shown == black.shown == []


def test_old_data_comes_from_this_drive_and_from_frames_that_were_passed_by():
    runs, (stale,) = runs_of(Setting("all_cameras_stale", 2))  # 1 s: two frames ago
    frames = drive(4)
    runs.start_drive()
    list(runs(*frames[0], 0))
    assert grey(stale.shown[-1]) == 10  # nothing before it
    runs.pass_by(frames[1][0])
    runs.pass_by(frames[2][0])
    list(runs(*frames[3], 3))
    assert grey(stale.shown[-1]) == 20
    runs.start_drive()
    list(runs(*frames[3], 3))
    assert grey(stale.shown[-1]) == 40


def test_a_recording_that_jumps_has_no_past():
    runs, (stale,) = runs_of(Setting("all_cameras_stale", 1))
    frames = drive(2, step_s=3.0)
    for k in (0, 1, 0):  # ahead by more than is kept, then back
        list(runs(*frames[k], k))
        assert grey(stale.shown[-1]) == 10 * (k + 1)


def test_twins_and_severities_draw_the_same_and_numbers_do_not():
    runs, (cloud, cameras) = runs_of(Setting("lidar_rotated", 2), Setting("all_cameras_rotated", 2))
    frame, truth = drive(1)[0]
    turns = []
    for number in range(8):
        list(runs(frame, truth, number))
        turned, seen = cloud.shown[-1].lidar, cameras.shown[-1].images[0]
        before = frame.images[0]
        turn = (np.linalg.inv(before.calibration.camera_from_lidar)
                @ seen.calibration.camera_from_lidar)
        rotated = frame.lidar.points[:, :3] @ turn[:3, :3].T
        np.testing.assert_allclose(turned.points[:, :3], rotated, atol=1e-3)
        turns.append(float(turn[0, 1]))
    assert min(turns) < 0 < max(turns)


def test_what_is_left_of_a_frame_is_taken_after_the_fault():
    runs, (notes,) = runs_of(Setting("lidar_ghosts", 1),
                             see=lambda frame: replace(frame, lidar=None))
    list(runs(*drive(1)[0], 0))
    assert notes.shown[0].lidar is None


def test_names_stand_for_faults_and_each_comes_once():
    assert settings_of(["fog", "multicorrupt", "fog"], [3, 1, 3])[:2] == [
        Setting("fog", 1), Setting("fog", 3)]
    assert len(settings_of(["fog", "multicorrupt"], [1])) == len(MULTICORRUPT) == 10
    assert [setting.fault for setting in settings_of([], [2])] == list(FAULTS)


@pytest.mark.parametrize(("names", "severities", "words"), [
    (["frog"], [1], "fault is 'frog'; expected some of multicorrupt"),
    (["fog"], [4], "severity is 4; expected some of 1, 2, 3"),
    (["fog"], [], "not given")])
def test_a_name_or_severity_that_there_is_not(names: list[str], severities: list[int], words: str):
    with pytest.raises(ValueError, match=words):
        settings_of(names, severities)
