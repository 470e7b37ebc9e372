"""A cloud that moved between two frames is like the one before where it moved to."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from rig import make_frame
from thin_networks import thin_tiny

from aqr_perception.geometry import rigid
from aqr_perception.model.aqr.alignment import as_it_came, carried
from aqr_perception.model.aqr.config import AqrConfig
from aqr_perception.model.aqr.fitting import LEAST_GAIN, jumped, search
from aqr_perception.model.aqr.likeness import CELLS, Won, cloud_before
from aqr_perception.model.aqr.places import bev_coordinates, sample
from aqr_perception.model.aqr.plane import after, of_places, undone
from aqr_perception.model.aqr.statistics import plain_facts
from aqr_perception.model.aqr.temporal import remember
from aqr_perception.model.checkpoint import untrained
from aqr_perception.model.inputs import prepare
from aqr_perception.model.tokens import as_known
from aqr_perception.types import Controls, Mounting

AHEAD = 4.8
"""The car drives so far [m] from one frame to the next: four cells."""


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    return untrained(replace(thin_tiny(), aqr=AqrConfig(mode="gate"))).eval()


class Drive:
    """Two frames: the first with a smooth random view, the second to be told what it sees."""

    def __init__(self, detector):
        generator = torch.Generator().manual_seed(0)
        self.descriptors = detector.decoder.router.descriptors
        then, now = (self._scene(detector, y) for y in (0.0, AHEAD))
        maps = self.descriptors(then, plain_facts(then).occupancy)
        shape = (1, maps.bev.shape[1], 90, 90)
        smooth = torch.nn.functional.avg_pool2d(torch.randn(shape, generator=generator), 3, 1, 1)
        view = torch.nn.functional.layer_norm(smooth.movedim(1, -1), (smooth.shape[1],))
        self.then = replace(maps, bev=view.movedim(-1, 1),
                            occupancy=torch.rand(1, 1, 90, 90, generator=generator) + 0.1)
        self.scene, self.range = now, now.detection_range
        before = as_it_came(then)
        self.memory = replace(remember(self.then, then, torch.ones(1, 3)), alignment=before)
        self.prior = carried(now.batch, before, torch.tensor([True]), 20.0)

    @staticmethod
    def _scene(detector, y):
        frame = replace(make_frame(), fixed_from_lidar=rigid.from_xyz_yaw(0.0, y, 0.0, 0.0))
        batch = prepare([frame], detector.config, Mounting(), Controls())
        batch, selection, _ = as_known(batch, detector.config)
        return detector.decoder.scene(detector.tokenizer(batch, selection), batch, None)

    def seen(self, place, prior=None):
        """Maps of the second frame, whose cloud lies at a place; pictures tell nothing."""
        prior = prior or self.prior
        motion = of_places(torch.tensor([[place]]), prior.path)[:, 0]
        step = prior.path[:, 0, :3]
        moved = after(after(step, undone(motion)), prior.done)  # before_from_shown
        height, width = self.then.bev.shape[-2:]
        low, high = self.range[:2], self.range[3:5]
        x = (torch.arange(width) + 0.5) / width * (high[0] - low[0]) + low[0]
        y = (torch.arange(height) + 0.5) / height * (high[1] - low[1]) + low[1]
        y, x = torch.meshgrid(y, x, indexing="ij")
        places = after(moved, torch.stack([0 * x, x, y], -1).flatten(0, 1))[:, 1:]
        view = sample(self.then.bev, bev_coordinates(places, self.range)[None])
        return replace(self.then, bev=view.transpose(1, 2).unflatten(2, (height, width)))

    def cloud(self, place, prior=None):
        prior = prior or self.prior
        return cloud_before(self.seen(place, prior), self.memory, prior, self.range)

    def found(self, place, prior=None):
        prior = prior or self.prior
        return search(self.scene, self.seen(place, prior), prior, torch.tensor([False]),
                      self.cloud(place, prior), self.descriptors)


@pytest.fixture(scope="module")
def drive(detector):
    with torch.no_grad():
        return Drive(detector)


def turned(degrees):
    return [math.radians(degrees), 0.0, 0.0]


@pytest.mark.parametrize("place", [turned(5), turned(-37.5), [0.0, 5.0, 0.0], [0.0, 15.0, 0.0],
                                   [0.0, 0.0, 2.0]])
def test_a_cloud_that_moved_is_alike_where_it_moved_to(drive, place):
    with torch.no_grad():
        cloud = drive.cloud(place)
        alike = cloud.at(torch.tensor([[place, [0.0, 0.0, 0.0]]]))
        place_found, _, moved = drive.found(place)
        assert bool(jumped(cloud, drive.prior))
    assert float(alike[0, 0]) > 0.6
    assert float(alike[0, 0] - alike[0, 1]) > 0.2
    assert bool(moved)
    np.testing.assert_allclose(place_found[0], place, rtol=0.02, atol=0.1)


def test_a_cloud_that_did_not_move_wins_nothing_anywhere(drive):
    with torch.no_grad():
        place, _, moved = drive.found([0.0, 0.0, 0.0])
        assert not jumped(drive.cloud([0.0, 0.0, 0.0]), drive.prior).any()
    assert not place.any()
    assert not moved.any()


def test_a_part_that_goes_along_with_the_car_is_no_cloud_that_repeats_itself(drive):
    """Ghosts, dirt or a car alongside; but all of it is."""
    place = [0.0, AHEAD, 0.0]
    still, moved = drive.seen(place), drive.seen([0.0, 0.0, 0.0])
    part = torch.rand(1, 1, 90, 90, generator=torch.Generator().manual_seed(1)) < 0.6
    views = {"all": still.bev, "part": still.bev.where(part, moved.bev)}
    won, found = {}, {}
    with torch.no_grad():
        for name, view in views.items():
            cloud = cloud_before(replace(moved, bev=view), drive.memory, drive.prior, drive.range)
            places = torch.tensor([[place, [0.0, 0.0, 0.0]]])
            won[name] = cloud.won(places, drive.prior)
            found[name], *_ = search(drive.scene, replace(moved, bev=view), drive.prior,
                                     torch.tensor([False]), cloud, drive.descriptors)
    assert float(won["part"].likeness[0, 0]) > 0.1  # by the mean it would seem so
    assert not won["part"].sure[0, 0]
    assert not found["part"].any()
    assert float(won["all"].likeness[0, 0]) > 0.5
    assert won["all"].sure[0, 0]
    torch.testing.assert_close(found["all"], torch.tensor([place]), rtol=0.02, atol=0.1)


@pytest.mark.parametrize(("sure", "repeats", "agrees", "told", "counts"), [
    (True, True, 0.0, False, True), (True, False, 0.3, True, True),
    (False, False, 0.3, True, True), (False, True, 0.3, True, False),
    (False, True, 0.5, True, True), (False, False, 0.0, False, False),
    (False, True, 0.0, False, False)])
def test_what_is_not_sure_the_pictures_must_bear_out(sure, repeats, agrees, told, counts):
    won = Won(torch.tensor([[0.2]]), torch.tensor([[sure]]), torch.tensor([[repeats]]))
    none = torch.tensor([[0.4 if told else 0.0]])
    believed = won.believed(torch.tensor([[agrees]]), none, torch.tensor([told]))
    assert float(believed) == pytest.approx(0.2 if counts else 0.0)


def test_no_cloud_shows_what_is_to_come(drive):
    with torch.no_grad():
        cloud = drive.cloud([0.0, -5.0, 0.0])
        won = cloud.won(torch.tensor([[[0.0, -5.0, 0.0]]]), drive.prior)
    assert float(won.likeness) == 0.0


@pytest.mark.parametrize("lidar", [True, False])
def test_what_was_believed_stays_while_nothing_moves_and_goes_when_the_cloud_comes_back(drive,
                                                                                       lidar):
    """The frame before was put right: its view is where the world is."""
    place = torch.tensor([turned(15)])
    done = of_places(place[:, None], drive.prior.path)[:, 0] * lidar
    prior = replace(drive.prior, place=place, lidar=torch.tensor([lidar]), done=done)
    with torch.no_grad():
        stays, _, moved = drive.found(turned(15) if lidar else [0.0, 0.0, 0.0], prior)
        back, _, _ = drive.found([0.0, 0.0, 0.0], prior)
        won = drive.cloud([0.0, 0.0, 0.0], prior).won(place[:, None], prior).likeness
    torch.testing.assert_close(stays, place)
    assert bool(moved) is lidar
    if lidar:
        assert float(won) < -LEAST_GAIN
        assert not back.any()
    else:  # of pictures it says nothing
        assert float(won) == 0.0


def test_where_nothing_came_before_nothing_is_won(drive):
    with torch.no_grad():
        for prior, memory in (
                (replace(drive.prior, follows=torch.tensor([False])), drive.memory),
                (drive.prior, replace(drive.memory, maps=replace(
                    drive.then, present=torch.tensor([[False, True, True]]))))):
            cloud = cloud_before(drive.seen(turned(15)), memory, prior, drive.range)
            assert not cloud.weight.any()
            assert not cloud.won(torch.tensor([[turned(15)]]), prior).likeness.any()


def test_few_cells_are_enough_to_be_asked(drive):
    """A view of fewer cells than are compared, as of an absent LiDAR."""
    maps = drive.seen(turned(15))
    maps = replace(maps, bev=maps.bev[..., :3, :3], occupancy=maps.occupancy[..., :3, :3])
    cloud = cloud_before(maps, drive.memory, drive.prior, drive.range)
    assert cloud.cells.shape[2] == 9 < CELLS
    assert cloud.at(torch.zeros(1, 4, 3)).isfinite().all()
