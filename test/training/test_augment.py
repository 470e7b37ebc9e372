"""What moves the world moves the cameras: a point on an object stays on its pixel."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_frames import MadeUpFrames, make_frame, small_config

from aqr_perception.model.inputs import prepare
from aqr_perception.training.augment import (
    Augmentation,
    augment_frame,
    draw_worlds,
    move_batch,
    move_targets,
)
from aqr_perception.training.dataset import StepDataset, targets_of
from aqr_perception.types import Controls, Mounting

STRONG = Augmentation(yaw=0.785, mirror=True, no_images=0, no_lidar=0, some_images=0)


def pixels_of(batch, points):
    """(V, N, 2) pixels and (V, N) depth of model-frame points (N, 3) in the first frame."""
    homogeneous = torch.cat([points, torch.ones(len(points), 1)], dim=1)
    projected = homogeneous @ batch.image_from_lidar[0].transpose(1, 2)
    return projected[..., :2] / projected[..., 2:3], projected[..., 2]


@pytest.mark.parametrize("seed", range(6))
def test_world_and_projection_move_together(seed):
    frame, annotations = make_frame(seed)
    config, mounting = small_config(), Mounting()
    batch = prepare([frame], config, mounting, Controls())
    targets = targets_of(annotations, mounting, config.detection_range)
    worlds = draw_worlds(STRONG, [np.random.default_rng(seed)])
    moved, moved_targets = move_batch(batch, worlds), move_targets([targets], worlds)
    before, depth = pixels_of(batch, targets.boxes[:, :3])
    after, moved_depth = pixels_of(moved, moved_targets[0].boxes[:, :3])
    assert not torch.allclose(targets.boxes, moved_targets[0].boxes, atol=0.1)
    front = depth > 1
    torch.testing.assert_close(before[front], after[front], atol=0.05, rtol=1e-3)
    torch.testing.assert_close(depth, moved_depth, atol=1e-3, rtol=1e-3)


def test_a_camera_that_nobody_knows_stays_unknown():
    """Its matrix says so, and a network that fills absent cameras with black asks it."""
    frame, _ = make_frame(0)
    frame = replace(frame, images=(frame.images[0], None))
    batch = prepare([frame], small_config(), Mounting(), Controls())
    moved = move_batch(batch, draw_worlds(STRONG, [np.random.default_rng(0)]))
    assert not torch.equal(moved.image_from_lidar[0, 0], batch.image_from_lidar[0, 0])
    assert torch.equal(moved.image_from_lidar[0, 1], torch.eye(4))


@pytest.mark.parametrize("seed", range(6))
def test_points_stay_in_their_boxes_and_headings_and_speeds_turn(seed):
    frame, annotations = make_frame(seed)
    config, mounting = small_config(), Mounting()
    batch = prepare([frame], config, mounting, Controls())
    targets = targets_of(annotations, mounting, config.detection_range)
    worlds = draw_worlds(STRONG, [np.random.default_rng(seed)])
    moved, (after,) = move_batch(batch, worlds), move_targets([targets], worlds)

    def local(points, boxes):
        offset = points[:, None, :2] - boxes[:, :2]
        cosine, sine = boxes[:, 6].cos(), boxes[:, 6].sin()
        along = cosine * offset[..., 0] + sine * offset[..., 1]
        across = -sine * offset[..., 0] + cosine * offset[..., 1]
        return along.abs() / boxes[:, 3], across.abs() / boxes[:, 4]

    for first, second in zip(local(batch.points, targets.boxes), local(moved.points, after.boxes)):
        torch.testing.assert_close(first, second, atol=2e-3, rtol=1e-3)
    scale = after.boxes[:, 3] / targets.boxes[:, 3]
    speed = after.boxes[:, 7:].norm(dim=1) / targets.boxes[:, 7:].norm(dim=1)
    torch.testing.assert_close(scale, speed, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("seed", range(8))
def test_a_cut_or_mirrored_picture_keeps_objects_on_their_pixels(seed):
    frame, annotations = make_frame(seed)
    plain = Augmentation(color=0, image_noise=0, image_blur=0, intensity=0, point_dropout=0,
                         point_noise=0, no_images=0, no_lidar=0, some_images=0, crop=0.7)
    changed = augment_frame(frame, plain, np.random.default_rng(seed))
    for old, new in zip(frame.images, changed.images):
        centers = annotations.boxes.center.astype(np.float64)
        for center in centers:
            at = {}
            for key, image in (("old", old), ("new", new)):
                pose = image.calibration.camera_from_lidar
                pixel, visible = image.calibration.camera.project(
                    (pose[:3, :3] @ center + pose[:3, 3])[None])
                if visible[0]:
                    column, row = np.round(pixel[0]).astype(int)
                    at[key] = image.pixels[row, column]
            if len(at) == 2:
                np.testing.assert_array_equal(at["old"], at["new"])


def test_shares_of_left_out_sensors_are_those_asked_for():
    frame, _ = make_frame(0)
    settings = Augmentation(no_images=0.2, no_lidar=0.3, some_images=0.1)
    present = np.array([augment_frame(frame, settings, np.random.default_rng(i)).present
                        for i in range(1500)])
    assert abs((~present[:, 1:].any(axis=1)).mean() - 0.2) < 0.03
    assert abs((~present[:, 0]).mean() - 0.3) < 0.035
    assert abs((present[:, 1:].sum(axis=1) == 1).mean() - 0.1) < 0.025
    assert present.any(axis=1).all()


def test_a_step_follows_from_seed_and_number_alone():
    def make(batch_size, rank=0, processes=1, seed=5):
        return StepDataset(MadeUpFrames(7), small_config(), Mounting(), batch_size, 10, seed,
                           Augmentation(), rank, processes)

    whole, again = make(8), make(8)
    again[3]  # another order of asking
    assert torch.equal(whole[9].batch.images, again[9].batch.images)
    halves = [make(4, rank, 2)[9] for rank in range(2)]
    assert torch.equal(torch.cat([half.batch.images for half in halves]), whole[9].batch.images)
    assert torch.equal(torch.cat([half.batch.points for half in halves]), whole[9].batch.points)
    assert not torch.equal(make(8, seed=6)[9].batch.images, whole[9].batch.images)


def test_an_epoch_visits_every_frame_once():
    dataset = StepDataset(MadeUpFrames(7), small_config(), Mounting(), 1, 21, 0)
    order = [dataset._frame_at(position) for position in range(21)]
    for epoch in range(3):
        assert sorted(order[7 * epoch:7 * epoch + 7]) == list(range(7))
    assert order[:7] != order[7:14]


def test_a_cloud_of_several_sweeps_sometimes_loses_the_older_ones():
    frame, _ = make_frame(0)
    points = np.tile(frame.lidar.points, (4, 1))
    points[:, 4] = np.repeat(np.arange(4) * 0.1, len(frame.lidar.points))
    several = replace(frame, lidar=replace(frame.lidar, points=points))
    settings = replace(STRONG, fewer_sweeps=0.5, point_dropout=0)
    left = [len(np.unique(augment_frame(several, settings, np.random.default_rng(seed)
                                        ).lidar.points[:, 4])) for seed in range(200)]
    assert 0.35 < np.mean(np.array(left) < 4) < 0.65
    assert {1, 2, 3} < set(left)
    alone = augment_frame(frame, replace(settings, fewer_sweeps=1), np.random.default_rng(0))
    assert len(alone.lidar.points) == len(frame.lidar.points)
