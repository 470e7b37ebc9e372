"""The number falls when the calibration is turned: on simulated frames, and on real ones."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from aqr_perception.geometry import rigid
from aqr_perception.geometry.camera import PinholeCamera
from aqr_perception.recordings.frame_directory import read_frame
from aqr_perception.recordings.rig import Rig
from aqr_perception.runtime import calibration_check
from aqr_perception.runtime.calibration_check import CalibrationCheck, alignment_of
from aqr_perception.runtime.edge_alignment import TURN_WORDS, EdgeSums, standing_out
from aqr_perception.simulation.drive import DriveSettings, simulate_drive
from aqr_perception.simulation.rig import load_rig
from aqr_perception.types import Calibration, Mounting

RIGHT, UP = (0, 1, 0), (1, 0, 0)
LEVEL = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # x right, y down, z ahead of y ahead


def turned(frame, degrees, axis):
    """The frame with all its cameras' calibrations turned about an axis of the camera."""
    turn = np.eye(4)
    turn[:3, :3] = cv2.Rodrigues(np.radians(degrees) * np.array(axis, np.float64))[0]
    return replace(frame, images=tuple(replace(image, calibration=replace(
        image.calibration, camera_from_lidar=turn @ image.calibration.camera_from_lidar))
        for image in frame.images))


def checked(frames, degrees=0.0, axis=RIGHT):
    """Alignments (one a camera) after these frames."""
    check = CalibrationCheck()
    for frame in frames:
        found = check.add(turned(frame, degrees, axis))
    return list(found.values())


def middle(found, name="ratio"):
    return float(np.median([getattr(alignment, name) for alignment in found]))


@pytest.fixture(scope="module")
def simulated():
    """Two moments of each of two drives, three cameras each, 800×450."""
    rig = load_rig().resized(800, 450)
    rig = replace(rig, cameras=tuple(rig.cameras[index] for index in (0, 2, 3)))
    return [frame for seed in (11, 12)
            for frame, _ in simulate_drive(seed, 2, rig, DriveSettings(rate_hz=0.5))]


@pytest.fixture(scope="module", params=["nuscenes_scene-0061", "dgp_scene_02"])
def real(request, shared_data):
    """Frames of a recording."""
    folder = shared_data / request.param
    if not folder.is_dir():
        pytest.skip(f"{request.param} is not on this machine")
    if request.param == "nuscenes_scene-0061":
        return [read_frame(folder)]
    rig = Rig(tuple(f"CAMERA_{number:02d}" for number in (1, 5, 6, 7, 8, 9)), Mounting("x", 0.0))
    return [read_frame(path, rig) for path in sorted(folder.iterdir())]


def test_the_number_falls_as_simulated_cameras_are_turned(simulated):
    present = checked(simulated)
    assert all(alignment.ratio > 1.06 for alignment in present)
    assert middle(present, "share_worse") > 0.8
    all_off = []
    for degrees in (1, 2, 4):
        for side in (-1, 1):
            off = checked(simulated, degrees * side)
            assert middle(off) < middle(present) - 0.1
            assert middle(off) < 1.07
            all_off += off
    assert middle(all_off, "share_worse") < middle(present, "share_worse") - 0.2
    assert middle(checked(simulated, 4, UP)) < middle(present)


def test_the_words_say_which_way_simulated_cameras_are_off(simulated):
    assert not any(alignment.problem for alignment in checked(simulated))
    for degrees, side, words in ((1, 1, "1 degrees left"), (2, -1, "2 degrees right")):
        off = checked(simulated, degrees * side)
        assert all(alignment.best_turn == words for alignment in off)
        assert all(alignment.problem == f"seems off: points fit better {words}"
                   for alignment in off if alignment.known)


def test_the_number_falls_as_real_cameras_are_turned(real):
    present = checked(real)
    assert middle(present) > 1.12
    assert middle(present, "share_worse") > 0.8
    for degrees in (1, 2, 4):
        assert middle(checked(real, degrees)) < 1.05
        assert middle(checked(real, -degrees)) < 1.05
    assert middle(checked(real, 2, UP)) < middle(present) - 0.05
    for side in (-1, 1):
        slightly_off = checked(real, 0.5 * side)
        assert middle(slightly_off) < middle(present)
        assert middle(slightly_off, "gain") > 1.15


def wall_and_post(camera_from_lidar):
    """A post 10 m ahead, half a metre wide, before a wall at 30 m: points of a LiDAR's rings."""
    azimuth = np.radians(np.arange(-20, 20, 0.33))
    found = []
    for elevation in np.radians(np.arange(-4.0, 4.0, 1.33)):
        post = np.abs(10 * np.tan(azimuth)) < 0.25
        depth = np.where(post, 10.0, 30.0)
        found.append(np.stack([depth * np.tan(azimuth), depth,
                               depth / np.cos(azimuth) * np.tan(elevation)], axis=1))
    camera = PinholeCamera(800, 450, np.array([[600.0, 0, 400], [0, 600, 225], [0, 0, 1]]))
    return np.concatenate(found), Calibration(camera, camera_from_lidar)


def test_what_stands_out_before_a_wall_is_the_posts_sides():
    points, calibration = wall_and_post(rigid.from_rotation_translation(LEVEL, [0, 0, 0]))
    found = standing_out(points, calibration)
    assert len(found) >= 10
    np.testing.assert_allclose(found[:, 2], 10.0, atol=1e-4)
    assert (np.abs(found[:, 0]) > 0.05).all()


def test_a_camera_mounted_on_its_side_finds_the_same():
    on_its_side = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    points, level = wall_and_post(rigid.from_rotation_translation(LEVEL, [0, 0, 0]))
    _, lying = wall_and_post(rigid.from_rotation_translation(on_its_side @ LEVEL, [0, 0, 0]))
    lying = replace(lying, camera=PinholeCamera(
        800, 800, np.array([[600.0, 0, 400], [0, 600, 400], [0, 0, 1]])))
    np.testing.assert_allclose(standing_out(points, lying)[:, [1, 0, 2]] * [-1, 1, 1],
                               standing_out(points, level), atol=1e-9)


def test_no_cloud_no_points_and_black_pictures_say_nothing(simulated):
    frame = simulated[0]
    assert CalibrationCheck().add(replace(frame, lidar=None)) == {}
    empty = replace(frame, lidar=replace(frame.lidar, points=np.zeros((0, 5), np.float32)))
    black = replace(frame, images=tuple(replace(image, pixels=np.zeros_like(image.pixels))
                                        for image in frame.images))
    for found in (checked([empty]), checked([black] * 20)):
        assert found
        assert not any(alignment.known or alignment.problem for alignment in found)
        assert all("not known yet" in alignment.words for alignment in found)


def test_only_the_last_frames_count(simulated, monkeypatch):
    monkeypatch.setattr(calibration_check, "WINDOW", 2)
    check = CalibrationCheck()
    frame = simulated[0]
    check.add(turned(frame, 2, RIGHT))
    single = check.add(turned(frame, 2, RIGHT))
    assert single != check.add(frame) != check.add(frame)
    fresh = CalibrationCheck()
    fresh.add(frame)
    assert check.add(frame) == fresh.add(frame)


def test_the_number_is_a_ratio_to_the_turns_and_the_share_that_is_worse():
    turns = len(TURN_WORDS)
    strength = np.array([3.0, 4.0, *[2.0] * (turns - 1)]) * 500
    found = alignment_of(EdgeSums(strength, np.full(turns + 1, 500)))
    assert found.ratio == pytest.approx(3.0 / ((4.0 + 2.0 * (turns - 1)) / turns))
    assert found.share_worse == pytest.approx((turns - 1) / turns)
    assert (found.best_turn, found.gain) == (TURN_WORDS[0], pytest.approx(4 / 3))
    assert found.problem == "seems off: points fit better 0.5 degrees up"
