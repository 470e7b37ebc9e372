from __future__ import annotations

import math

import pytest
import torch
from golden import Golden
from hypothesis import given, settings
from hypothesis import strategies as st

from aqr_perception.model.aqr.config import RENDER_METHODS, RendererConfig
from aqr_perception.model.aqr.weight_map import published
from aqr_perception.model.aqr.weight_map.renderer import PRIOR, WeightRenderer

HEIGHT, WIDTH = 13, 17


def loop_renderer(config: RendererConfig, values, neutral, places, visible):
    """The definition, one query and one cell at a time, in plain Python."""
    batch, maps, queries = visible.shape
    fields = values.shape[-1]
    out = torch.zeros(batch, maps, fields, HEIGHT, WIDTH, dtype=torch.float64)
    radius = 0.2 * min(HEIGHT, WIDTH)

    def kernel(dy, dx):
        distance = math.hypot(dy, dx)
        if config.method == "gaussian":
            return math.exp(-distance ** 2 / (2 * config.gaussian_sigma ** 2))
        if config.method == "distance_weighted":
            inside = distance <= radius
            return math.exp(-distance / (radius * config.distance_decay)) if inside else 0.0
        return float(distance == 0)

    for b in range(batch):
        for m in range(maps):
            seen = [q for q in range(queries) if visible[b, m, q]]
            for y in range(HEIGHT):
                for x in range(WIDTH):
                    if config.method == "direct":
                        here = [q for q in seen
                                if [round(c) for c in places[b, m, q].tolist()] == [y, x]]
                        for f in range(fields):
                            excess = [float(values[b, q, f] - neutral[f]) for q in here]
                            out[b, m, f, y, x] = neutral[f] + max(excess, default=0.0)
                        continue
                    total, presence = [0.0] * fields, 0.0
                    for q in seen:
                        row, column = places[b, m, q].tolist()
                        top, left = math.floor(row), math.floor(column)
                        for down in (0, 1):
                            for right in (0, 1):
                                ty, tx = top + down, left + right
                                if not (0 <= ty < HEIGHT and 0 <= tx < WIDTH):
                                    continue
                                share = (1 - abs(row - ty)) * (1 - abs(column - tx))
                                k = share * kernel(y - ty, x - tx)
                                presence += k
                                for f in range(fields):
                                    total[f] += k * float(values[b, q, f] - neutral[f])
                    for f in range(fields):
                        out[b, m, f, y, x] = neutral[f] + total[f] / (presence + PRIOR)
    return out


def inputs(seed: int, maps: int = 2, queries: int = 9):
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(2, queries, 2, generator=generator, dtype=torch.float64) * 2.5
    places = torch.rand(2, maps, queries, 2, generator=generator, dtype=torch.float64)
    places = places * torch.tensor([HEIGHT + 4, WIDTH + 4]) - 2
    visible = torch.rand(2, maps, queries, generator=generator) < 0.7
    return values, torch.tensor([1.0, 0.6], dtype=torch.float64), places, visible


@pytest.mark.parametrize("method", RENDER_METHODS)
@settings(deadline=None, max_examples=4)
@given(seed=st.integers(0, 1000))
def test_equals_a_loop(method, seed):
    config = RendererConfig(method=method, gaussian_sigma=1.3)
    values, neutral, places, visible = inputs(seed)
    got = WeightRenderer(config).double()(values, neutral, places, visible, HEIGHT, WIDTH)
    torch.testing.assert_close(got, loop_renderer(config, values, neutral, places, visible),
                               rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("method", RENDER_METHODS)
def test_gradients_are_those_of_finite_differences(method):
    values, neutral, places, visible = inputs(3)
    renderer = WeightRenderer(RendererConfig(method=method)).double()

    def render(values, places):
        return renderer(values, neutral, places, visible, HEIGHT, WIDTH)

    values.requires_grad_()
    if method != "direct":  # nearest cell: constant in the positions
        places.requires_grad_()
    assert torch.autograd.gradcheck(render, (values, places), fast_mode=True)
    render(values, places).square().sum().backward()
    assert values.grad.abs().max() > 0
    if method != "direct":
        assert places.grad[visible].abs().max() > 0
        assert places.grad[~visible].abs().max() == 0


def test_sigma_can_be_learned():
    values, neutral, places, visible = inputs(0)
    for learnable in (True, False):
        renderer = WeightRenderer(RendererConfig(learnable_sigma=learnable)).double()
        rendered = renderer(values.requires_grad_(), neutral, places, visible, HEIGHT, WIDTH)
        rendered.square().sum().backward()
        assert (renderer.log_sigma.grad is not None) == learnable


@pytest.mark.parametrize("method", RENDER_METHODS)
def test_neutral_weights_give_a_map_that_is_exactly_neutral(method):
    values, neutral, places, visible = inputs(1)
    values = neutral.expand_as(values)
    rendered = WeightRenderer(RendererConfig(method=method)).double()(
        values, neutral, places, visible, HEIGHT, WIDTH)
    assert (rendered == neutral[:, None, None]).all()


@pytest.mark.parametrize("method", RENDER_METHODS)
def test_a_map_stays_between_the_weights_it_is_made_of(method):
    values, neutral, places, visible = inputs(2)
    rendered = WeightRenderer(RendererConfig(method=method)).double()(
        values, neutral, places, visible, HEIGHT, WIDTH)
    for field in range(2):
        low = min(values[..., field].min(), neutral[field]) - 1e-6
        high = max(values[..., field].max(), neutral[field]) + 1e-6
        assert low <= rendered[:, :, field].min()
        assert rendered[:, :, field].max() <= high


def test_the_number_of_operations_does_not_depend_on_queries_frames_or_views():
    def operations(batch, maps, queries):
        counted = []
        renderer = WeightRenderer(RendererConfig())
        arguments = (torch.rand(batch, queries, 2), torch.ones(2),
                     torch.rand(batch, maps, queries, 2) * 10,
                     torch.ones(batch, maps, queries, dtype=torch.bool), HEIGHT, WIDTH)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            renderer(*arguments)
        counted = [event for event in profile.events() if event.name.startswith("aten::")]
        return len(counted)

    assert operations(1, 1, 3) == operations(3, 6, 500)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_agrees_with_the_published_renderer(shared_reference, dtype):
    golden = Golden.read(shared_reference, "aqr_renderer")
    weights = golden("weights", dtype)
    for name, made in golden.about["constructor"].items():
        config = RendererConfig(
            method=made["render_method"], gaussian_sigma=made["gaussian_sigma"],
            distance_decay=made.get("distance_decay", 0.8),
            max_weight_clamp=made.get("max_weight_clamp", 1.5))
        clamp = made.get("normalize_weights", True)
        bev, (views, *image) = made["bev_feature_shape"], made["pers_feature_shape"]
        golden.check(f"bev_{name}",
                     published.render_bev(config, weights, golden("pts_bev", dtype), *bev, clamp))
        golden.check(f"pers_{name}", published.render_cameras(
            config, weights, golden("pts_pers", dtype), views, *image, clamp))
        if f"bevfrac_{name}" in golden.about["outputs"]:
            golden.check(f"bevfrac_{name}", published.render_bev(
                config, weights, golden("pts_bev_frac", dtype), *bev, clamp))


@pytest.mark.parametrize("method", RENDER_METHODS)
def test_published_maps_equal_the_published_loop_without_reference_data(method):
    config = RendererConfig(method=method, gaussian_sigma=1.0, max_weight_clamp=0.3)
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(1, 30, generator=generator, dtype=torch.float64) * 1.4 - 0.2
    cells = torch.stack([torch.randint(-1, n + 1, (1, 30), generator=generator)
                         for n in (HEIGHT, WIDTH)], -1).double()
    expected = torch.zeros(HEIGHT, WIDTH, dtype=torch.float64)
    taps = [math.exp(-d * d / 2) for d in range(-3, 4)]
    radius = 0.2 * HEIGHT
    for weight, (row, column) in zip(weights[0].clamp(0, 1).tolist(), cells[0].int().tolist()):
        if weight < 0.01:
            continue
        inside = 0 <= row < HEIGHT and 0 <= column < WIDTH
        if method == "bilinear":
            if inside and row + 1 < HEIGHT and column + 1 < WIDTH:
                expected[row, column] += weight
            continue
        if method == "direct":
            if inside:
                expected[row, column] = max(expected[row, column], weight)
            continue
        for y in range(HEIGHT):
            for x in range(WIDTH):
                dy, dx = y - row, x - column
                distance = math.hypot(dy, dx)
                if method == "gaussian" and inside and max(abs(dy), abs(dx)) <= 3:
                    expected[y, x] += weight * taps[dy + 3] * taps[dx + 3] / sum(taps) ** 2
                elif method == "distance_weighted" and distance <= radius:
                    expected[y, x] += weight * math.exp(-distance / (radius * 0.8))
    expected[expected < 0.01] = 0
    got = published.render_bev(config, weights, cells, HEIGHT, WIDTH)[0]
    torch.testing.assert_close(got, expected.clamp(0, 0.3), rtol=1e-9, atol=1e-12)
