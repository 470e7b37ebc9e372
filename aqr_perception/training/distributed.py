"""Many processes that train as one: the same loss curve as one process with the whole batch."""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn


def process() -> tuple[int, int]:
    """Rank and number of processes; (0, 1) outside torchrun."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def leave() -> NoReturn:
    """End this process, one of many, with exit status 0 once all of them are through.

    Without Python's own way out: DistributedDataParallel never lets go of gloo's threads (torch
    2.13), and one that still frees a tensor while the interpreter goes down aborts the process.
    """
    dist.barrier()  # the first process may still write a file; who leaves now would abort it
    dist.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


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


class _SharedNorm(torch.autograd.Function):
    """Batch normalisation whose mean and variance, and their gradients, are of all processes.

    Forward as Ioffe & Szegedy (2015); backward their chain rule, its two sums over all processes.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor,
                variance: Tensor, total: Tensor, eps: float) -> Tensor:
        """(N, C, ...) → the same shape and dtype; the statistics are (C,), ``total`` (1,)."""
        ctx.save_for_backward(x, weight, mean, torch.rsqrt(variance + eps), total)
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Of x over all processes, of weight and bias over this one's own part."""
        x, weight, mean, scale, total = ctx.saved_tensors
        gradient = gradients[0]
        axes, shape = _axes(x)
        normal = ((_wide(x) - mean.view(shape)) * scale.view(shape)).to(x.dtype)
        of_bias = gradient.sum(axes, dtype=mean.dtype)
        of_weight = (gradient * normal).sum(axes, dtype=mean.dtype)
        sums = torch.stack([of_bias, of_weight])
        dist.all_reduce(sums)
        first, second = (sums / total).to(x.dtype).unbind(0)
        factor = (scale if weight is None else scale * weight).to(x.dtype)
        of_x = (gradient - first.view(shape) - normal * second.view(shape)) * factor.view(shape)
        if weight is None:
            return of_x, None, None, None, None, None, None
        return of_x, of_weight, of_bias, None, None, None, None


def shared_batch_norm(norm: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Normalise (N, C, ...) by mean and variance over all processes, and follow them.

    Every process must call it, with an N of its own that may be 0. Statistics are single precision
    whatever x is.
    """
    axes, _ = _axes(x)
    with torch.no_grad():
        wide = _wide(x.detach())
        count = wide.new_tensor([wide.numel() // wide.shape[1]])
        sums = torch.cat([wide.sum(axes), wide.square().sum(axes), count])
        dist.all_reduce(sums)
        first, second, total = sums.split([x.shape[1], x.shape[1], 1])
        mean = first / total
        variance = (second / total - mean * mean).clamp(min=0.0)
        if norm.running_mean is not None and norm.running_var is not None:
            momentum = 0.1 if norm.momentum is None else norm.momentum
            norm.running_mean.lerp_(mean, momentum)
            norm.running_var.lerp_(variance * total / (total - 1).clamp(min=1), momentum)
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked += 1
    normalised: Tensor = _SharedNorm.apply(x, norm.weight, norm.bias, mean, variance, total,
                                           norm.eps)
    return normalised


def _wide(x: Tensor) -> Tensor:
    """In single precision or better."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _axes(x: Tensor) -> tuple[list[int], list[int]]:
    """The axes that are averaged over, and the shape that the others broadcast in."""
    return [axis for axis in range(x.ndim) if axis != 1], [1, -1] + [1] * (x.ndim - 2)


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
