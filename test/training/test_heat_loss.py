from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from aqr_perception.training.heat_loss import (
    DEPTH_WEIGHT,
    OFFSET_WEIGHT,
    RARE,
    bev_target,
    heat_loss,
    image_offset_loss,
    image_target,
    offset_loss,
    spot_loss,
)
from aqr_perception.training.targets import Targets
from aqr_perception.types import CLASS_NAMES, Batch, Heat

RANGE = (-54.0, -54.0, -5.0, 54.0, 54.0, 3.0)
# x right, y forward, z up → x right, y down, z forward; 100 px focal length, 160×96 image.
PROJECTION = torch.tensor([[100.0, 80.0, 0.0, 0.0], [0.0, 48.0, -100.0, 0.0],
                           [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])


def targets(*boxes):
    rows = [[*center, *size, 0.0, 0.0, 0.0] for center, size, _ in boxes]
    return Targets(torch.tensor(rows).reshape(-1, 9),
                   torch.tensor([label for *_, label in boxes], dtype=torch.int64))


CAR = ((10.3, 20.2, -1.0), (4.5, 1.9, 1.6), 0)
MAN = ((11.0, 20.2, -1.0), (0.7, 0.7, 1.8), 8)


def test_a_spot_stands_in_the_cell_of_each_object():
    wanted = bev_target(targets(CAR, MAN), (90, 90), RANGE)
    row, column = int((20.2 + 54) / 1.2), int((10.3 + 54) / 1.2)
    assert wanted.shape == (90, 90, 10)
    assert (wanted == 1).nonzero().tolist() == [[row, column, 0],
                                                [row, int((11.0 + 54) / 1.2), 8]]
    assert 0.2 < wanted[row, column + 1, 0] < 1
    assert wanted[row + 10, column, 0] < 1e-6
    assert not wanted[..., 1].any()


def test_objects_outside_leave_no_spot():
    beyond = ((60.0, 0.0, 0.0), (4.5, 1.9, 1.6), 0)
    assert not (bev_target(targets(beyond), (90, 90), RANGE) == 1).any()
    assert not bev_target(targets(), (90, 90), RANGE).any()


def test_an_image_shows_the_spot_where_the_object_projects():
    wanted = image_target(targets(CAR, MAN), PROJECTION[None], (6, 10), (96, 160))
    u, v = 100 * 10.3 / 20.2 + 80, 48 + 100 * 1.0 / 20.2
    assert wanted.shape == (1, 6, 10, 10)
    assert wanted[0, int(v / 16), int(u / 16), 0] == 1
    behind = ((10.3, -20.2, -1.0), (4.5, 1.9, 1.6), 0)
    assert not image_target(targets(behind), PROJECTION[None], (6, 10), (96, 160)).any()


def test_the_loss_is_the_focal_loss_of_centernet():
    logits = torch.randn(2, 3, 4, 10, dtype=torch.float64)
    wanted = torch.rand_like(logits) * 0.9
    wanted[0, 1, 1, 3] = wanted[1, 2, 0, 5] = 1.0
    p = logits.sigmoid().numpy()
    cost = np.array([RARE.get(name, 1.0) for name in CLASS_NAMES])
    terms = np.where(wanted == 1, cost * (1 - p) ** 2 * np.log(p),
                     (1 - wanted.numpy()) ** 4 * p ** 2 * np.log(1 - p))
    both, first = torch.tensor([True, True]), torch.tensor([True, False])
    assert spot_loss(logits, wanted, both).tolist() == pytest.approx([-terms.sum(), 2])
    assert spot_loss(logits, wanted, first).tolist() == pytest.approx([-terms[0].sum(), 1])


def test_the_offset_is_taught_where_a_centre_lies():
    truth = [targets(CAR), targets(MAN, CAR)]
    exact = perfect(truth, make_batch()).offset
    both, first = torch.tensor([True, True]), torch.tensor([True, False])
    wrong, tokens = offset_loss(exact, truth, both, RANGE).tolist()
    assert wrong == pytest.approx(0.0, abs=1e-3)
    assert 14 < tokens < 30
    shifted = offset_loss(exact + torch.tensor([0.5, 0.0, -0.25]), truth, both, RANGE)
    assert shifted.tolist() == pytest.approx([OFFSET_WEIGHT * 0.75 * tokens, tokens], rel=1e-3)
    wrong, alone = offset_loss(exact + 1.0, truth, first, RANGE).tolist()
    assert wrong == pytest.approx(OFFSET_WEIGHT * 3 * alone, rel=1e-3)
    assert 6 < alone < tokens


def test_the_depth_of_the_nearest_is_taught_where_centres_project():
    behind = ((20.6, 40.4, -2.0), (4.5, 1.9, 1.6), 0)  # in the same pixel as CAR
    truth = [targets(behind, CAR), targets(MAN)]
    heat, batch = perfect(truth, make_batch()), make_batch()
    wrong, tokens = image_offset_loss(heat, truth, batch, (96, 160)).tolist()
    assert wrong == pytest.approx(0.0, abs=1e-4)
    assert 4 < tokens < 9
    off = replace(heat, image_offset=heat.image_offset + torch.tensor([0.25, 0.0, -0.5]))
    assert image_offset_loss(off, truth, batch, (96, 160)).tolist() == pytest.approx(
        [tokens * (0.25 + 0.5 * DEPTH_WEIGHT), tokens], rel=1e-4)
    dark = make_batch(camera=False)
    assert image_offset_loss(off, truth, dark, (96, 160)).tolist() == [0.0, 0.0]


def make_batch(frames=2, lidar=True, camera=True):
    return Batch(
        images=torch.zeros(frames, 1, 3, 96, 160),
        image_from_lidar=PROJECTION.expand(frames, 1, 4, 4),
        camera_present=torch.full((frames, 1), camera), points=torch.zeros(0, 5),
        point_frame=torch.zeros(0, dtype=torch.int64), lidar_present=torch.full((frames,), lidar),
        gains=torch.ones(frames, 2), modulation=torch.ones(frames, 2), ages=torch.zeros(frames, 2),
        fixed_from_model=torch.full((frames, 4, 4), torch.nan))


def perfect(truth, batch):
    """Logits that say exactly what is wanted."""
    bev = torch.stack([bev_target(frame, (90, 90), RANGE) for frame in truth])
    image = torch.stack([image_target(frame, PROJECTION[None], (6, 10), (96, 160))
                         for frame in truth])
    ground = torch.stack([torch.arange(90.0).expand(90, 90), torch.arange(90.0)[:, None].expand(
        90, 90)], dim=-1) * 1.2 + 0.6 - 54
    tokens = torch.stack([torch.arange(10.0).expand(6, 10), torch.arange(6.0)[:, None].expand(
        6, 10)], dim=-1) + 0.5
    offset, depth = torch.zeros(len(truth), 90, 90, 3), torch.zeros(len(truth), 1, 6, 10, 3)
    for number, frame in enumerate(truth):
        center = frame.boxes[:, :3]
        nearest = center[(ground[..., None, :] - center[:, :2]).norm(dim=-1).argmin(dim=-1)]
        offset[number] = nearest - F.pad(ground, (0, 1), value=-1.0)
        for x, y, z in sorted(center.tolist(), key=lambda box: -box[1]):
            place = torch.tensor([(100 * x / y + 80) / 16, (48 - 100 * z / y) / 16])
            near = (tokens - place).norm(dim=-1) <= 1
            wanted = F.pad(place - tokens, (0, 1), value=math.log(y * 160 / 100))
            depth[number, 0] = torch.where(near[..., None], wanted, depth[number, 0])
    return Heat(*(40 * (part == 1).float() - 20 for part in (bev, image)), (0,), offset, depth)


def test_a_perfect_answer_costs_nothing_and_a_flat_one_does():
    truth, batch = [targets(CAR), targets(MAN)], make_batch()
    heat = perfect(truth, batch)
    assert float(heat_loss(heat, truth, batch, RANGE)) < 0.1
    flat = Heat(torch.zeros_like(heat.bev), torch.zeros_like(heat.image), (0,), heat.offset,
                heat.image_offset)
    assert float(heat_loss(flat, truth, batch, RANGE)) > 10


def test_sensors_that_are_absent_are_not_taught():
    truth = [targets(CAR), targets(MAN)]
    heat = Heat(torch.randn(2, 90, 90, 10, requires_grad=True),
                torch.randn(2, 1, 6, 10, 10, requires_grad=True), (0,),
                torch.randn(2, 90, 90, 3, requires_grad=True),
                torch.randn(2, 1, 6, 10, 3, requires_grad=True))
    heat_loss(heat, truth, make_batch(lidar=False), RANGE).backward()
    assert not heat.bev.grad.any()
    assert heat.offset.grad is None or not heat.offset.grad.any()
    assert heat.image.grad.any()
    assert heat.image_offset.grad.any()
    nothing = Heat(torch.zeros(2, 0, 0, 10), torch.zeros(2, 0, 0, 0, 10), (),
                   torch.zeros(2, 0, 0, 3), torch.zeros(2, 0, 0, 0, 3))
    assert float(heat_loss(nothing, truth, make_batch(), RANGE)) == 0


def test_no_object_is_no_error():
    batch = make_batch()
    heat = Heat(torch.full((2, 90, 90, 10), -20.0), torch.full((2, 1, 6, 10, 10), -20.0), (0,),
                torch.ones(2, 90, 90, 3), torch.ones(2, 1, 6, 10, 3))
    loss = heat_loss(heat, [targets(), targets()], batch, RANGE)
    assert float(loss) == pytest.approx(0.0, abs=1e-6)
    assert F.softplus(torch.tensor(-20.0)) > 0
