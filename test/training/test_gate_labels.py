"""Labels sit on the queries and tokens that look at what is wrong, however the world was moved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_frames import make_frame, small_config

from aqr_perception.geometry.boxes import Boxes3D
from aqr_perception.model.aqr.config import AqrConfig
from aqr_perception.model.aqr.output import AqrOutput, GateLogits, TokenLayout
from aqr_perception.model.inputs import prepare
from aqr_perception.simulation.fault_labels import clean_labels
from aqr_perception.training.augment import (
    Augmentation,
    augment_frame,
    draw_worlds,
    move_batch,
)
from aqr_perception.training.gate_labels import KnownFaults, gate_labels, query_places
from aqr_perception.types import Controls, DetectorOutput, Mounting

CONFIG = replace(small_config(), aqr=AqrConfig(mode="gate"))
BEV, PICTURE, QUERIES, LAYERS = (24, 24), (4, 12), 5, 2
GEOMETRY = Augmentation(color=0, image_noise=0, image_blur=0, no_images=0, no_lidar=0,
                        some_images=0)
MOUNTING = Mounting(forward_axis="x", height=1.5)


def seen(seed: int, labels, paint=None):
    """A batch of one frame whose world and pictures were moved, and the truth about it."""
    frame, _ = make_frame(seed)
    if paint is not None:
        frame = replace(frame, images=tuple(
            replace(image, pixels=paint(image.pixels)) for image in frame.images))
    rng = np.random.default_rng(seed)
    batch = prepare([augment_frame(frame, GEOMETRY, rng)], CONFIG, MOUNTING, Controls())
    worlds = draw_worlds(GEOMETRY, [rng])
    back = np.linalg.inv(worlds @ MOUNTING.model_from_lidar)
    return move_batch(batch, worlds), KnownFaults((labels(frame),), back)


def output_at(points: torch.Tensor, moved: torch.Tensor | None = None, views=(0, 1),
              usable=(True, True, True), parts=True) -> DetectorOutput:
    """What a network says whose queries start at points (Q, 3) [m] and find boxes at ``moved``."""
    low, high = (torch.tensor(CONFIG.detection_range[k:k + 3]) for k in (0, 3))
    tokens = BEV[0] * BEV[1] + len(views) * PICTURE[0] * PICTURE[1]
    boxes = torch.zeros(LAYERS, 1, len(points), 10)
    boxes[..., [0, 1, 4]] = points if moved is None else moved
    query, token = torch.zeros(LAYERS, 1, len(points), 3), torch.zeros(LAYERS, 1, tokens)
    logits = GateLogits(torch.zeros(1, 3), query if parts else None, token if parts else None,
                        torch.tensor([usable]), torch.ones(1, tokens, dtype=torch.bool),
                        TokenLayout(BEV, views, PICTURE))
    return DetectorOutput(
        torch.zeros(LAYERS, 1, len(points), 10), boxes, ((points - low) / (high - low))[None],
        torch.ones(1, dtype=torch.bool), aqr=AqrOutput(None, torch.zeros(1, tokens), logits=logits))


def moved_to_model(faults: KnownFaults, points: np.ndarray) -> torch.Tensor:
    model_from_lidar = np.linalg.inv(faults.lidar_from_model[0])
    return torch.from_numpy(points @ model_from_lidar[:3, :3].T + model_from_lidar[:3, 3]).float()


def cell_of(point: torch.Tensor) -> int:
    column, row = ((point[:2] + 54) / 108 * 24).long().tolist()
    return row * BEV[1] + column


@pytest.mark.parametrize("seed", range(4))
def test_a_ghost_is_blamed_where_its_points_lie_after_augmentation(seed):
    places = np.array([[9.0, -14.0, 0.0], [-20.0, 3.0, 0.0]])
    ghosts = Boxes3D(places, np.full((2, 3), 7.0), np.zeros(2), np.zeros((2, 2)))
    batch, faults = seen(seed, lambda frame: replace(clean_labels(frame), ghosts=ghosts))
    points = moved_to_model(faults, np.concatenate([places, [[0.0, 25.0, 0.0]]]))
    labels = gate_labels(output_at(points), faults, batch, CONFIG)
    assert labels.frame.tolist() == [[1, 1, 1]]
    assert labels.query[0, 0, :, 0].tolist() == [0, 0, 1]
    assert (labels.query[..., 1:] == 1).all()
    assert labels.token[0, [cell_of(point) for point in points]].tolist() == [0, 0, 1]
    cells = BEV[0] * BEV[1]
    assert 2 <= (labels.token[0, :cells] == 0).sum() <= 12
    assert (labels.token[0, cells:] == 1).all()


@pytest.mark.parametrize("seed", range(4))
def test_an_empty_sector_is_blamed_where_it_has_turned_to(seed):
    sector = np.array([[0.3, 1.3]], np.float32)
    batch, faults = seen(seed, lambda frame: replace(clean_labels(frame), sectors=sector))
    angles = np.array([0.6, 1.0, 2.0, -1.0])
    points = moved_to_model(faults, 20 * np.stack([np.cos(angles), np.sin(angles),
                                                   np.zeros(4)], axis=1))
    labels = gate_labels(output_at(points), faults, batch, CONFIG)
    assert labels.query[0, 0, :, 0].tolist() == [0, 0, 1, 1]
    assert labels.token[0, [cell_of(point) for point in points]].tolist() == [0, 0, 1, 1]
    blamed = (labels.token[0, :BEV[0] * BEV[1]] == 0).float().mean()
    assert abs(float(blamed) - 1 / (2 * np.pi)) < 0.06  # the car is not quite in the middle


@pytest.mark.parametrize("seed", range(6))
def test_dirt_is_blamed_on_the_tokens_and_queries_that_look_through_it(seed):
    def dirty(pixels):
        out = np.zeros_like(pixels)
        out[:, :96] = 255
        return out

    def labels_of(frame):
        damage = np.zeros(frame.images[1].pixels.shape[:2], bool)
        damage[:, :96] = True
        return replace(clean_labels(frame), image_damage=(None, damage))

    batch, faults = seen(seed, labels_of, dirty)
    places = np.array([[-3.0, -12.0, 0.0], [3.0, -12.0, 0.0], [3.0, 12.0, 0.0]])
    labels = gate_labels(output_at(moved_to_model(faults, places)), faults, batch, CONFIG)
    # The second camera looks along -y; its left half looks towards +x.
    assert labels.query[0, 0, :, 2].tolist() == [1, 0, 1]
    assert (labels.query[..., :2] == 1).all()
    cells, pictures = BEV[0] * BEV[1], PICTURE[0] * PICTURE[1]
    assert (labels.token[0, :cells + pictures] == 1).all()
    image = batch.images[0, 1, 0]
    height, width = image.shape[0] // PICTURE[0], image.shape[1] // PICTURE[1]
    white = image.unfold(0, height, height).unfold(1, width, width).mean((2, 3))
    clear = (white - white.min()) / (white.max() - white.min())
    certain = (clear < 0.1) | (clear > 0.9)  # the edge may run through a token
    wanted = torch.where(clear > 0.5, 0.0, 1.0)
    shown = labels.token[0, cells + pictures:].unflatten(0, PICTURE)
    assert torch.equal(shown[certain], wanted[certain])
    assert 0 < (shown == 0).sum() < pictures


def test_who_is_to_be_left_out_is_so_everywhere_and_who_is_faulty_teaches_nothing():
    def labels_of(frame):
        return replace(clean_labels(frame), leave_out=np.array([True, False, False]),
                       intact=np.array([0.0, 0.7, 1.0], np.float32))

    batch, faults = seen(0, labels_of)
    labels = gate_labels(output_at(torch.zeros(3, 3)), faults, batch, CONFIG)
    assert labels.frame.tolist() == [[0, 1, 1]]
    assert labels.sound.tolist() == [[False, False, True]]
    torch.testing.assert_close(labels.query, labels.frame[:, None].expand_as(labels.query))
    cells = BEV[0] * BEV[1]
    assert (labels.token[0, :cells] == 0).all()
    assert (labels.token[0, cells:] == 1).all()


def test_without_anyone_to_trust_nobody_knows():
    def labels_of(frame):
        return replace(clean_labels(frame), leave_out=np.array([True, False, True]))

    batch, faults = seen(0, labels_of)
    known = gate_labels(output_at(torch.zeros(3, 3)), faults, batch, CONFIG)
    assert known.frame.tolist() == [[0, 1, 0]]
    lost = gate_labels(output_at(torch.zeros(3, 3), usable=(True, False, True)), faults, batch,
                       CONFIG)
    for part in (lost.frame, lost.query, lost.token):
        assert part.isnan().all()


def test_queries_are_labelled_where_each_layer_finds_them():
    ghosts = Boxes3D(np.array([[10.0, 10.0, 0.0]]), np.full((1, 3), 4.0), np.zeros(1),
                     np.zeros((1, 2)))
    batch, faults = seen(1, lambda frame: replace(clean_labels(frame), ghosts=ghosts))
    start, there = moved_to_model(faults, np.array([[-10.0, 5.0, 0.0], [10.0, 10.0, 0.0]]))
    output = output_at(start[None], there[None])
    labels = gate_labels(output, faults, batch, CONFIG)
    assert labels.query[:, 0, 0, 0].tolist() == [1, 0]
    fixed = replace(CONFIG, decoder=replace(CONFIG.decoder, refine=False))
    assert gate_labels(output, faults, batch, fixed).query[:, 0, 0, 0].tolist() == [1]
    away = output_at(start[None], torch.full((1, 3), 500.0))
    torch.testing.assert_close(query_places(away, CONFIG)[1, 0, 0],
                               torch.tensor(CONFIG.detection_range[3:]))


def test_only_what_the_gate_has_is_labelled():
    batch, faults = seen(0, clean_labels)
    short = gate_labels(output_at(torch.zeros(3, 3), parts=False), faults, batch, CONFIG)
    assert short.query is None
    assert short.token is None
    assert (short.frame == 1).all()
    bare = replace(output_at(torch.zeros(3, 3)), aqr=None)
    assert gate_labels(bare, faults, batch, CONFIG) is None


def test_sensors_without_tokens_take_no_place():
    batch, faults = seen(0, clean_labels)
    labels = gate_labels(output_at(torch.zeros(3, 3), views=(1,)), faults, batch, CONFIG)
    assert labels.token.shape == (1, BEV[0] * BEV[1] + PICTURE[0] * PICTURE[1])
