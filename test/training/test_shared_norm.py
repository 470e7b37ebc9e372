"""Batch normalisation over processes, against PyTorch's own where there is one process."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from torch import nn

from aqr_perception.training.distributed import shared_batch_norm


@pytest.fixture
def alone(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(50, 6), (3, 6, 8, 5)])
def test_it_is_batch_normalisation(alone, shape, affine):
    torch.manual_seed(0)
    kind = nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d
    own, ours = (kind(6, affine=affine, dtype=torch.float64) for _ in range(2))
    if affine:
        for norm in (own, ours):
            norm.load_state_dict(norm.state_dict() | {
                "weight": torch.linspace(0.5, 2, 6), "bias": torch.linspace(-1, 1, 6)})
    x = torch.randn(shape, dtype=torch.float64) * 3 + 1
    seed = torch.randn(shape, dtype=torch.float64)
    results = []
    for norm, run in ((own, own), (ours, lambda value: shared_batch_norm(ours, value))):
        entering = x.clone().requires_grad_()
        leaving = run(entering)
        leaving.backward(seed)
        results.append([leaving, entering.grad, *(p.grad for p in norm.parameters()),
                        norm.running_mean, norm.running_var])
    for one, other in zip(*results):
        torch.testing.assert_close(one, other)


def test_half_precision_stays_half_with_statistics_that_are_not(alone):
    norm = nn.BatchNorm2d(4)
    x = torch.randn(2, 4, 64, 64).to(torch.bfloat16).requires_grad_()
    out = shared_batch_norm(norm, x)
    out.sum().backward()
    assert out.dtype == x.grad.dtype == torch.bfloat16
    wanted = nn.BatchNorm2d(4)
    torch.testing.assert_close(out.float(), wanted(x.detach().float()), atol=0.03, rtol=0.02)
    torch.testing.assert_close(norm.running_var, wanted.running_var)
