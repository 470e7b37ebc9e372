from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from aqr_scenes import make_scene

from aqr_perception.model.aqr.config import GateConfig
from aqr_perception.model.aqr.gate import GateRouter
from aqr_perception.model.aqr.output import AqrOutput, GateLabels
from aqr_perception.model.attention import EXCLUDED
from aqr_perception.training.losses import masked_bce

NAN = float("nan")


def router(seed: int = 0, layers: int = 2, moved: float = 0.0, **changes) -> GateRouter:
    torch.manual_seed(seed)
    made = GateRouter(16, layers, GateConfig(**changes), (0.15, 0.25)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * moved)
    return made


def run(made: GateRouter, scene, target=None):
    """Routings of all layers, and the output."""
    state = made.start(scene)
    if target is None:
        target = torch.randn(scene.query_positions.shape,
                             generator=torch.Generator().manual_seed(7))
    routings = [made.route(layer, target, scene.reference_points, state)[1] for layer in range(2)]
    return routings, made.finish(state)


def test_every_bias_is_zero_at_the_start():
    routings, output = run(router(), make_scene())
    for routing in routings:
        assert routing.query_bias.abs().max() < 1e-5
        assert routing.token_bias.abs().max() < 1e-5
    torch.testing.assert_close(output.report.mean_gate, torch.ones(2, 5))


def test_it_can_only_suppress_and_the_most_trusted_keeps_what_it_had():
    made = router(moved=0.15)
    present = torch.tensor([[True, True, False, True, True]] * 2)
    for routing in run(made, make_scene(present=present))[0]:
        assert routing.query_bias.max() <= 0
        assert routing.token_bias.max() <= 0
        best = routing.query_bias.masked_fill(~present[:, None], -1.0).amax(-1)
        assert (best == 0).all()


def test_distrust_reaches_exclusion_for_query_sensor_and_token():
    scene = make_scene()
    whole = router()
    whole.frame_head[0].bias.data.fill_(-10.0)
    routing = run(whole, scene)[0][0]
    assert (routing.query_bias[..., 0] == EXCLUDED).all()
    assert (routing.query_bias[..., 1:].abs() < 1e-4).all()

    tokens = router()
    tokens.token_evidence.head.weight.data.zero_()
    tokens.token_evidence.head.weight.data[:, 0] = -30.0
    bias = run(tokens, scene)[0][0].token_bias
    assert (bias == EXCLUDED).any()
    assert (bias > -1e-3).any()


def test_all_distrusted_alike_changes_nothing():
    made = router()
    for head, caution in zip(made.frame_head, made.config.caution):
        head.bias.data.fill_(-50.0 - caution)
    assert run(made, make_scene())[0][0].query_bias.abs().max() < 1e-3


def test_each_layer_decides_anew_from_the_content_of_its_queries():
    made = router(moved=0.15)
    scene = make_scene()
    first, second = run(made, scene)[0]
    assert (first.query_bias - second.query_bias).abs().max() > 1e-3
    other = run(made, scene, torch.zeros_like(scene.query_positions))[0][0]
    assert (first.query_bias - other.query_bias).abs().max() > 1e-3


def test_a_query_that_has_moved_is_judged_where_it_now_is():
    made = router(moved=0.15)
    scene = make_scene()
    there = scene.reference_points.flip(1)
    target = torch.zeros_like(scene.query_positions)
    state = made.start(scene)
    moved = made.route(0, target, there, state)[1].query_bias
    expected = run(made, replace(scene, reference_points=there), target)[0][0].query_bias
    torch.testing.assert_close(moved, expected)


def test_parts_can_be_switched_off():
    scene = make_scene()
    routings, output = run(router(moved=0.15, token=False, query=False), scene)
    assert routings[0].token_bias is None
    assert output.logits.token is None
    assert output.logits.query is None
    bias = routings[0].query_bias
    torch.testing.assert_close(bias, bias[:, :1].expand_as(bias))
    _, output = run(router(frame=False), scene)
    assert output.logits.frame is None


def test_one_number_a_kind_of_sensor_looks_at_nothing():
    made = router(learned=False)
    made.constant.data[1] = -1.0
    bias = run(made, make_scene())[0][0].query_bias
    expected = bias[0, 0, 1].item()
    assert expected < -1
    torch.testing.assert_close(bias, torch.tensor([0.0, *[expected] * 4]).expand_as(bias))


def test_shuffling_hands_queries_one_anothers_bias():
    scene = make_scene(denoising=3)
    target = torch.randn_like(scene.query_positions)
    plain = run(router(moved=0.15), scene, target)[0][0].query_bias
    shuffled = run(router(moved=0.15, shuffle_queries=True), scene, target)[0][0].query_bias
    torch.testing.assert_close(shuffled[:, :3], plain[:, :3])
    assert not torch.equal(shuffled[:, 3:], plain[:, 3:])
    for column in range(5):
        torch.testing.assert_close(shuffled[:, 3:, column].sort(1).values,
                                   plain[:, 3:, column].sort(1).values)


def test_an_oracle_takes_the_place_of_the_gate():
    scene = make_scene(denoising=3)
    made = router(moved=0.15)
    query = torch.ones(2, 12, 5)
    query[0, 4, 1] = 0.0
    token = torch.full((2, scene.memory.tokens.shape[1]), NAN)
    token[1, 7] = 0.0
    frame = torch.tensor([[1.0, 1.0, 0.0, NAN, 1.0], [1.0] * 5])
    made.oracle = GateLabels(frame, query, token)
    routing = run(made, scene)[0][0]
    expected = torch.zeros(2, 15, 5)
    expected[0, :, 2] = EXCLUDED
    expected[0, 3 + 4, 1] = EXCLUDED
    torch.testing.assert_close(routing.query_bias, expected)
    assert (routing.token_bias != 0).nonzero().tolist() == [[1, 7]]


def test_logits_leave_denoising_queries_out():
    _, output = run(router(), make_scene(denoising=3))
    assert output.logits.query.shape == (2, 2, 12, 5)
    assert output.logits.token.shape == (2, 2, 16 * 16 + 4 * 40)
    assert output.logits.frame.shape == (2, 5)


@pytest.mark.parametrize("off", ["agreement", "time"])
def test_evidence_can_be_left_out(off):
    scene = make_scene()
    before = run(router(moved=0.15), make_scene(seed=1))[1]
    one = run(router(moved=0.15, **{off: False}), replace(scene, history=before))[0][0]
    changed = make_scene()
    if off == "time":
        changed.batch.ages[:] = 0.5
        without = replace(changed, history=None)
    else:  # another picture and bird's-eye view that agree less or more cannot tell
        without = replace(changed, history=before)
    other = run(router(moved=0.15, **{off: False}), without)[0][0]
    torch.testing.assert_close(one.query_bias, other.query_bias)
    with_it = run(router(moved=0.15), replace(scene, history=before))[0][0]
    assert (with_it.query_bias - one.query_bias).abs().max() > 1e-3


def test_the_frame_before_counts_only_where_it_is_known():
    made = router(moved=0.15)
    scene = make_scene()
    before: AqrOutput = run(made, make_scene(seed=1))[1]
    alone = run(made, scene)[0][0].query_bias
    both = run(made, replace(scene, history=before))[0][0].query_bias
    assert (both - alone).abs().max() > 1e-3
    torch.testing.assert_close(run(made, replace(scene, history=before.history))[0][0].query_bias,
                               both)
    poses = scene.batch.fixed_from_model.clone()
    poses[0] = NAN  # unknown
    poses[1, 0, 3] = 100.0  # another place altogether
    unknown = replace(scene, history=replace(before.history, trust=torch.ones(2, 5)),
                      batch=replace(scene.batch, fixed_from_model=poses))
    torch.testing.assert_close(run(made, unknown)[0][0].query_bias, alone)
    # What was thought of the sensors does not depend on where the car was.
    unknown.history.trust[:, 2] = 1e-3
    assert (run(made, unknown)[0][0].query_bias - alone).abs().max() > 1e-3


def test_contrast_is_made_in_training_only():
    made = router()
    scene = make_scene(present=torch.tensor([[True, True, False, True, True],
                                             [False, True, True, True, True]]))
    assert made.finish(run_state(made, scene)).contrast is None
    contrast = made.train().finish(run_state(made, scene)).contrast
    assert contrast.similarity.shape == (2, 4, 10, 10)
    assert contrast.usable.tolist() == [[True, False, True, True], [False] * 4]


def run_state(made, scene):
    state = made.start(scene)
    made.route(0, scene.query_positions, scene.reference_points, state)
    return state


def test_it_learns_whom_not_to_trust():
    made = router().train()
    scenes = [make_scene(count=4, seed=seed) for seed in range(2)]
    scenes[1].memory.tokens[:, :16 * 16] *= torch.rand(256, 1)  # a bird's-eye view gone wrong
    labels = torch.ones(4, 5), torch.tensor([[0.0, 1, 1, 1, 1]] * 4)
    optimizer = torch.optim.AdamW(made.parameters(), 5e-3)
    for _ in range(60):
        losses = []
        for scene, wanted in zip(scenes, labels):
            logits = made.finish(run_state(made, scene)).logits
            query = wanted[:, None].expand(-1, 12, -1)
            losses += [masked_bce(logits.frame, wanted),
                       masked_bce(logits.query, query.expand_as(logits.query))]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        optimizer.step()
    healthy, faulty = (run_state(made.eval(), scene).query_bias[0] for scene in scenes)
    assert healthy.min() > -0.5
    assert (faulty[..., 0] == EXCLUDED).all()
    assert faulty[..., 1:].min() > -0.5


def test_an_opinion_stays_where_the_frame_tells_nothing_and_fades():
    """Sensors that show nothing new keep their order, nearer to each other than before."""
    made = router()
    scene = make_scene()
    before: AqrOutput = run(made, scene)[1]
    trust = torch.full_like(before.history.trust, 0.99)
    trust[:, 1] = 0.05
    after: AqrOutput = run(made, replace(scene, history=replace(before.history, trust=trust)))[1]
    odds, kept = trust.logit(), after.history.trust.logit()
    start = torch.tensor(made.config.initial_trust)[[0, 1, 1, 1, 1]]
    odds, kept = torch.minimum(odds, start) - start, kept - start
    assert (kept[:, 1] < kept[:, 0] - 1).all()
    difference, left = odds[:, 0] - odds[:, 1], kept[:, 0] - kept[:, 1]
    torch.testing.assert_close(left, difference / 2, rtol=0.05, atol=0.05)
    without = router(time=False)
    blind: AqrOutput = run(without, replace(scene, history=replace(before.history, trust=trust)))[1]
    odds = blind.history.trust.logit() - start
    assert (odds.amax(1) - odds.amin(1)).max() < 1e-2


def test_it_acts_more_cautiously_than_it_believes():
    """More so against the LiDAR; at the start all sensors are believed alike."""
    scene = make_scene()
    acts = {}
    for caution in ((0.0, 0.0), (1.2, 0.4)):
        made = router(caution=caution)
        assert run(made, scene)[0][0].query_bias.abs().max() < 1e-3
        for sensor in (0, 1):
            made.frame_head[sensor].bias.data.fill_(-2.0)
            acts[caution, sensor] = run(made, scene)[0][0].query_bias[..., sensor]
            made.frame_head[sensor].bias.data.fill_(made.config.initial_trust[sensor])
    plain, cautious = acts[(0.0, 0.0), 0], acts[(1.2, 0.4), 0]
    assert (cautious > plain + 1).all()
    assert (cautious > acts[(1.2, 0.4), 1]).all()
