from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from aqr_perception.geometry import rigid
from aqr_perception.geometry.boxes import points_in_boxes
from aqr_perception.simulation.drive import DriveSettings, Frame, simulate_drive
from aqr_perception.simulation.rig import load_rig

PROGRAM = """
import sys
sys.path[:0] = {path!r}
from digests import digest
from aqr_perception.simulation.drive import simulate_drive
from aqr_perception.simulation.rig import load_rig
print(digest(list(simulate_drive(5, 3, load_rig().resized(176, 64)))))
"""


def test_another_process_gives_the_same_bytes(drive: list[Frame], request):
    from digests import digest

    program = PROGRAM.format(path=[str(request.path.parent), *sys.path])
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                           check=True, env={"PYTHONHASHSEED": "12345", "OMP_NUM_THREADS": "2"})
    assert there.stdout.strip() == digest(drive)


def test_another_seed_gives_another_drive(drive: list[Frame]):
    other = next(iter(simulate_drive(6, 3, load_rig().resized(176, 64),
                                     DriveSettings(images=False))))
    first = drive[0][0].lidar
    assert first is not None
    assert other[0].lidar is not None
    assert hashlib.sha256(first.points.tobytes()).digest() != hashlib.sha256(
        other[0].lidar.points.tobytes()).digest()


def test_a_frame_holds_what_it_says(drive: list[Frame]):
    frame, truth = drive[1]
    assert frame.present.all()
    assert frame.stamp_ns - drive[0][0].stamp_ns == 500_000_000
    delays = [camera.delay_s for camera in load_rig().cameras]
    assert np.allclose(frame.ages_s[1:], -np.array(delays), atol=1e-6)
    assert frame.lidar is not None
    assert frame.lidar.points.shape == (1084 * 32, 5)
    counted = points_in_boxes(frame.lidar.points, truth.boxes).sum(1)
    assert (counted == truth.num_lidar_pts).all()
    assert ((truth.visibility >= 0) & (truth.visibility <= 1)).all()
    assert len(np.unique(truth.track_ids)) == len(truth)
    assert (np.hypot(*truth.boxes.center[:, :2].T) < DriveSettings().reach).all()


def test_pictures_without_rendering_leave_the_truth_as_it_is(drive: list[Frame]):
    settings = DriveSettings(images=False)
    frame, truth = next(iter(simulate_drive(5, 3, load_rig().resized(176, 64), settings)))
    assert frame.images == (None,) * 6
    first, expected = drive[0]
    assert first.lidar is not None
    assert frame.lidar is not None
    assert (frame.lidar.points == first.lidar.points).all()
    assert (truth.num_lidar_pts == expected.num_lidar_pts).all()


def test_tracks_move_as_their_velocities_say(drive: list[Frame]):
    (before, old), (after, new) = drive[0], drive[1]
    assert before.fixed_from_lidar is not None
    assert after.fixed_from_lidar is not None
    _, first, second = np.intersect1d(old.track_ids, new.track_ids, return_indices=True)
    assert (old.labels[first] == new.labels[second]).all()
    assert np.allclose(old.boxes.size[first], new.boxes.size[second])
    start = old.boxes[first].transformed(before.fixed_from_lidar)
    end = new.boxes[second].transformed(after.fixed_from_lidar)
    moved = (end.center - start.center)[:, :2]
    mean = (start.velocity + end.velocity) / 2
    assert np.abs(moved - .5 * mean).max() < .12  # the LiDAR leans; the road may bend
    assert (np.linalg.norm(start.velocity, axis=1) > 1).sum() >= 3


def test_calibration_includes_the_motion_between_the_stamps(drive: list[Frame]):
    (frame, _), (later, _) = drive[0], drive[1]
    assert frame.fixed_from_lidar is not None
    assert later.fixed_from_lidar is not None
    speed = np.linalg.norm(later.fixed_from_lidar[:3, 3] - frame.fixed_from_lidar[:3, 3]) / .5
    still = load_rig()
    image = later.images[0]
    assert image is not None
    static = rigid.inverse(still.cameras[0].ego_from_camera) @ still.lidar.ego_from_lidar
    shift = image.calibration.camera_from_lidar[2, 3] - static[2, 3]
    # The front camera exposed 35 ms earlier, farther back, so the LiDAR lay farther ahead.
    assert abs(shift - speed * .0355) < .15 + .1 * speed * .0355


def test_sweeps_before_a_frame_change_nothing_else_and_lie_on_what_stands():
    settings = DriveSettings(images=False, sweeps=3)
    rig = load_rig().resized(176, 64)
    several = simulate_drive(5, 3, rig, settings)
    single = simulate_drive(5, 3, rig, DriveSettings(images=False))
    for (frame, truth), (alone, _) in zip(several, single):
        assert frame.lidar is not None
        assert alone.lidar is not None
        points = frame.lidar.points
        assert np.unique(points[:, 4]) == pytest.approx([0, .1, .2])
        assert (points[points[:, 4] == 0] == alone.lidar.points).all()
        standing = truth.boxes[(np.hypot(*truth.boxes.velocity.T) == 0)
                               & (truth.num_lidar_pts > 20)]
        counts = [points_in_boxes(points[points[:, 4] == age], standing).sum(1)
                  for age in np.unique(points[:, 4])]
        assert len(standing)
        np.testing.assert_allclose(np.divide(counts[1:], counts[0]), 1, atol=.5)
