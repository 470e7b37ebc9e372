"""What placed queries know at the start, and AQR's say over it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from rig import make_frame

from aqr_perception.model.aqr.routing import Routing
from aqr_perception.model.checkpoint import untrained
from aqr_perception.model.config import tiny
from aqr_perception.model.inputs import prepare
from aqr_perception.model.memory import Memory
from aqr_perception.model.seed import NOWHERE, QuerySeed, seed_trust, tokens_under
from aqr_perception.types import Controls, Gains, Mounting

CELLS, PIXELS, CHANNELS = 6, 4, 8


def memory_of(present=((True, True, True),)):
    """A 2×3 map and two cameras of 1×4 tokens."""
    tokens = torch.rand(len(present), CELLS + 2 * PIXELS, CHANNELS)
    sensor = torch.tensor([0] * CELLS + [1] * PIXELS + [2] * PIXELS)
    return Memory(tokens, torch.zeros_like(tokens), sensor, torch.tensor(present), (2, 3), (0, 1),
                  (1, PIXELS))


def grown(seed):
    for parameter in seed.parameters():
        torch.nn.init.normal_(parameter)
    return seed


def test_a_seed_is_what_its_token_holds_and_says():
    seed, memory, heat = grown(QuerySeed(CHANNELS)), memory_of(), torch.randn(1, 14, 10)
    found = seed(memory, heat, torch.tensor([[4, 9, NOWHERE]]))
    said = torch.cat([memory.tokens, heat.sigmoid()], dim=-1)[0]
    torch.testing.assert_close(found[0, 0], seed.bev(said[4]))
    torch.testing.assert_close(found[0, 1], seed.image(said[9]))
    assert not found[0, 2].any()


def test_at_first_seeds_hold_nothing():
    found = QuerySeed(CHANNELS)(memory_of(), torch.randn(1, 14, 10), torch.tensor([[0, 13]]))
    assert not found.any()


def test_trust_follows_gains_beside_each_other():
    memory, token = memory_of(), torch.tensor([[0, 7, 11]])
    trust = seed_trust(None, torch.tensor([[0.5, 2.0, 1.0]]), memory, token)
    assert trust[0, :, 0].tolist() == pytest.approx([0.25, 1.0, 0.5])
    same = seed_trust(None, torch.full((1, 3), 0.1), memory, token)
    torch.testing.assert_close(same, torch.ones(1, 3, 1))


def test_a_sensor_left_out_seeds_nothing():
    token = torch.tensor([[0, 7, 11]])
    by_gain = seed_trust(None, torch.tensor([[0.0, 1.0, 1.0]]), memory_of(), token)
    by_mask = seed_trust(None, torch.ones(1, 3), memory_of([(False, True, True)]), token)
    assert by_gain[0, :, 0].tolist() == by_mask[0, :, 0].tolist() == [0.0, 1.0, 1.0]


def test_routing_has_its_say_by_query_sensor_and_token():
    memory, token = memory_of(), torch.tensor([[0, 7]])
    by_query = torch.tensor([[[-1.0, 0.0, 0.0], [0.0, -3.0, 0.0]]])
    by_token = torch.zeros(1, 14)
    by_token[0, 0] = -0.5
    routing = Routing(memory.token_sensor, by_query, by_token)
    trust = seed_trust(routing, torch.ones(1, 3), memory, token)
    torch.testing.assert_close(trust[0, :, 0], torch.tensor([-1.5, -3.0]).exp())


def test_the_cell_under_a_place():
    places = torch.tensor([[[0.0, 0.0, 0.5], [0.99, 0.6, 0.5], [1.0, 1.0, 0.5]]]).expand(2, -1, -1)
    under = tokens_under(places, (2, 3), torch.tensor([True, False]))
    assert under.tolist() == [[0, 5, 5], [NOWHERE] * 3]
    assert tokens_under(places, (0, 0), torch.ones(2, dtype=torch.bool)).eq(NOWHERE).all()


@pytest.mark.parametrize("gain", [Gains(lidar=0.0), Gains(camera=0.0)])
@torch.inference_mode()
def test_a_seeded_network_takes_gain_zero_for_absence(gain):
    config = tiny()
    detector, frame = untrained(config), make_frame()
    grown(detector.decoder.seed)
    gone = replace(frame, lidar=None) if gain.lidar == 0 else replace(frame, images=(None,) * 4)
    ours = detector(prepare([frame], config, Mounting(), Controls(gains=gain)))
    other = detector(prepare([gone], config, Mounting(), Controls()))
    assert torch.equal(ours.logits, other.logits)
    assert torch.equal(ours.boxes, other.boxes)


@torch.inference_mode()
def test_seeds_change_what_is_found():
    config = tiny()
    detector = untrained(config)
    batch = prepare([make_frame()], config, Mounting(), Controls())
    before = detector(batch).logits
    grown(detector.decoder.seed)
    assert not torch.allclose(detector(batch).logits, before)
