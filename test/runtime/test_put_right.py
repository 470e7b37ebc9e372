"""The weights that ship on a simulated drive whose sensors come to lie elsewhere."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from aqr_perception.recordings.frame_directory import find_frames, read_frame
from aqr_perception.recordings.rig import load_rig as load_vehicle
from aqr_perception.runtime.aqr_values import values_of_report
from aqr_perception.runtime.pipeline import DetectionPipeline
from aqr_perception.simulation import splits
from aqr_perception.simulation.drive import DriveSettings, simulate_drive
from aqr_perception.simulation.faults import apply
from aqr_perception.simulation.rig import load_rig
from aqr_perception.types import Controls

FRAMES = 6
BEGINS = 3
"""The first frame under a fault; those before it are sound."""


@pytest.fixture(scope="module")
def drive():
    return list(simulate_drive(splits.VALIDATION.start, FRAMES, load_rig().resized(352, 128),
                               DriveSettings(sweeps=4)))


@pytest.fixture(scope="module")
def pipeline():
    return DetectionPipeline.load(device="cpu")


def run(pipeline, drive, fault, severity, align=True, ends=FRAMES, blind=False):
    """What AQR said of each frame from the fault on, and how many true objects were found."""
    pipeline.reset()
    said, found = [], 0
    for number, (frame, truth) in enumerate(drive):
        shown = frame
        if BEGINS <= number < ends and fault:
            shown, _ = apply(fault, severity, [one for one, _ in drive[:number + 1]],
                             np.random.default_rng(1), truth)
        if blind:
            shown, _ = apply("all_cameras_absent", 1, [shown], np.random.default_rng(1), truth)
        result = pipeline(shown, Controls(align=align, score_threshold=0.3))
        if number < BEGINS:
            continue
        said.append(values_of_report(result.aqr, ("lidar", *frame.camera_names)))
        seen = truth.boxes.center[truth.num_lidar_pts > 0, :2]
        apart = np.linalg.norm(seen[:, None] - result.detections.boxes.center[None, :, :2], axis=-1)
        found += int((apart < 2.0).any(axis=1).sum())
    return said, found


def test_a_turned_cloud_is_put_right(pipeline, drive):
    said, found = run(pipeline, drive, "lidar_rotated", 2)
    for values in said:
        assert abs(values["cloud_turned_deg"]) == pytest.approx(15, abs=1.5)
        assert values["cloud_to_blame"] == 1
    _, without = run(pipeline, drive, "lidar_rotated", 2, align=False)
    _, sound = run(pipeline, drive, "", 1)
    assert found > 0.7 * sound
    assert found > 2 * without


def test_turned_cameras_are_put_right_and_move_no_box(pipeline, drive):
    said, found = run(pipeline, drive, "all_cameras_rotated", 3)
    for values in said:
        assert abs(values["cloud_turned_deg"]) == pytest.approx(40, abs=1.5)
        assert values["cloud_to_blame"] == 0
    assert found > 0.8 * run(pipeline, drive, "", 1)[1]


def test_an_old_cloud_is_put_right(pipeline, drive):
    said, found = run(pipeline, drive, "lidar_stale", 2)
    frames = [frame for frame, _ in drive]
    for number, values in enumerate(said, start=BEGINS):
        driven = np.linalg.norm((frames[number].fixed_from_lidar
                                 - frames[number - 2].fixed_from_lidar)[:3, 3])
        assert driven > 2.0
        assert values["cloud_behind_m"] == pytest.approx(driven, rel=0.1)
        assert values["cloud_to_blame"] == 1
    assert found > 1.3 * run(pipeline, drive, "lidar_stale", 2, align=False)[1]


@pytest.mark.parametrize(("fault", "severity", "what", "least"), [
    ("lidar_rotated", 1, "cloud_turned_deg", 4.0), ("lidar_stale", 1, "cloud_behind_m", 1.0)])
def test_without_a_camera_the_cloud_before_tells_and_tells_when_it_is_over(
        pipeline, drive, fault, severity, what, least):
    said, _ = run(pipeline, drive, fault, severity, ends=FRAMES - 1, blind=True)
    for values in said[:-1]:
        assert abs(values[what]) > least
        assert values["cloud_to_blame"] == 1
    assert said[-1][what] == 0.0


def test_sound_sensors_stay(pipeline, drive):
    said, _ = run(pipeline, drive, "", 1)
    for values in said:
        assert values["cloud_turned_deg"] == values["cloud_behind_m"] == 0.0
        assert values["cloud_aside_m"] == 0.0
        assert values["agreement"] > 0.5
    assert not any(math.isnan(value) for value in said[0].values())


@pytest.fixture(scope="module")
def recorded(shared_data, request):
    """Three consecutive frames of a real car that nothing here was trained on, and its rig."""
    folder = shared_data / "dgp_scene_02"
    if not folder.is_dir():
        pytest.skip("dgp_scene_02 is not on this machine")
    rig = load_vehicle(request.config.rootpath / "config" / "ddad.yaml")
    return [read_frame(path, rig) for path in find_frames(folder)], rig


def said_of(pipeline, recorded, clouds):
    """What is said of real frames with the clouds of others, or with their own turned."""
    frames, rig = recorded
    pipeline = DetectionPipeline(pipeline.detector, pipeline.device, rig.mounting)
    values = []
    for frame, cloud in zip(frames, clouds):
        result = pipeline(replace(frame, lidar=cloud), Controls())
        values.append(values_of_report(result.aqr, ("lidar", *frame.camera_names)))
    return values


def test_sound_real_sensors_stay(pipeline, recorded):
    for values in said_of(pipeline, recorded, [frame.lidar for frame in recorded[0]]):
        assert values["cloud_turned_deg"] == values["cloud_behind_m"] == 0.0
        assert values["cloud_aside_m"] == values["cloud_to_blame"] == 0.0


@pytest.mark.parametrize(("severity", "degrees"), [(1, 5), (2, 15), (3, 40)])
def test_a_real_cloud_that_turns_is_put_right(pipeline, recorded, severity, degrees):
    frames, _ = recorded
    turned = [apply("lidar_rotated", severity, [frame], np.random.default_rng(0))[0].lidar
              for frame in frames[1:]]
    first, *others = said_of(pipeline, recorded, [frames[0].lidar, *turned])
    assert first["cloud_turned_deg"] == 0.0
    for values in others:
        assert abs(values["cloud_turned_deg"]) == pytest.approx(degrees, abs=1.0)
        assert values["cloud_to_blame"] == 1


@pytest.mark.parametrize("age", [1, 2])
def test_an_old_real_cloud_is_put_right(pipeline, recorded, age):
    frames, _ = recorded
    driven = sum(np.linalg.norm((one.fixed_from_lidar - other.fixed_from_lidar)[:3, 3])
                 for one, other in zip(frames[2 - age:], frames[3 - age:]))
    values = said_of(pipeline, recorded, [frames[0].lidar, frames[1].lidar,
                                          frames[2 - age].lidar])[-1]
    assert values["cloud_behind_m"] == pytest.approx(driven, abs=0.6)
    assert abs(values["cloud_turned_deg"]) <= 1.0
    assert values["cloud_to_blame"] == 1
