"""Many processes that train as one: the same loss curve as one process with the whole batch."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def process() -> tuple[int, int]:
    """Rank and number of processes; (0, 1) outside torchrun."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def max_over_processes(value: int, device: torch.device) -> int:
    """The largest of the values that all processes call this with."""
    if process()[1] == 1:
        return value
    tensor = torch.tensor(value, device=device)
    dist.all_reduce(tensor, dist.ReduceOp.MAX)
    return int(tensor)


def normalisers(sums: Tensor) -> Tensor:
    """What sums of losses are divided by: at least 1, as one process with the whole batch has them.

    Gradients are averaged over the processes afterwards, so each one's share is 1/W of the whole.
    """
    processes = process()[1]
    if processes == 1:
        return sums.clamp(min=1.0)
    sums = sums.clone()
    dist.all_reduce(sums)
    return sums.clamp(min=1.0) / processes


def mean_over_processes(value: Tensor) -> Tensor:
    """Mean of a tensor that all processes have, without gradient."""
    value, processes = value.detach().clone(), process()[1]
    if processes > 1:
        dist.all_reduce(value)
    return value / processes


def share_statistics(module: nn.Module, device: torch.device) -> nn.Module:
    """Let batch normalisation see the batches of all processes.

    PyTorch has this for CUDA only; on a CPU (gloo) our own class takes the place.

    Args:
        module: Changed in place on a CPU.
        device: Where it trains.
    """
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.__class__ = SharedBatchNorm1d
        elif isinstance(part, nn.BatchNorm2d):
            part.__class__ = SharedBatchNorm2d
    return module


class _AllSum(torch.autograd.Function):
    """Sum over the processes; the gradient is the sum of the processes' gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        dist.all_reduce(gradient)
        return gradient


def shared_batch_norm(norm: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Normalise (N, C, ...) by mean and variance over all processes, and follow them.

    Every process must call it, with an N of its own that may be 0.
    """
    axes = [axis for axis in range(x.ndim) if axis != 1]
    shape = [1, -1] + [1] * (x.ndim - 2)
    count = x.new_tensor([x.numel() // x.shape[1]])
    sums = _AllSum.apply(torch.cat([x.sum(axes), (x * x).sum(axes), count]))
    first, second, total = sums.split([x.shape[1], x.shape[1], 1])
    mean = first / total
    variance = (second / total - mean * mean).clamp(min=0.0)
    if norm.running_mean is not None and norm.running_var is not None:
        momentum = 0.1 if norm.momentum is None else norm.momentum
        with torch.no_grad():
            norm.running_mean.lerp_(mean, momentum)
            norm.running_var.lerp_(variance * total / (total - 1).clamp(min=1), momentum)
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked += 1
    scale = torch.rsqrt(variance + norm.eps)
    out = (x - mean.view(shape)) * scale.view(shape)
    if norm.affine:
        out = out * norm.weight.view(shape) + norm.bias.view(shape)
    return out


class SharedBatchNorm1d(nn.BatchNorm1d):
    """BatchNorm1d over all processes while training."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C) or (N, C, L)."""
        return shared_batch_norm(self, x) if self.training else super().forward(x)


class SharedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d over all processes while training."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W)."""
        return shared_batch_norm(self, x) if self.training else super().forward(x)
