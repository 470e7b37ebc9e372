from __future__ import annotations

import math
from dataclasses import replace

import torch
from aqr_scenes import make_scene

from aqr_perception.model.aqr.agreement import GROUPS, Descriptors, SensorMaps
from aqr_perception.model.aqr.config import GateConfig
from aqr_perception.model.aqr.statistics import occupancy
from aqr_perception.model.aqr.temporal import TemporalMemory, compare, remember, trust_before

CONFIG = GateConfig()
TRUST = torch.ones(2, 5)
CELL = 108.0 / 16  # make_scene's bird's-eye view has 16 × 16 cells


def pose(x: float = 0.0, y: float = 0.0, yaw: float = 0.0) -> torch.Tensor:
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[0, 0] = matrix[1, 1] = math.cos(yaw)
    matrix[1, 0], matrix[0, 1] = math.sin(yaw), -math.sin(yaw)
    matrix[0, 3], matrix[1, 3] = x, y
    return matrix


def at(scene, *poses):
    return replace(scene, batch=replace(scene.batch, fixed_from_model=torch.stack(poses)))


def look(scene):
    torch.manual_seed(0)
    descriptors = Descriptors(16, CONFIG)
    return descriptors, descriptors(scene, occupancy(scene))


def with_bev(maps: SensorMaps, bev: torch.Tensor) -> SensorMaps:
    unit = torch.nn.functional.layer_norm(bev.transpose(1, 3), bev.shape[1:2]).transpose(1, 3)
    return replace(maps, bev=unit, occupancy=torch.ones_like(maps.occupancy))


def test_a_world_that_stands_still_agrees_once_the_motion_is_undone():
    # The first car moves one cell along x, the second along y; what it sees moves against it.
    scene = at(make_scene(), pose(CELL), pose(0.0, CELL))
    descriptors, maps = look(scene)
    before = with_bev(maps, torch.randn(2, CONFIG.channels, 16, 16))
    now = torch.stack([before.bev[0].roll(-1, 2), before.bev[1].roll(-1, 1)])
    memory = TemporalMemory(before, torch.stack([pose(), pose()]), torch.tensor([True, True]),
                            TRUST)
    seen = compare(scene, with_bev(maps, now), memory, CONFIG, descriptors)
    assert seen.valid.all()
    torch.testing.assert_close(seen.motion, torch.tensor([[CELL, 0.0, 1.0]] * 2))
    inner = seen.bev.mean(1)[:, 1:-1, 1:-1]
    torch.testing.assert_close(inner, torch.ones_like(inner), rtol=0, atol=1e-4)
    assert seen.moved.values[:, 0, 0].mean(-1).min() > 0.99
    assert seen.still.values[:, 0].mean(-1).abs().max() < 0.3


def test_a_frozen_sensor_agrees_with_itself_unmoved():
    scene = at(make_scene(), pose(CELL), pose(CELL))
    descriptors, maps = look(scene)
    maps = with_bev(maps, torch.randn(2, CONFIG.channels, 16, 16))
    memory = TemporalMemory(maps, torch.stack([pose(), pose()]), torch.tensor([True, True]),
                            TRUST)
    seen = compare(scene, maps, memory, CONFIG, descriptors)
    torch.testing.assert_close(seen.still.values.mean(-1), torch.ones(2, 5), rtol=0, atol=1e-4)
    assert seen.moved.values[:, 0, 0].mean(-1).abs().max() < 0.3


def test_a_turn_moves_pictures_from_one_camera_into_the_next():
    scene = at(make_scene(), pose(yaw=math.pi / 2), pose())
    descriptors, maps = look(scene)
    memory = TemporalMemory(maps, torch.stack([pose(), pose()]), torch.tensor([True, True]),
                            TRUST)
    turned = replace(maps, columns=maps.columns.roll(-1, 1))
    seen = compare(scene, turned, memory, CONFIG, descriptors)
    for view in range(4):  # what camera 1 saw before the turn, camera 0 sees now
        same = seen.moved.values[0, 1 + view, 1 + (view + 1) % 4].mean()
        assert same > 0.8, view
        assert same > seen.moved.values[0, 1 + view, 1 + view].mean()
    assert seen.moved.overlap[0, 1, 4] == 0  # what looked the other way shares nothing


def test_where_there_is_no_frame_before_there_is_no_evidence():
    scene = make_scene()
    descriptors, maps = look(scene)
    memory = remember(maps, scene, TRUST)
    cases = {"none": None, "not valid": memory.take(torch.tensor([0, 1]),
                                                    torch.tensor([False, False]))}
    unknown = replace(memory, fixed_from_model=torch.full_like(memory.fixed_from_model, math.nan))
    cases["pose unknown"] = unknown
    far = memory.fixed_from_model.clone()
    far[:, 0, 3] = CONFIG.max_motion + 1
    cases["too far"] = replace(memory, fixed_from_model=far)
    for name, before in cases.items():
        seen = compare(scene, maps, before, CONFIG, descriptors)
        assert not seen.valid.any(), name
        for part in (seen.motion, seen.moved.features, seen.still.features, seen.bev,
                     seen.columns):
            assert part.abs().max() == 0, name


def test_an_absent_sensor_is_compared_with_nothing():
    present = torch.tensor([[True, False, True, True, True], [False, True, True, True, True]])
    scene = make_scene()
    descriptors, maps = look(scene)
    memory = remember(replace(maps, present=present), scene, TRUST)
    seen = compare(scene, maps, memory, CONFIG, descriptors)
    assert (seen.moved.overlap[0, :, 1] == 0).all()
    assert (seen.moved.overlap[1, :, 0] == 0).all()
    assert (seen.moved.features[0, :, 1] == 0).all()
    assert seen.still.overlap[0, 1] == 0
    assert seen.moved.overlap[0, 0, 0] > 0


def test_memory_can_be_reordered_and_holds_no_gradient():
    scene = at(make_scene(), pose(1.0), pose(2.0))
    _, maps = look(scene)
    memory = remember(maps, scene, TRUST)
    assert not any(value.requires_grad for value in vars(memory.maps).values())
    turned = memory.take(torch.tensor([1, 0, 1]), torch.tensor([True, False, True]))
    torch.testing.assert_close(turned.maps.columns, maps.columns.detach()[[1, 0, 1]])
    assert turned.fixed_from_model[:, 0, 3].tolist() == [2.0, 1.0, 2.0]
    assert turned.valid.tolist() == [True, False, True]


def test_a_sensor_without_tokens_in_one_of_the_frames_is_no_obstacle():
    scene = make_scene()
    descriptors, maps = look(scene)
    blind = make_scene(bev_shape=(0, 0), present=torch.tensor([[False] + [True] * 4] * 2))
    blind_maps = descriptors(blind, occupancy(blind))
    forward = compare(scene, maps, remember(blind_maps, blind, TRUST), CONFIG, descriptors)
    backward = compare(blind, blind_maps, remember(maps, scene, TRUST), CONFIG, descriptors)
    for seen in (forward, backward):
        assert torch.isfinite(seen.moved.features).all()
        assert (seen.moved.overlap[:, 0, 0] == 0).all()
    assert forward.bev.shape == (2, GROUPS, 16, 16)


def test_trust_is_remembered_and_taken_back_where_there_was_nothing():
    scene = make_scene()
    _, maps = look(scene)
    trust = torch.rand(2, 5)
    memory = remember(maps, scene, trust)
    assert torch.equal(trust_before(maps, memory, CONFIG), trust)
    turned = memory.take(torch.tensor([1, 0]), torch.tensor([True, False]))
    expected = torch.stack([trust[1], torch.ones(5)])
    assert torch.equal(trust_before(maps, turned, CONFIG), expected)
    for nothing in (trust_before(maps, None, CONFIG),
                    trust_before(maps, memory, GateConfig(time=False))):
        assert torch.equal(nothing, torch.ones(2, 5))
