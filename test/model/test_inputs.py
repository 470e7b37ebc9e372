from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from rig import camera, make_frame

from aqr_perception.geometry.camera import PinholeCamera
from aqr_perception.model.config import cmt_r50, cmt_vov99, tiny
from aqr_perception.model.inputs import network_camera, prepare, to_device
from aqr_perception.types import Calibration, CameraImage, Controls, Gains, LidarCloud, Mounting

NUSCENES = PinholeCamera(1600, 900, np.array([[1266.4, 0, 816.3], [0, 1266.4, 491.5], [0, 0, 1]]))


@pytest.mark.parametrize(("preset", "scale", "scaled", "crop"), [
    (cmt_r50, 0.5, (800, 450), (0, 130)), (cmt_vov99, 1.0, (1600, 900), (0, 260)),
    (tiny, 0.22, (352, 198), (0, 70))])
def test_nuscenes_pictures_are_cropped_as_published(preset, scale, scaled, crop):
    ideal, size, corner = network_camera(NUSCENES, preset().image)
    assert (size, corner) == (scaled, crop)
    np.testing.assert_allclose(ideal.intrinsics[0, 0], 1266.4 * scale)
    np.testing.assert_allclose(ideal.intrinsics[:2, 2],
                               [816.3 * scale - crop[0], 491.5 * scale - crop[1]])


@pytest.mark.parametrize("size", [(1936, 1216), (1600, 900), (1280, 960), (640, 480), (1000, 300)])
@pytest.mark.parametrize("preset", [tiny, cmt_r50])
def test_a_mark_lands_where_its_projection_says(preset, size):
    config, width, height = preset(), *size
    lens = PinholeCamera(width, height, np.array([[700.0, 0, width / 2], [0, 700.0, height / 2],
                                                  [0, 0, 1.0]]))
    mark = np.array([0.55 * width, 0.8 * height])
    pixels = np.zeros((height, width, 3), np.uint8)
    cv2.circle(pixels, tuple(mark.astype(int)), max(4, width // 60), (255, 255, 255), -1)
    frame = make_frame(views=1)
    image = replace(frame.images[0], pixels=pixels,
                    calibration=Calibration(lens, frame.images[0].calibration.camera_from_lidar))
    batch = prepare([replace(frame, images=(image,))], config, Mounting(), Controls())
    bright = batch.images[0, 0, 0].numpy()
    v, u = np.mgrid[:bright.shape[0], :bright.shape[1]]
    weight = bright - bright.min()
    found = np.array([(u * weight).sum(), (v * weight).sum()]) / weight.sum()
    camera_from_lidar = image.calibration.camera_from_lidar
    point = np.linalg.inv(camera_from_lidar) @ [*lens.unproject(mark[None], 10.0)[0], 1]
    projected = batch.image_from_lidar[0, 0].numpy() @ point
    np.testing.assert_allclose(projected[:2] / projected[2], found, atol=1.5)
    assert projected[2] == pytest.approx(10.0, abs=1e-4)


def test_images_are_normalised_in_bgr():
    frame = make_frame(size=(800, 450))
    flat = np.empty((450, 800, 3), np.uint8)
    flat[:] = (10, 120, 200)
    image = replace(frame.images[0], pixels=flat)
    batch = prepare([replace(frame, images=(image, *frame.images[1:]))], cmt_r50(), Mounting(),
                    Controls())
    assert batch.images.shape == (1, 4, 3, 320, 800)
    wanted = (np.array([10, 120, 200]) - [103.53, 116.28, 123.675]) / [57.375, 57.12, 58.395]
    np.testing.assert_allclose(batch.images[0, 0, :, 100, 100], wanted, rtol=1e-5)


@pytest.mark.parametrize("preset", [tiny, cmt_r50])
def test_a_weak_distortion_changes_little(preset):
    rng = np.random.default_rng(0)
    pixels = cv2.GaussianBlur(rng.integers(0, 256, (900, 1600, 3), dtype=np.uint8), (0, 0), 12)
    straight = camera(1600, 900, 1260.0)
    bent = camera(1600, 900, 1260.0, distortion=np.array([1e-7, 0, 0, 0, 0]))
    frame = make_frame(views=1)
    batches = []
    for lens in (straight, bent):
        image = CameraImage("front", 0, pixels, Calibration(
            lens, frame.images[0].calibration.camera_from_lidar))
        batches.append(prepare([replace(frame, images=(image,))], preset(), Mounting(), Controls()))
    one, other = (batch.images[0, 0] for batch in batches)
    assert (one - other).abs().max() < 0.05
    assert torch.equal(batches[0].image_from_lidar, batches[1].image_from_lidar)


def test_a_strong_distortion_is_straightened():
    width, height = 640, 480
    lens = camera(width, height, 400.0, distortion=np.array([-0.25, 0.05, 0.0, 0.0]))
    ray = np.array([[0.35, 0.2, 1.0]])
    spot, visible = lens.project(ray)
    assert visible.all()
    pixels = np.zeros((height, width, 3), np.uint8)
    cv2.circle(pixels, tuple(np.round(spot[0]).astype(int)), 8, (255, 255, 255), -1)
    frame = make_frame(views=1)
    image = CameraImage("front", 0, pixels, Calibration(
        lens, frame.images[0].calibration.camera_from_lidar))
    config = replace(cmt_r50(), image=replace(cmt_r50().image, width=640, height=480))
    batch = prepare([replace(frame, images=(image,))], config, Mounting(), Controls())
    bright = batch.images[0, 0, 0].numpy()
    wanted = ray[0, :2] * 400 + [width / 2, height / 2]
    found = np.argwhere(bright > bright.max() - 0.1).mean(axis=0)[::-1]
    assert np.hypot(*(found - wanted)) < 1.5


def test_points_come_into_the_model_frame_and_range():
    frame = make_frame()
    points = np.array([[10, 2, 0.5, 0.5, 0.1], [np.nan, 0, 0, 0, 0], [0, 0, 30, 0, 0],
                       [60, 0, 0, 0, 0], [0, 0, np.inf, 0, 0], [10, 2, 0, np.nan, 0],
                       [10, 2, 0, 0, np.inf]], np.float32)
    before = points.copy()
    frame = replace(frame, lidar=LidarCloud(frame.stamp_ns, points))
    batch = prepare([frame], cmt_r50(), Mounting(forward_axis="x", height=0.0), Controls())
    np.testing.assert_allclose(batch.points, [[-2, 10, 0.5 - 1.84, 127.5, 0.1]], rtol=1e-5)
    np.testing.assert_array_equal(points, before)
    assert prepare([frame], tiny(), Mounting(), Controls()).points[0, 3] == pytest.approx(0.5)


def test_projection_does_not_depend_on_the_mounting():
    frame, point = make_frame(), np.array([3.0, 8.0, 0.3, 1.0])
    seen = []
    for mounting in (Mounting(), Mounting("x", 0.7)):
        batch = prepare([frame], tiny(), mounting, Controls())
        projected = batch.image_from_lidar[0, 0].numpy() @ mounting.model_from_lidar @ point
        seen.append(projected[:2] / projected[2])
    np.testing.assert_allclose(*seen, rtol=1e-4)


def test_absent_sensors_are_masked():
    frame = make_frame()
    frame = replace(frame, lidar=None, images=(None, *frame.images[1:]))
    batch = prepare([frame], tiny(), Mounting(), Controls())
    assert batch.camera_present.tolist() == [[False, True, True, True]]
    assert batch.lidar_present.tolist() == [False]
    assert torch.equal(batch.image_from_lidar[0, 0], torch.eye(4))
    assert batch.points.shape == (0, 5)
    assert batch.images.isfinite().all()
    assert batch.ages.isfinite().all()


@pytest.mark.parametrize("points", [np.zeros((0, 5)), np.full((3, 5), 1000.0)])
def test_a_cloud_without_a_point_in_range_counts_as_absent(points):
    frame = make_frame()
    frame = replace(frame, lidar=LidarCloud(frame.stamp_ns, points.astype(np.float32)))
    assert prepare([frame], tiny(), Mounting(), Controls()).lidar_present.tolist() == [False]


def test_a_batch_holds_its_frames():
    frames = [make_frame(0), make_frame(1, points=300), replace(make_frame(2), lidar=None)]
    batch = prepare(frames, tiny(), Mounting(), Controls())
    singles = [prepare([frame], tiny(), Mounting(), Controls()) for frame in frames]
    assert torch.equal(batch.images, torch.cat([one.images for one in singles]))
    assert torch.equal(batch.points, torch.cat([one.points for one in singles]))
    assert batch.point_frame.bincount(minlength=3).tolist() == [len(s.points) for s in singles]
    assert (batch.point_frame.diff() >= 0).all()


def test_controls_reach_the_batch():
    controls = Controls(gains=Gains(lidar=0.5, camera=2.0, cameras={"back": 0.0}),
                        modulation_lidar=0.3, aqr_enabled=True)
    batch = prepare([make_frame()], tiny(), Mounting(), controls)
    assert batch.gains.tolist() == [[0.5, 2.0, 2.0, 0.0, 2.0]]
    np.testing.assert_allclose(batch.modulation, [[0.3, 1.0]])
    off = prepare([make_frame()], tiny(), Mounting(), replace(controls, aqr_enabled=False))
    assert off.modulation.tolist() == [[0.0, 0.0]]


def test_pose_of_the_model_frame():
    frame = make_frame()
    batch = prepare([frame, replace(frame, fixed_from_lidar=None)], tiny(), Mounting("x", 0.0),
                    Controls())
    model_from_lidar = Mounting("x", 0.0).model_from_lidar
    np.testing.assert_allclose(batch.fixed_from_model[0], np.linalg.inv(model_from_lidar),
                               atol=1e-12)
    assert batch.fixed_from_model[1].isnan().all()
    assert batch.fixed_from_model.dtype == torch.float64


def test_rigs_do_not_mix():
    with pytest.raises(ValueError, match="rigs of \\[3, 4\\] cameras; expected one rig"):
        prepare([make_frame(), make_frame(views=3)], tiny(), Mounting(), Controls())


def test_to_device_keeps_everything():
    batch = prepare([make_frame()], tiny(), Mounting(), Controls())
    moved = to_device(batch, torch.device("cpu"))
    assert all(torch.equal(getattr(batch, name), getattr(moved, name)) for name in vars(batch)
               if name != "fixed_from_model")
