from __future__ import annotations

import numpy as np
import pytest

from aqr_perception.geometry import rigid
from aqr_perception.geometry.boxes import Boxes3D, points_in_boxes
from aqr_perception.simulation import faults, point_damage
from aqr_perception.simulation.drive import Frame
from aqr_perception.simulation.fault_case import rotation
from aqr_perception.simulation.fault_labels import FaultLabels, clean_labels
from aqr_perception.types import SensorFrame

MULTICORRUPT = {"beams_reducing", "points_reducing", "missing_camera", "brightness", "dark",
                "motion_blur", "fog", "snow", "spatial_misalignment", "temporal_misalignment"}
NEVER_BLAMED_WHOLE = ("lidar_narrow", "lidar_ghosts",
                      "points_reducing", "lidar_jittered", "camera_dirty")
BLAMED_FROM = {"camera_blurred": 3, "camera_noisy": 3, "camera_decalibrated": 2, "lidar_rotated": 2,
               "all_cameras_rotated": 2, "lidar_empty": 2, "beams_reducing": 3,
               "lidar_objects_missing": 3}
"""Severity from which on leaving the sensor out helped on validation drives."""


@pytest.fixture(scope="module")
def frames(drive: list[Frame]) -> list[SensorFrame]:
    return [frame for frame, _ in drive]


def spoiled(frames: list[SensorFrame], name: str, severity: int, seed: int = 0, truth=None
            ) -> tuple[SensorFrame, FaultLabels]:
    return faults.apply(name, severity, frames, np.random.default_rng(seed), truth)


def contents(frame: SensorFrame) -> list[bytes]:
    found = [b"" if frame.lidar is None else frame.lidar.points.tobytes()]
    return found + [b"" if image is None else image.pixels.tobytes()
                    + image.calibration.camera_from_lidar.tobytes() for image in frame.images]


def test_multicorrupts_ten_are_among_them():
    assert set(faults.MULTICORRUPT) == MULTICORRUPT
    assert all(faults.FAULTS[name].name == name for name in faults.FAULTS)


@pytest.mark.parametrize("name", faults.FAULTS)
def test_every_fault_at_every_severity(frames: list[SensorFrame], drive: list[Frame], name: str):
    before = [contents(frame) for frame in frames]
    for severity in faults.SEVERITIES:
        frame, labels = spoiled(frames, name, severity, truth=drive[-1][1])
        again, _ = spoiled(frames, name, severity, truth=drive[-1][1])
        assert contents(frame) == contents(again)
        changed = np.array([a != b for a, b in zip(contents(frame), before[-1])])
        fault = faults.FAULTS[name]
        assert labels.fault == name
        assert labels.severity == severity
        assert labels.intact.shape == labels.leave_out.shape == (7,)
        assert ((labels.intact >= 0) & (labels.intact <= 1)).all()
        assert (labels.intact[~changed] == 1).all()  # nothing is blamed that was not touched
        assert (labels.intact[changed] < 1).all()
        assert not labels.leave_out[~changed].any()
        if fault.sensors != "both":
            assert not changed[1:].any() if fault.sensors == "lidar" else not changed[0]
        if fault.flagged:
            assert (changed == ~frame.present).all()
        else:
            assert frame.present.all()  # it is silent: nothing is absent,
            assert np.array_equal(frame.ages_s, frames[-1].ages_s)  # and stamps say nothing
        if name in NEVER_BLAMED_WHOLE:
            assert not labels.leave_out.any()
        if name in BLAMED_FROM:
            assert labels.leave_out.any() == (severity >= BLAMED_FROM[name])
    assert [contents(frame) for frame in frames] == before  # the input is untouched


@pytest.mark.parametrize("name", sorted(set(faults.FAULTS) - {
    "missing_camera", "temporal_misalignment", "spatial_misalignment"}))
def test_severity_grows(frames: list[SensorFrame], drive: list[Frame], name: str):
    left = [spoiled(frames, name, severity, truth=drive[-1][1])[1].intact.sum()
            for severity in faults.SEVERITIES]
    assert left[0] >= left[1] >= left[2]


@pytest.mark.parametrize("name", ["all_cameras_stale", "lidar_stale", "camera_frozen"])
def test_old_data_is_that_of_the_time(frames: list[SensorFrame], name: str):
    frame, labels = spoiled(frames, name, 1)
    old = frames[-2]  # half a second ago
    for k, hit in enumerate(labels.everywhere):
        if not hit:
            continue
        if k == 0:
            assert frame.lidar is not None
            assert old.lidar is not None
            assert np.array_equal(frame.lidar.points, old.lidar.points)
        else:
            image, before, now = frame.images[k - 1], old.images[k - 1], frames[-1].images[k - 1]
            assert image is not None
            assert before is not None
            assert now is not None
            assert np.array_equal(image.pixels, before.pixels)
            assert image.stamp_ns == now.stamp_ns
    assert labels.everywhere.sum() == {"all_cameras_stale": 6, "lidar_stale": 1,
                                       "camera_frozen": 1}[name]


def test_old_data_of_a_car_that_stands_need_not_be_left_out(frames: list[SensorFrame]):
    from dataclasses import replace
    pose = frames[-1].fixed_from_lidar
    standing = [replace(frame, fixed_from_lidar=pose) for frame in frames]
    assert not spoiled(standing, "lidar_stale", 2)[1].leave_out.any()
    unknown = [replace(frame, fixed_from_lidar=None) for frame in frames]
    assert spoiled(unknown, "lidar_stale", 2)[1].leave_out[0]


def test_without_a_history_nothing_is_stale(frames: list[SensorFrame]):
    for name, fault in faults.FAULTS.items():
        if fault.needs_history:
            frame, labels = spoiled(frames[-1:], name, 2)
            assert contents(frame) == contents(frames[-1])
            assert (labels.intact == 1).all()


@pytest.mark.parametrize("pair", faults.MATCHED_PAIRS)
def test_twins_show_the_same_disagreement(frames: list[SensorFrame], pair: tuple[str, str]):
    if pair[0] == "lidar_stale":
        lidar, cameras = (spoiled(frames, name, 1)[1] for name in pair)
        assert lidar.intact[0] == pytest.approx(cameras.intact[1])
        return
    for severity in faults.SEVERITIES:
        one, first = spoiled(frames, pair[0], severity, seed=9)
        two, second = spoiled(frames, pair[1], severity, seed=9)
        assert one.lidar is not None
        assert two.lidar is not None
        assert first.intact[0] == pytest.approx(second.intact[1])
        # But for what is the car itself, which turns with its sensor and is the same in both.
        cloud = frames[-1].lidar.points
        own = np.square(cloud[:, :3]).sum(1) < point_damage.OWN_BODY ** 2
        assert own.any()
        assert np.array_equal(one.lidar.points[own], two.lidar.points[own])
        points = np.flatnonzero(~own)[::97]
        for a, b in zip(one.images, two.images):
            assert a is not None
            assert b is not None
            # A point falls on the same pixel in both; only which of the two is right differs.
            in_a = rigid.transform_points(a.calibration.camera_from_lidar,
                                          one.lidar.points[points, :3].astype(np.float64))
            in_b = rigid.transform_points(b.calibration.camera_from_lidar,
                                          two.lidar.points[points, :3].astype(np.float64))
            assert np.abs(in_a - in_b).max() < 1e-4


def test_a_narrow_view_names_its_sector(frames: list[SensorFrame]):
    frame, labels = spoiled(frames, "lidar_narrow", 2)
    assert frame.lidar is not None
    assert frames[-1].lidar is not None
    places = frames[-1].lidar.points[:, :3].astype(np.float64)
    far = np.linalg.norm(places, axis=1) > point_damage.OWN_BODY
    kept = far.sum() - labels.damaged_at(places[far])[:, 0].sum()
    left = np.linalg.norm(frame.lidar.points[:, :3], axis=1) > point_damage.OWN_BODY
    assert kept == left.sum()
    ring = 20 * np.stack([np.cos(np.arange(0, 6.28, .01)), np.sin(np.arange(0, 6.28, .01)),
                          np.zeros(629 - 1)], 1)
    assert labels.damaged_at(ring)[:, 0].mean() == pytest.approx(.5, abs=.01)
    assert labels.intact_at(ring)[:, 0].mean() == pytest.approx(.5, abs=.01)
    assert not labels.leave_out_at(ring)[:, 1:].any()


def test_missing_objects_are_the_ones_without_points(frames: list[SensorFrame],
                                                     drive: list[Frame]):
    truth = drive[-1][1]
    frame, labels = spoiled(frames, "lidar_objects_missing", 2, truth=truth)
    assert frame.lidar is not None
    assert 0 < len(labels.missing) < len(truth)
    assert not points_in_boxes(frame.lidar.points, labels.missing).any()
    assert labels.damaged_at(labels.missing.center)[:, 0].all()
    everywhere = np.array([labels.damaged_at(center[None])[0, 0] for center in truth.boxes.center])
    left = points_in_boxes(frame.lidar.points, truth.boxes[~everywhere]).sum(1)
    assert (left >= .5 * truth.num_lidar_pts[~everywhere]).all()
    frame, labels = spoiled(frames, "lidar_objects_missing", 2)  # without truth: something is gone
    assert frame.lidar is not None
    assert frames[-1].lidar is not None
    assert len(frame.lidar.points) < len(frames[-1].lidar.points)
    assert len(labels.missing) == 14


def test_ghosts_have_points_where_the_labels_say(frames: list[SensorFrame]):
    frame, labels = spoiled(frames, "lidar_ghosts", 2)
    assert frame.lidar is not None
    assert frames[-1].lidar is not None
    before = len(frames[-1].lidar.points)
    assert np.array_equal(frame.lidar.points[:before], frames[-1].lidar.points)
    invented = frame.lidar.points[before:]
    assert points_in_boxes(invented, labels.ghosts, .1).any(axis=0).all()
    assert (points_in_boxes(invented, labels.ghosts, .1).sum(1) > 0).mean() > .8
    assert labels.leave_out_at(labels.ghosts.center)[:, 0].all()


def test_dirt_covers_the_pixels_it_names(frames: list[SensorFrame]):
    frame, labels = spoiled(frames, "camera_dirty", 2)
    clean = frames[-1]
    hit = [k for k, mask in enumerate(labels.image_damage) if mask is not None]
    assert len(hit) == 3
    for k in hit:
        image, before, mask = frame.images[k], clean.images[k], labels.image_damage[k]
        assert image is not None
        assert before is not None
        assert mask is not None
        assert .25 < mask.mean() < .55
        # A place behind a covered pixel is damaged for that camera, and for no other.
        row, column = (int(value[len(value) // 2]) for value in np.nonzero(mask))
        camera, pose = before.calibration.camera, before.calibration.camera_from_lidar
        place = rigid.transform_points(rigid.inverse(pose),
                                       camera.unproject(np.array([[column, row]]), 12.0))
        assert labels.damaged_at(place)[0, 1 + k]
        assert labels.intact_at(place)[0, 1 + k] == 0
        assert labels.intact_at(place)[0, 0] == 1


def test_beams_are_thinned_evenly(frames: list[SensorFrame]):
    cloud = frames[-1].lidar
    assert cloud is not None
    far = np.linalg.norm(cloud.points[:, :3], axis=1) > point_damage.OWN_BODY
    ring = np.tile(np.arange(32), len(cloud.points) // 32)[far]
    beams = point_damage.beams_of(cloud.points)[far]
    assert (beams == ring).mean() > .8  # the car's motion bends those nearby
    assert (np.abs(beams - ring) <= 1).mean() > .95
    for severity, keep in zip(faults.SEVERITIES, (16, 8, 4)):
        frame, _ = spoiled(frames, "beams_reducing", severity)
        assert frame.lidar is not None
        left = np.linalg.norm(frame.lidar.points[:, :3], axis=1) > point_damage.OWN_BODY
        assert left.sum() == ((beams - 1) % (32 // keep) == 0).sum()
        assert left.sum() == pytest.approx(far.sum() * keep / 32, rel=.25)


def test_points_are_reduced_by_share(frames: list[SensorFrame]):
    cloud = frames[-1].lidar
    assert cloud is not None
    for severity, share in zip(faults.SEVERITIES, (.2, .4, .6)):
        frame, _ = spoiled(frames, "points_reducing", severity)
        assert frame.lidar is not None
        assert len(frame.lidar.points) == pytest.approx((1 - share) * len(cloud.points), rel=.03)


def test_fog_takes_the_far_and_brings_the_near(frames: list[SensorFrame]):
    cloud = frames[-1].lidar
    assert cloud is not None
    farthest = []
    for severity in faults.SEVERITIES:
        frame, _ = spoiled(frames, "fog", severity)
        assert frame.lidar is not None
        farthest.append(np.quantile(np.linalg.norm(frame.lidar.points[:, :3], axis=1), .99))
        for image, before in zip(frame.images, frames[-1].images):
            assert image is not None
            assert before is not None
            assert image.pixels.std() < before.pixels.std()
    clear = np.quantile(np.linalg.norm(cloud.points[:, :3], axis=1), .99)
    assert clear > farthest[0] > farthest[1] > farthest[2]


def test_a_rotated_lidar_is_off_by_the_angle(frames: list[SensorFrame]):
    frame, labels = spoiled(frames, "lidar_rotated", 3)
    assert frame.lidar is not None
    assert frames[-1].lidar is not None
    a, b = frames[-1].lidar.points[:, :2], frame.lidar.points[:, :2]
    turn = rigid.wrap_angle(np.arctan2(b[:, 1], b[:, 0]) - np.arctan2(a[:, 1], a[:, 0]))
    far = np.hypot(*a.T) > 5
    assert np.abs(np.degrees(np.abs(turn[far])) - 40).max() < .1
    assert labels.leave_out[0]


def test_a_fault_leaves_out_what_is_already_absent(frames: list[SensorFrame]):
    deaf, _ = spoiled(frames, "lidar_absent", 1)
    blind, _ = spoiled(frames, "all_cameras_absent", 1)
    for name in faults.FAULTS:
        for bare in (deaf, blind):
            frame, labels = spoiled([*frames[:-1], bare], name, 2)
            assert not (frame.present & ~bare.present).any()
            assert (labels.intact[~bare.present] == 0).all()
            assert not labels.leave_out[~bare.present].any()


def test_what_is_asked_for_wrongly_is_named(frames: list[SensorFrame]):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="fault is 'rain'; expected one of lidar_absent"):
        faults.apply("rain", 1, frames, rng)
    with pytest.raises(ValueError, match="severity of 'fog' is 4"):
        faults.apply("fog", 4, frames, rng)
    with pytest.raises(ValueError, match="no frame"):
        faults.apply("fog", 1, [], rng)
    frame, labels = faults.apply("none", 1, frames, rng)
    assert frame is frames[-1]
    assert labels.fault == "none"


def test_labels_of_a_clean_frame(frames: list[SensorFrame]):
    labels = clean_labels(frames[-1])
    places = np.random.default_rng(0).uniform(-30, 30, (20, 3))
    assert (labels.intact_at(places) == 1).all()
    assert not labels.leave_out_at(places).any()
    assert labels.damaged_at(np.zeros((0, 3))).shape == (0, 7)


def test_rotation_turns_by_its_length():
    turned = rotation(np.array([0, 0, np.pi / 2]))[:3, :3] @ [1, 0, 0]
    assert np.allclose(turned, [0, 1, 0])
    assert np.array_equal(rotation(np.zeros(3)), np.eye(4))


def test_nothing_in_the_cloud_gives_no_places():
    empty = np.zeros((0, 5), np.float32)
    assert len(point_damage.picked_places(empty, 3, np.random.default_rng(0))) == 0
    assert len(point_damage.without_objects(empty, Boxes3D.empty())) == 0
    assert len(point_damage.fewer_beams(empty, 8)) == 0


def test_what_moves_is_missing_from_the_sweeps_before_too():
    here, gone = [20.0, 0, 0, .1, 0], [19.0, 0, 0, .1, .1]
    elsewhere = [17.0, 0, 0, .1, .1]  # where nobody was 0.1 s ago
    box = Boxes3D(np.array([[20, 0, 0]], np.float32), np.full((1, 3), 1.5, np.float32),
                  np.zeros(1, np.float32), np.array([[10, 0]], np.float32))
    left = point_damage.without_objects(np.array([here, gone, elsewhere], np.float32), box)
    assert left.tolist() == pytest.approx(np.array([elsewhere], np.float32))


def test_ghosts_stand_in_every_sweep():
    points = np.zeros((40, 5), np.float32)
    points[:, 0], points[:, 2], points[20:, 4] = 30, -1.8, .1
    out, boxes = point_damage.with_ghosts(points, 3, np.random.default_rng(0))
    for age in np.unique(points[:, 4]):
        added = out[40:][out[40:, 4] == age]
        assert (points_in_boxes(added, boxes, .1).sum(1) > 0).all()
