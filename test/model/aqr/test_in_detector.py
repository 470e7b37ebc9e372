"""Every mode inside the whole network."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import pytest
import torch
from aqr_scenes import make_batch, ring_of_cameras

from aqr_perception.model.aqr.config import (
    AqrConfig,
    AttentionBiasConfig,
    GateConfig,
    GeneratorConfig,
    ModulatorConfig,
    RendererConfig,
    WeightMapConfig,
)
from aqr_perception.model.aqr.history import look_back
from aqr_perception.model.aqr.output import GateLabels
from aqr_perception.model.config import DecoderConfig, DetectorConfig, ImageConfig, LidarConfig
from aqr_perception.model.detector import Detector
from aqr_perception.types import Batch

VIEWS, SIZE = 3, (64, 96)
GENERATOR = GeneratorConfig(heads=2, feedforward=32)
MAPS = WeightMapConfig(generator=GENERATOR, renderer=RendererConfig(learnable_sigma=True),
                       modulator=ModulatorConfig(class_residual_weight={"car": 0.5},
                                                 size_adaptive=True))
TRAINABLE = {
    "gate": AqrConfig(mode="gate"),
    "weight_map": AqrConfig(mode="weight_map", weight_map=MAPS),
    "weight_map_mlp": AqrConfig(mode="weight_map", weight_map=replace(
        MAPS, generator=GeneratorConfig(kind="mlp"))),
    "attention_bias": AqrConfig(mode="attention_bias", attention_bias=AttentionBiasConfig(
        generator=GENERATOR, window=4)),
}
EVERY = {
    **TRAINABLE,
    "reference_maps": AqrConfig(mode="weight_map", weight_map=WeightMapConfig(
        generator=GENERATOR, reference=True)),
    "reference_bias": AqrConfig(mode="attention_bias", attention_bias=AttentionBiasConfig(
        generator=GENERATOR, window=4, reference=True)),
    "global_bias": AqrConfig(mode="attention_bias", attention_bias=AttentionBiasConfig(
        generator=GENERATOR, local=False, reference=True)),
    "constant": AqrConfig(mode="gate", gate=GateConfig(learned=False)),
}
PLACED = {"heat": True, "placed": 4, "placed_by_images": 4, "seeded": True}
each_trainable = pytest.mark.parametrize("aqr", TRAINABLE.values(), ids=TRAINABLE)
each_mode = pytest.mark.parametrize("aqr", EVERY.values(), ids=EVERY)


def config(aqr: AqrConfig, **decoder) -> DetectorConfig:
    return DetectorConfig(
        name="test",
        image=ImageConfig("small", width=SIZE[1], height=SIZE[0], channels=(8, 8, 16, 16),
                          frozen_norm=False),
        lidar=LidarConfig("pillars", (3.0, 3.0, 8.0), (1, 36, 36), (8,), (16, 16), (1, 1), 16, 1,
                          max_tokens=decoder.pop("max_tokens", 0)),
        decoder=DecoderConfig(channels=32, heads=2, layers=2, feedforward=32, queries=10,
                              head_channels=16, depth_bins=4, **{"dropout": 0.0, **decoder}),
        aqr=aqr)


def detector(aqr: AqrConfig, seed: int = 0, trained: bool = False, **decoder) -> Detector:
    """A network with random weights; ``trained`` moves AQR away from its neutral start."""
    torch.manual_seed(seed)
    made = Detector(config(aqr, **decoder)).eval()
    if trained:
        for parameter in made.decoder.router.parameters():
            with torch.no_grad():
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return made


def without_aqr(made: Detector) -> Detector:
    plain = Detector(replace(made.config, aqr=AqrConfig(mode="off"))).eval()
    state = {name: value for name, value in made.state_dict().items() if ".router." not in name}
    plain.load_state_dict(state)
    return plain


def batch(count: int = 2, **changes) -> Batch:
    return make_batch(ring_of_cameras(count, VIEWS, SIZE), SIZE, **changes)


@dataclass
class Copies:
    """Denoising queries: reference points anywhere, one group."""

    reference_points: torch.Tensor
    blocked: torch.Tensor


def copies(count: int, seed: int) -> Copies:
    generator = torch.Generator().manual_seed(seed)
    blocked = torch.zeros(14, 14, dtype=torch.bool)
    blocked[4:, :4] = True
    return Copies(torch.rand(count, 4, 3, generator=generator), blocked)


def close(first, second, tolerance=1e-5):
    for part in ("logits", "boxes"):  # boxes reach 60 m, where single precision ends at 4e-6
        torch.testing.assert_close(getattr(first, part), getattr(second, part), rtol=2e-6,
                                   atol=tolerance)


@each_trainable
@pytest.mark.parametrize("tokens", [0, 200])
def test_starts_as_the_network_without_it(aqr, tokens):
    """In double precision: in single, sums in another order alone move a box at 60 m by 1.5e-5."""
    made = detector(aqr, max_tokens=tokens)
    plain, wide = without_aqr(made).double(), batch()
    wide = replace(wide, **{name: value.double() for name, value in vars(wide).items()
                            if value.is_floating_point()})
    close(made.double()(wide), plain(wide), 5e-6)


@each_mode
def test_no_say_means_no_change(aqr):
    made = detector(aqr, trained=True)
    plain = without_aqr(made)(batch())
    close(made(batch(modulation=torch.zeros(2, 2))), plain)
    assert (made(batch()).logits - plain.logits).abs().max() > 1e-4


@pytest.mark.parametrize("left_out", [[0], [1, 2, 3], [0, 2]], ids=["lidar", "cameras", "both"])
def test_a_sensor_that_the_gate_leaves_out_is_as_good_as_absent(left_out):
    """It does not say where queries start, either."""
    frame = torch.ones(2, 1 + VIEWS)
    frame[:, left_out] = 0.0
    made = detector(TRAINABLE["gate"], **PLACED)
    plain, absent = without_aqr(made), batch(gains=frame)
    assert (made(batch()).boxes - plain(absent).boxes).abs().max() > 1e-2
    made.decoder.router.oracle = GateLabels(frame, None, None)
    close(made(batch()), plain(absent), 2e-5)
    if left_out == [0, 2]:  # by itself it has one head for all cameras
        return
    made.decoder.router.oracle = None
    torch.nn.init.constant_(made.decoder.router.frame_head[min(left_out[0], 1)].bias, -40.0)
    close(made(batch()), plain(absent), 2e-5)


@each_mode
def test_say_is_taken_from_one_frame_at_a_time(aqr):
    made = detector(aqr, trained=True)
    mixed = made(batch(modulation=torch.tensor([[0.0, 0.0], [1.0, 1.0]])))
    torch.testing.assert_close(mixed.logits[:, 0], without_aqr(made)(batch()).logits[:, 0],
                               rtol=0, atol=1e-5)
    torch.testing.assert_close(mixed.logits[:, 1], made(batch()).logits[:, 1], rtol=0, atol=1e-5)


@each_mode
@pytest.mark.parametrize("refine", [False, True])
def test_learns_in_every_part_at_the_first_step(aqr, refine):
    made = detector(aqr, refine=refine).train()
    history = made(batch()).aqr.history
    if history is not None:  # so far all sensors are thought of alike
        history = replace(history, trust=torch.full_like(history.trust, 0.9))
    output = made(batch(), copies(2, 0), history)
    loss = output.logits.square().sum() + output.boxes.square().sum()
    if output.aqr.contrast is not None:
        loss = loss + output.aqr.contrast.similarity.sum()
    loss.backward()
    # The first layer's queries hold zeros; a map that is neutral everywhere has no width.
    still = ("query_content.0.weight", "renderer.log_sigma")
    silent = [name for name, parameter in made.decoder.router.named_parameters()
              if parameter.requires_grad and name not in still
              and (parameter.grad is None or not parameter.grad.abs().max() > 0)]
    if aqr.mode == "weight_map" and aqr.weight_map.reference:
        assert len(silent) == len(list(made.decoder.router.generator.parameters()))
    else:
        assert silent == []


@each_trainable
def test_denoising_queries_change_nothing_for_the_others(aqr):
    made = detector(aqr, trained=True)
    plain = made(batch())
    for seed in (0, 1):
        close(made(batch(), copies(2, seed)), plain)


def test_denoising_queries_leak_through_the_published_maps():
    made = detector(EVERY["reference_maps"], trained=True)
    plain, leaked = made(batch()), made(batch(), copies(2, 0))
    assert (plain.logits - leaked.logits).abs().max() > 1e-3


@each_mode
def test_a_frame_does_not_depend_on_the_others(aqr):
    made = detector(aqr, trained=True)
    both = batch()
    for b in range(2):
        kept = both.point_frame == b
        parts = {field.name: getattr(both, field.name)[b:b + 1] for field in fields(Batch)
                 if field.name not in ("points", "point_frame")}
        alone = Batch(points=both.points[kept], point_frame=torch.zeros(int(kept.sum())).long(),
                      **parts)
        torch.testing.assert_close(made(alone).logits[:, 0], made(both).logits[:, b], rtol=0,
                                   atol=1e-4)


@each_trainable
def test_the_order_of_the_cameras_does_not_matter(aqr):
    made = detector(aqr, trained=True)
    first = batch()
    order = [2, 0, 1]
    sensors = [0, *(1 + view for view in order)]
    turned = replace(first, images=first.images[:, order],
                     image_from_lidar=first.image_from_lidar[:, order],
                     camera_present=first.camera_present[:, order],
                     gains=first.gains[:, sensors], ages=first.ages[:, sensors])
    one, other = made(first), made(turned)
    close(one, other, 1e-4)
    close(made(first, history=one.aqr.history), made(turned, history=other.aqr.history), 1e-4)


@each_mode
def test_any_sensors_may_be_absent(aqr):
    made = detector(aqr, trained=True)
    for present in ([1, 0, 0, 0], [0, 1, 1, 1], [0, 0, 1, 0], [1, 1, 0, 1], [0, 0, 0, 0]):
        there = torch.tensor([present, [1, 1, 1, 1]], dtype=torch.bool)
        for chosen in (there, there[:1]):
            output = made(batch(len(chosen), present=chosen))
            assert torch.isfinite(output.logits).all()
            assert torch.isfinite(output.boxes).all()
            report = output.aqr.report
            assert torch.isfinite(report.relative_change).all()
            assert torch.isfinite(report.mean_weight).all()


@each_mode
def test_the_report_says_where_the_attention_went(aqr):
    made = detector(aqr)
    present = torch.tensor([[1, 1, 0, 1], [1, 1, 1, 1]], dtype=torch.bool)
    mass = made(batch(present=present)).aqr.report.mass
    torch.testing.assert_close(mass.sum(1), torch.ones(2), rtol=0, atol=1e-4)
    assert mass[0, 2] == 0
    assert (mass[present] > 0).all()


@each_mode
@pytest.mark.parametrize("tokens", [0, 200])
@pytest.mark.parametrize("position", ["cmt", "fourier"])
def test_running_sensor_by_sensor_changes_nothing(aqr, tokens, position):
    made = detector(aqr, trained=True, max_tokens=tokens, position=position).double()
    frames = batch(present=torch.tensor([[1, 1, 0, 1], [0, 1, 1, 1]], dtype=torch.bool),
                   gains=torch.tensor([[1.0, 2.0, 1.0, 0.5], [1.0, 1.0, 1.0, 1.0]]))
    frames = replace(frames, **{name: value.double() for name, value in vars(frames).items()
                                if value.is_floating_point()})
    columns = made(frames)
    with torch.inference_mode():
        by_sensor = made(frames)
    close(columns, by_sensor, 1e-9)
    torch.testing.assert_close(columns.aqr.report.mass, by_sensor.aqr.report.mass, rtol=0,
                               atol=1e-6, check_dtype=False)


@pytest.mark.parametrize("aqr", [TRAINABLE["gate"], TRAINABLE["weight_map"],
                                 TRAINABLE["attention_bias"]])
def test_runs_in_half_precision(aqr):
    made = detector(aqr, trained=True)
    exact = made(batch()).logits
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = made(batch()).logits
    assert torch.isfinite(half).all()
    assert (half.float() - exact).abs().max() < 0.3


@pytest.mark.parametrize(("absence", "present"), [
    ("left_out", [1] * 4), ("left_out", [0, 1, 1, 0]), ("zeros", [0, 1, 1, 1])])
def test_history_can_be_had_without_running_the_decoder(absence, present):
    made = detector(TRAINABLE["gate"], trained=True, absence=absence)
    there = torch.tensor([[1] * 4, present], dtype=torch.bool)

    def batch():
        return make_batch(ring_of_cameras(2, VIEWS, SIZE), SIZE, present=there)

    whole, short = made(batch()).aqr.history, look_back(made, batch())
    for name, value in vars(whole.maps).items():
        torch.testing.assert_close(getattr(short.maps, name), value)
    torch.testing.assert_close(short.fixed_from_model, whole.fixed_from_model)
    assert short.valid.all()
    torch.testing.assert_close(short.trust, whole.trust)
    again, shorter = (made(batch(), history=whole).aqr.history,
                      look_back(made, batch(), short))
    torch.testing.assert_close(shorter.trust, again.trust)
    assert look_back(detector(TRAINABLE["weight_map"]), batch()) is None
    assert look_back(without_aqr(made), batch()) is None


def test_tokens_that_attention_does_not_read_are_not_judged():
    made = detector(TRAINABLE["gate"], max_tokens=200)
    present = torch.tensor([[1, 1, 0, 1], [1, 1, 1, 1]], dtype=torch.bool)
    logits = made(batch(present=present)).aqr.logits
    cells, pictures = 36 * 36, logits.read.shape[1] - 36 * 36
    assert logits.read[:, :cells].sum(1).tolist() == [200, 200]
    assert logits.read[:, cells:].sum(1).tolist() == [pictures * 2 // 3, pictures]
    assert logits.token.shape[1:] == logits.read.shape
