from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from aqr_perception.cli.main import main
from aqr_perception.model.checkpoint import untrained
from aqr_perception.model.config import tiny
from aqr_perception.runtime.benchmark import (
    POINTS,
    batch_of,
    gate_cost,
    interleaved,
    ratio,
    renderer_speedup,
    synthetic_frame,
)
from aqr_perception.runtime.floor import Device, Stage, measure_device, memory_of, stages

CPU = torch.device("cpu")


def thin_tiny():
    config = tiny()
    return replace(
        config, image=replace(config.image, width=64, height=32, channels=(8, 8, 16, 16)),
        lidar=replace(config.lidar, voxel_size=(2.25, 2.25, 8.0), grid=(1, 48, 48),
                      sparse_channels=(8,), trunk_channels=(8, 16), neck_channels=16, max_tokens=0,
                      shared_kernel=1),
        decoder=replace(config.decoder, channels=32, layers=2, feedforward=32, queries=20,
                        placed=8, placed_by_images=6, head_channels=8))


def test_the_frame_is_of_the_size_it_claims():
    frame = synthetic_frame(3)
    assert frame.present.all()
    assert len(frame.lidar.points) == POINTS
    assert [image.pixels.shape for image in frame.images] == [(900, 1600, 3)] * 6
    again = synthetic_frame(3)
    np.testing.assert_array_equal(frame.lidar.points, again.lidar.points)
    assert frame.stamp_ns - synthetic_frame(2).stamp_ns == 100_000_000
    assert not np.array_equal(frame.fixed_from_lidar, synthetic_frame(2).fixed_from_lidar)
    height = frame.lidar.points[:, 2]
    assert np.median(height) == pytest.approx(-1.84, abs=0.5)


def test_cameras_look_all_around():
    batch = batch_of(tiny(), CPU)
    ahead = torch.tensor([0.0, 20.0, 0.0, 1.0])
    depth = (batch.image_from_lidar[0] @ ahead)[:, 2]
    assert depth.argmax() == 0
    assert (depth < 0).any()


def test_calls_take_turns():
    order = []
    times = interleaved([lambda: order.append("a"), lambda: order.append("b")], 3, CPU)
    assert "".join(order) == "ab" + "ab" + "ba" + "ab"
    assert [len(each) for each in times] == [3, 3]
    assert ratio([2.0, 6.0, 3.0], [1.0, 2.0, 3.0]) == 2.0


@pytest.mark.parametrize("training", [False, True])
def test_the_cost_of_the_gate_is_a_ratio(training):
    seconds, over = gate_cost(thin_tiny(), CPU, 1, training)
    assert seconds > 0
    assert over > 0


def test_both_renderers_draw_the_same():
    ours, loop, difference = renderer_speedup(1, queries=200)
    assert difference < 1e-6
    assert min(ours, loop) > 0


def test_stages_count_what_they_do():
    detector = untrained(thin_tiny())
    measured = stages(detector, batch_of(detector.config, CPU), CPU, 1)
    found = {stage.name: stage for stage in measured}
    assert set(found) == {
        "tokenizer.image.trunk", "tokenizer.image.neck", "tokenizer.lidar.encoder",
        "tokenizer.lidar.trunk", "tokenizer.lidar.neck", "tokenizer.lidar.shared", "decoder.head",
        "decoder.layers"}
    shared = found["tokenizer.lidar.shared"]
    assert shared.flops == 2 * 24 * 24 * 32 * 32  # 1×1 convolution, 32 → 32, on 24×24 cells
    assert shared.bytes == 4 * (2 * 24 * 24 * 32 + 32 * 32 + 2 * 32)
    # Two layers, 20 queries, 576 + 6·2·4 tokens, 32 channels; heads of 8 + 8 columns.
    tokens = 576 + 48
    own = 2 * (20 * 32 * (3 + 1) * 32 + 2 * 20 * 20 * 32)
    cross = 2 * (20 * 32 * 2 * 32 + tokens * 32 * 2 * 32 + 2 * 20 * tokens * 64)
    told = 2 * 20 * 7 * 4 * 32  # seven numbers a head, where it looked
    assert found["decoder.layers"].flops == 2 * (own + cross + told + 2 * 2 * 20 * 32 * 32)


def test_the_floor_is_the_slower_of_arithmetic_and_memory():
    device = Device(flops=100.0, bytes=10.0)
    assert Stage("", 200.0, 5.0, 9.0).floor(device) == 2.0
    assert Stage("", 20.0, 50.0, 9.0).floor(device) == 5.0
    measured = measure_device(CPU, size=128)
    assert measured.flops > 1e6
    assert measured.bytes > 1e6


def test_memory_is_followed():
    class Module(torch.nn.Module):
        def forward(self, batch):
            first = batch.images + 1  # lives on
            second = first * 2
            del first
            return second.view(-1)[:10].clone()  # the view makes nothing

    batch = batch_of(thin_tiny(), CPU)
    used = memory_of(Module(), batch)
    assert used.largest == batch.images.nbytes
    assert used.peak == 2 * batch.images.nbytes
    assert used.parameters == 0


def test_nothing_as_large_as_queries_times_tokens_times_heads_is_made():
    config = thin_tiny()
    config = replace(config, decoder=replace(config.decoder, queries=800, placed=8))
    detector, batch = untrained(config), batch_of(config, CPU)
    used = memory_of(detector, batch)
    dense = 4 * config.decoder.heads * 800 * (576 + 48)
    assert used.largest < dense


def test_the_command_writes_its_numbers(tmp_path, capsys):
    path = tmp_path / "numbers.json"
    assert main(["benchmark", "--parts", "renderer", "frame", "--repeats", "1", "--device", "cpu",
                 "--json", str(path)]) == 0
    numbers = json.loads(path.read_text())
    assert {"renderer_speedup", "frame_ms_p50", "frame_ms_p90", "device"} <= set(numbers)
    assert "query by query" in capsys.readouterr().out
    assert main(["benchmark", "--repeats", "0"]) == 2
    assert "--repeats is 0; expected 1 or more" in capsys.readouterr().err
