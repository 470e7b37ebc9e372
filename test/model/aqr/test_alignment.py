from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from rig import make_frame
from thin_networks import thin_tiny

from aqr_perception.geometry import rigid
from aqr_perception.model.aqr.alignment import (
    FADING,
    Alignment,
    as_it_came,
    carried,
    moved_back,
    moved_cloud,
    put_right,
    settled,
    suspected,
    to_blame,
)
from aqr_perception.model.aqr.config import AqrConfig, GateConfig
from aqr_perception.model.aqr.fitting import search
from aqr_perception.model.aqr.plane import (
    APART,
    LEAST_MOTION,
    POSES,
    after,
    driven_on,
    matrices,
    of_places,
    undone,
)
from aqr_perception.model.aqr.statistics import plain_facts
from aqr_perception.model.checkpoint import untrained
from aqr_perception.model.inputs import prepare
from aqr_perception.model.tokens import as_known
from aqr_perception.types import Controls, Mounting

STEP = torch.tensor([[0.1, -0.3, -2.0], [0.0, 0.0, -3.0]])
"""Motions of two cars since the frame before."""


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    return untrained(replace(thin_tiny(), aqr=AqrConfig(mode="gate"))).eval()


def frames(*poses):
    """Frames of one scene, seen from so many poses of the car."""
    return [replace(make_frame(), fixed_from_lidar=pose) for pose in poses]


def batch_of(detector, *poses):
    return prepare(frames(*poses), detector.config, Mounting(), Controls())


def scene_of(detector, batch):
    batch, selection, _ = as_known(batch, detector.config)
    return detector.decoder.scene(detector.tokenizer(batch, selection), batch, None)


def path_of(*steps):
    """The path of cars that made these steps (B, 3), the newest last."""
    path = steps[0].new_zeros(len(steps[0]), POSES, 4)
    for step in steps:
        path = driven_on(path, step)
    return path


def random_motions(count):
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(1)).double()


def test_motions_follow_each_other_as_their_matrices_do():
    first, second = random_motions(8).split(4)
    torch.testing.assert_close(matrices(after(second, first)), matrices(second) @ matrices(first))
    torch.testing.assert_close(matrices(undone(first)), torch.linalg.inv(matrices(first)))


def test_a_way_is_driven_as_the_car_drives():
    step = STEP.double()
    way = step[:, 1:].norm(dim=1)

    def driven(share):
        places = torch.nn.functional.pad((share * way)[:, None, None], (1, 1))
        return matrices(of_places(places, path_of(step))[:, 0])

    torch.testing.assert_close(driven(1.0), matrices(step))
    torch.testing.assert_close(driven(0.5) @ driven(0.5), matrices(step))
    torch.testing.assert_close(driven(-2.0) @ driven(1.5) @ driven(0.5), torch.eye(4).double()
                               .expand(2, -1, -1))
    other = of_places(torch.tensor([[[0.3, 0, 0]], [[0.0, 0, 1.5]]]).double(), path_of(step))
    torch.testing.assert_close(other, torch.tensor([[[0.3, 0, 0]], [[0.0, 1.5, 0]]]).double())


def test_a_car_that_stands_has_driven_no_way():
    step = torch.tensor([[0.3, LEAST_MOTION / 2, 0.0]])
    found = of_places(torch.tensor([[[0.0, 12.0, 0.0], [0.2, -3.0, 0.0]]]), path_of(step))
    torch.testing.assert_close(found, torch.tensor([[[0.0, 0, 0], [0.2, 0, 0]]]))


def test_a_way_runs_through_the_poses_that_the_car_had_and_then_on():
    """Round a bend, then straight on, then not at all."""
    straight, bend, none = (torch.tensor([step]).double() for step in (
        [0.0, 0.0, -4.0], [0.5, 0.0, -2.0], [0.0, 0.0, 0.0]))
    path = path_of(straight, bend, none)

    def driven(way):
        return matrices(of_places(torch.tensor([[[0.0, way, 0.0]]]).double(), path)[:, 0])

    torch.testing.assert_close(driven(2.0), matrices(bend))
    torch.testing.assert_close(driven(1.0) @ driven(1.0), matrices(bend))
    torch.testing.assert_close(driven(6.0), matrices(after(straight, bend)))
    torch.testing.assert_close(driven(4.0), matrices(after(straight / 2, bend)))
    torch.testing.assert_close(driven(14.0), matrices(after(3 * straight, bend)))
    torch.testing.assert_close(driven(-4.0) @ driven(4.0), torch.eye(4).double()[None])


@pytest.mark.parametrize("step", [0.05, 0.3, APART, 2.5])
def test_a_path_reaches_as_far_back_whatever_the_rate_of_the_frames(step):
    path = path_of(*[torch.tensor([[0.0, 0.0, -step]]).double()] * 800)
    driven = path[0, :, 3]
    assert float(driven[-1]) > POSES * APART - 2 * step
    assert (driven.diff() >= APART - 1e-9).all()
    torch.testing.assert_close(path[0, :, 2], -driven)


def test_what_is_not_known_repeats_the_oldest_that_is():
    path = path_of(STEP, 2 * STEP)
    torch.testing.assert_close(path[:, 1, :3], after(STEP, 2 * STEP))
    assert path[:, 1:].eq(path[:, 1:2]).all()


def test_straight_on_is_the_limit_of_a_slight_bend():
    places = torch.tensor([[[0.0, 10.0, 0.0]]])
    straight, bend = (of_places(places, path_of(torch.tensor([[turn, 0.1, -2.0]])))
                      for turn in (0.0, 1.1e-3))
    torch.testing.assert_close(straight[..., 1:], bend[..., 1:], rtol=0.01, atol=0.06)


@pytest.mark.parametrize("lidar", [True, False])
def test_a_point_of_the_cloud_is_in_the_picture_where_it_was_and_its_box_comes_back(detector, lidar
                                                                                   ):
    """Of a cloud that is turned or old, and of one that was moved back by what was known before."""
    batch = batch_of(detector, np.eye(4), np.eye(4))
    scene = scene_of(detector, batch)
    blame = torch.tensor([lidar, lidar])
    place = torch.tensor([[0.4, 0.0, 0.0], [0.0, 9.0, -2.0]])
    prior = replace(as_it_came(scene), done=torch.tensor([[0.1, 1.0, 2.0], [0.0, 0.0, 0.0]]),
                    path=path_of(STEP))
    found = settled(place, blame, prior)
    right = put_right(scene, found).batch
    world = torch.tensor([[3.0, 21.0, -1.0, 1.0], [-7.0, 14.0, 0.5, 1.0]]).double()  # (B, 4)
    cloud = matrices(of_places(place[:, None], prior.path)[:, 0].double()) @ world[..., None]
    shown = (torch.linalg.inv(matrices(prior.done.double())) @ cloud)  # as the trunks saw it
    before = batch.image_from_lidar.double() @ world[:, None, :, None]
    torch.testing.assert_close(right.image_from_lidar.double() @ shown[:, None], before, rtol=1e-5,
                               atol=1e-4)
    truth = world if lidar else cloud[..., 0]
    boxes = torch.zeros(1, 2, 1, 10).double()
    boxes[0, :, 0, :2], boxes[0, :, 0, 4] = shown[:, :2, 0], shown[:, 2, 0]
    back = moved_back(boxes, found)
    torch.testing.assert_close(back[0, :, 0, :2], truth[:, :2], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(back[0, :, 0, 4], truth[:, 2])
    poses = right.fixed_from_model @ torch.cat([boxes[0, :, 0, :2], shown[:, 2:, 0]], -1)[..., None]
    torch.testing.assert_close(poses[:, :2, 0], truth[:, :2], rtol=1e-5, atol=1e-5)


def test_headings_and_velocities_turn_with_their_boxes(detector):
    scene = scene_of(detector, batch_of(detector, np.eye(4)))
    found = replace(as_it_came(scene), back=torch.tensor([[math.pi / 2, 5.0, 0.0]]))
    box = torch.tensor([1.0, 2.0, .1, .2, .3, .4, math.sin(.3), math.cos(.3), 3.0, 4.0])
    back = moved_back(box.expand(1, 1, 1, 10), found)[0, 0, 0]
    expected = [3.0, 1.0, .1, .2, .3, .4, math.sin(.3 + math.pi / 2), math.cos(.3 + math.pi / 2),
                -4.0, 3.0]
    torch.testing.assert_close(back, torch.tensor(expected), rtol=1e-5, atol=1e-6)


def test_a_cloud_is_moved_back_frame_by_frame(detector):
    batch = batch_of(detector, np.eye(4), np.eye(4))
    scene = scene_of(detector, batch)
    done = torch.tensor([[0.5, 1.0, -2.0], [0.0, 0.0, 0.0]])
    moved = moved_cloud(batch, replace(as_it_came(scene), done=done))
    there = batch.point_frame == 0
    assert torch.equal(moved.points[~there], batch.points[~there])
    homogeneous = torch.cat([batch.points[there, :3].double(),
                             torch.ones(int(there.sum()), 1).double()], 1)
    expected = homogeneous @ torch.linalg.inv(matrices(done[0].double())).T
    torch.testing.assert_close(moved.points[there, :3].double(), expected[:, :3], rtol=1e-4,
                               atol=1e-4)
    assert torch.equal(moved.points[:, 3:], batch.points[:, 3:])


def known(scene, **changes):
    return replace(as_it_came(scene), **changes)


def test_what_was_found_goes_on_with_the_car(detector):
    """A turned cloud, old pictures; a frame too far away; and one over which AQR has no say."""
    ahead = rigid.from_xyz_yaw(4.0, 0.0, 0.0, 0.0)
    far = rigid.from_xyz_yaw(400.0, 0.0, 0.0, 0.0)
    poses = [ahead, ahead, far, ahead]
    batch = batch_of(detector, *poses)
    batch = replace(batch, modulation=torch.tensor([[1.0, 1.0]] * 3 + [[0.0, 1.0]]))
    scene = scene_of(detector, batch_of(detector, *[np.eye(4)] * 4))
    before = known(scene, place=torch.tensor([[.3, 0, 0], [0, -6.0, 0], [.3, 0, 0], [.3, 0, 0]]),
                   lidar=torch.tensor([True, False, True, True]),
                   fixed_from_model=scene.batch.fixed_from_model)
    found = carried(batch, before, torch.ones(4, dtype=torch.bool), 20.0)
    torch.testing.assert_close(found.path[:, 0, 3], torch.tensor([4.0, 4.0, 0.0, 0.0]))
    torch.testing.assert_close(found.place, torch.tensor([[.3, 0, 0], [0, -6.0, 0], [0, 0, 0],
                                                          [0, 0, 0]]))
    assert found.lidar.tolist() == [True, False, False, False]
    torch.testing.assert_close(found.done, torch.tensor([[.3, 0, 0], [0, 0, 0], [0, 0, 0],
                                                         [0, 0, 0]]))
    assert found.motion[0].eq(0).all()
    assert found.motion[1, 1:].norm() == pytest.approx(6.0, abs=1e-4)
    assert not found.back.any()


@pytest.mark.parametrize(("place", "done"), [
    ([0.0, 0.0, 0.0], [0.0, 0, 0]), ([math.radians(15), 0.0, 0.0], [0.0, 0, 0]),
    ([math.radians(-38), 0.0, 0.0], [math.radians(-5), 0, 0]), ([0.0, 6.4, 0.0], [0.0, 0, 0]),
    ([0.0, -13.0, 0.0], [0.0, 0, 0]), ([math.radians(2), 0.0, 3.0], [0.0, 0, 0])])
def test_the_place_is_found(detector, place, done):
    """Pictures that show just what lies along their rays in a cloud that lies elsewhere."""
    descriptors = detector.decoder.router.descriptors
    path = path_of(torch.tensor([[0.05, -0.2, -2.5]]))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        scene = scene_of(detector, batch_of(detector, np.eye(4)))
        maps = descriptors(scene, plain_facts(scene).occupancy)
        smooth = torch.nn.functional.avg_pool2d(torch.randn(maps.bev.shape, generator=generator),
                                                5, 1, 2)
        maps = replace(maps, bev=10 * smooth)
        true = of_places(torch.tensor([[place]]), path)[:, 0]
        shown = after(undone(torch.tensor([done])), true)
        rays = (maps.rays @ matrices(shown)[0, :3, :3].T) + matrices(shown)[0, :3, 3]
        maps = replace(maps, columns=descriptors.lidar_columns(maps.bev, rays,
                                                               scene.detection_range))
        prior = known(scene, done=torch.tensor([done]), path=path)
        found, level, moved = search(scene, maps, prior, torch.tensor([True]), None, descriptors)
        motion = of_places(found[:, None], path)[:, 0]
    angle = torch.linspace(0, 2 * math.pi, 24)
    ring = torch.stack([20 * angle.cos(), 20 * angle.sin(), 0 * angle, 0 * angle + 1])
    off = (matrices(motion) @ ring - matrices(true) @ ring).norm(dim=1)
    assert float(off.mean()) < 0.7, (found, place)
    assert float(level) > 0.8
    assert bool(found.any()) is any(place)
    assert not moved


def test_what_hardly_fits_anywhere_stays_as_it_came(detector):
    descriptors = detector.decoder.router.descriptors
    with torch.no_grad():
        scene = scene_of(detector, batch_of(detector, np.eye(4)))
        maps = descriptors(scene, plain_facts(scene).occupancy)
        columns = torch.nn.functional.normalize(torch.randn(maps.columns.shape), dim=-1)
        prior = known(scene, path=path_of(torch.tensor([[0.0, 0.0, -2.0]])))
        found, *_ = search(scene, replace(maps, columns=columns), prior, torch.tensor([True]), None,
                           descriptors)
    assert not found.any()


def test_of_agreement_with_pictures_that_tell_nothing_nothing_is_said(detector):
    scene = scene_of(detector, batch_of(detector, np.eye(4), np.eye(4)))
    facts = known(scene, told=torch.tensor([True, False]), level=torch.tensor([.6, .6])).facts
    assert facts[:, 4].isnan().tolist() == [False, True]
    assert float(facts[0, 4]) == pytest.approx(0.6)


class Edges:
    """What time evidence says of two cars: sensors now (rows) against those before."""

    def __init__(self, pictures_now, cloud_now, valid):
        values = torch.zeros(len(valid), 3, 3, 8)
        values[:, 1:, 0] = torch.tensor(pictures_now)[:, None, None]
        values[:, 0, 1:] = torch.tensor(cloud_now)[:, None, None]
        self.moved = type("Edge", (), {"values": values})
        self.valid = torch.tensor(valid)


def test_who_moved_no_longer_fits_what_the_other_showed(detector):
    scene = scene_of(detector, batch_of(detector, *[np.eye(4)] * 3))
    prior = known(scene, suspicion=torch.tensor([0.0, 0.1, 0.0]))
    time = Edges([.6, .3, .6], [.3, .6, .3], [True, True, False])
    found = suspected(prior, time, torch.tensor([[True] * 3, [True, False, True], [True] * 3]))
    torch.testing.assert_close(found, torch.tensor([.3, -.2, .0]))
    batch = batch_of(detector, *[np.eye(4)] * 3)
    later = carried(batch, replace(prior, suspicion=found), torch.tensor([True, True, False]),
                    20.0)
    torch.testing.assert_close(later.suspicion, FADING * torch.tensor([.3, -.2, .0]))


@pytest.mark.parametrize(("place", "before", "suspicion", "doubts", "cloud"), [
    ([.3, 0, 0], [0, 0, 0], .1, [0, 1], True), ([.3, 0, 0], [0, 0, 0], -.1, [1, 0], False),
    ([.3, 0, 0], [0, 0, 0], -.01, [1, 0], False),
    ([0, 5.0, 0], [0, 0, 0], .01, [0, 1], True), ([0, -5.0, 0], [0, 0, 0], .03, [0, 1], False),
    ([0, 5.0, 0], [0, 0, 0], -.04, [0, 1], False),  # a clock that is off
    ([0, 5.0, 0], [0, 0, 0], 0.0, [0, 1], True), ([0, -5.0, 0], [0, 0, 0], 0.0, [1, 0], False),
    ([.3, 0, 0], [0, 0, 0], 0.0, [2, 1], True), ([.3, 0, 0], [0, 0, 0], 0.0, [1, 2], False),
    ([.3, 0, 0], [.2, 0, 0], .5, [2, 1], False),  # goes on
    ([0, 0, 0], [0, 0, 0], .5, [2, 1], False)])
def test_who_is_to_blame(detector, place, before, suspicion, doubts, cloud):
    scene = scene_of(detector, batch_of(detector, np.eye(4)))
    prior = known(scene, place=torch.tensor([before]).float())
    found = to_blame(torch.tensor([place]), prior, torch.tensor([suspicion]),
                     torch.tensor([doubts]).float())
    assert found.tolist() == [cloud]


def test_sound_sensors_are_left_to_the_last_bit(detector):
    results = []
    for align in (True, False):
        detector.decoder.router.align = align
        history, said = None, []
        for batch in (batch_of(detector, rigid.from_xyz_yaw(0, k, 0, 0)) for k in range(3)):
            with torch.no_grad():
                output = detector(batch, history=history)
            history = output.aqr.history
            said += [output.logits, output.boxes]
            assert (output.aqr.report.put_right is not None) is align
        results.append(said)
    detector.decoder.router.align = True
    for one, other in zip(*results):
        assert torch.equal(one, other)


def test_nothing_is_put_right_in_training_nor_where_it_is_switched_off(detector):
    batch = batch_of(detector, np.eye(4))
    assert isinstance(detector(batch).aqr.history.alignment, Alignment)
    for gate in ({"align": False}, {"agreement": False}):
        aqr = AqrConfig(mode="gate", gate=GateConfig(**gate))
        other = untrained(replace(thin_tiny(), aqr=aqr)).eval()
        assert other(batch).aqr.history.alignment is None
    training = untrained(detector.config).train()
    assert training(batch).aqr.history.alignment is None
