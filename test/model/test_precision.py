"""What stays in single precision under autocast."""

from __future__ import annotations

import pytest
import torch
from rig import make_frame
from thin_networks import thin_cmt, thin_tiny

from aqr_perception.model.checkpoint import untrained
from aqr_perception.model.heat import place_queries
from aqr_perception.model.inputs import prepare
from aqr_perception.model.precision import has_half
from aqr_perception.types import Controls, DetectorOutput, Mounting


def seen(detector: torch.nn.Module, dtype: torch.dtype | None = None) -> DetectorOutput:
    batch = prepare([make_frame()], detector.config, Mounting(), Controls())
    with torch.inference_mode(), torch.autocast("cpu", dtype or torch.bfloat16,
                                                enabled=dtype is not None):
        return detector(batch)


@pytest.mark.parametrize(("capability", "half"), [("AVX512", True), ("AVX2", False),
                                                  ("DEFAULT", False)])
def test_half_precision_is_for_devices_that_have_it(monkeypatch, capability, half):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert has_half(torch.device("cpu")) is half
    assert has_half(torch.device("cuda", 0))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_trunks_run_in_half_precision_and_hand_over_near_the_same_tokens(dtype):
    detector = untrained(thin_cmt())
    batch = prepare([make_frame()], detector.config, Mounting(), Controls())
    pictures = batch.images.flatten(0, 1)
    kinds = []
    trunk = detector.tokenizer.image.trunk
    trunk.layer2.register_forward_hook(lambda module, taken, given: kinds.append(given.dtype))
    with torch.inference_mode():
        single = detector.tokenizer.image(pictures)
        with torch.autocast("cpu", dtype):
            half = detector.tokenizer.image(pictures)
            bev = detector.tokenizer.lidar(batch.points, batch.point_frame, 1)
        exact = detector.tokenizer.lidar(batch.points, batch.point_frame, 1)
    assert kinds == [torch.float32, dtype]
    assert half.dtype == bev.dtype == dtype
    rounding = 0.02 if dtype == torch.bfloat16 else 0.005
    assert (half.float() - single).norm() < rounding * single.norm()
    assert (bev.float() - exact).norm() < rounding * exact.norm()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_heat_and_what_is_placed_by_it_are_in_single_precision(dtype):
    """One matrix product in half precision moved places by metres."""
    config = thin_tiny()
    detector = untrained(config)
    batch = prepare([make_frame()], config, Mounting(), Controls())
    heat = seen(detector, dtype).heat
    assert {heat.bev.dtype, heat.image.dtype, heat.offset.dtype, heat.image_offset.dtype} == {
        torch.float32}
    usable = torch.cat([batch.lidar_present[:, None], batch.camera_present], dim=1)
    learned = detector.reference_points.detach().expand(1, -1, -1)
    single = place_queries(config, heat, batch.image_from_lidar, usable, learned)
    with torch.autocast("cpu", dtype):
        half = place_queries(config, heat, batch.image_from_lidar, usable, learned)
    assert torch.equal(single[0], half[0])
    assert torch.equal(single[1], half[1])
