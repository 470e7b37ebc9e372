"""Sparse 3D convolution in plain PyTorch, on CPU and CUDA.

Cells that hold nothing are not computed. For each offset of the kernel a *rulebook* lists which
input cell feeds which output cell; the convolution gathers those rows, multiplies them by that
offset's matrix and adds them up at the outputs (Graham et al., 2018; Yan et al., 2018). All
bookkeeping is done on sorted 64-bit linear indices, without a loop over cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from aqr_perception.model import spconv_backend
from aqr_perception.model.constants import numbers

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Rulebook:
    """Who feeds whom, K offsets of the kernel one after the other.

    Attributes:
        source: (P,) int64 rows of the input.
        target: (P,) int64 rows of the output.
        counts: K numbers of pairs; they sum to P.
        outputs: Rows of the output.
    """

    source: Tensor
    target: Tensor
    counts: tuple[int, ...]
    outputs: int


@dataclass(frozen=True)
class SparseTensor:
    """N active cells of a grid.

    Attributes:
        features: (N, C).
        index: (N,) int64, strictly ascending: ((frame·Z + z)·Y + y)·X + x of each cell.
        shape: Z, Y, X.
        frames: How many.
        rulebook: For a submanifold convolution with kernel 3 on these cells, once there is one;
            layers on the same cells share it. spconv keeps a dict of its own there.
    """

    features: Tensor
    index: Tensor
    shape: Triple
    frames: int
    rulebook: Rulebook | dict[str, Any] | None = None

    @property
    def coordinates(self) -> Tensor:
        """(N, 4) int64 frame, z, y, x."""
        return unravel(self.index, self.shape)

    def dense(self) -> Tensor:
        """(frames, C, Z, Y, X), zero where nothing is active."""
        cells = self.frames * math.prod(self.shape)
        volume = self.features.new_zeros(cells, self.features.shape[1])
        volume = volume.index_copy(0, self.index, self.features)
        return volume.view(self.frames, *self.shape, -1).permute(0, 4, 1, 2, 3)


def from_cells(features: Tensor, coordinates: Tensor, shape: Triple, frames: int) -> SparseTensor:
    """Collect active cells.

    Args:
        features: (N, C).
        coordinates: (N, 4) frame, z, y, x; every cell once, in any order.
        shape: Z, Y, X.
        frames: How many.
    """
    index, order = ravel(coordinates.long(), shape).sort()
    return SparseTensor(features[order], index, shape, frames)


def ravel(coordinates: Tensor, shape: Triple) -> Tensor:
    """(..., 4) frame, z, y, x → (...) linear index."""
    frame, z, y, x = coordinates.unbind(-1)
    return ((frame * shape[0] + z) * shape[1] + y) * shape[2] + x


def unravel(index: Tensor, shape: Triple) -> Tensor:
    """(...) linear index → (..., 4) frame, z, y, x."""
    parts = []
    for size in reversed(shape):
        parts.append(index % size)
        index = torch.div(index, size, rounding_mode="floor")
    return torch.stack([index, *reversed(parts)], dim=-1)


def submanifold_rulebook(cells: SparseTensor) -> Rulebook:
    """Kernel 3, stride 1: outputs are the inputs' cells and see their active neighbours.

    Pairs of opposite offsets are each other's mirror image, so half of them are looked up.
    """
    count = len(cells.index)
    device = cells.index.device
    everyone = torch.arange(count, device=device)
    offsets = kernel_offsets((3, 3, 3), device)
    half = len(offsets) // 2
    step = offsets[:half] - 1
    limits = numbers(cells.shape, device)
    neighbour = cells.coordinates[None, :, 1:] + step[:, None]
    inside = ((neighbour >= 0) & (neighbour < limits)).all(dim=-1)
    wanted = cells.index + ravel(torch.nn.functional.pad(step, (1, 0)), cells.shape)[:, None]
    place = torch.searchsorted(cells.index, wanted).clamp(max=max(count - 1, 0))
    found = inside & (cells.index[place] == wanted) if count else inside
    offset, target = found.nonzero(as_tuple=True)
    source = place[offset, target]
    counts = torch.bincount(offset, minlength=half).tolist()
    sources, targets = source.split(counts), target.split(counts)
    return Rulebook(source=torch.cat([source, everyone, *reversed(targets)]),
                    target=torch.cat([target, everyone, *reversed(sources)]),
                    counts=(*counts, count, *reversed(counts)), outputs=count)


def strided_rulebook(cells: SparseTensor, kernel: Triple, stride: Triple, padding: Triple
                     ) -> tuple[Rulebook, Tensor, Triple]:
    """Every output cell whose window touches an active input is active.

    Returns:
        The rulebook, the outputs' linear index and their grid's shape.
    """
    device = cells.index.device
    shape = output_shape(cells.shape, kernel, stride, padding)
    offsets = kernel_offsets(kernel, device)
    coordinates = cells.coordinates
    steps, limits = numbers(stride, device), numbers(shape, device)
    shifted = coordinates[None, :, 1:] + numbers(padding, device) - offsets[:, None]
    place = torch.div(shifted, steps, rounding_mode="floor")
    hit = ((shifted % steps == 0) & (place >= 0) & (place < limits)).all(dim=-1)
    frame = coordinates[None, :, :1].expand(len(offsets), -1, -1)
    index = ravel(torch.cat([frame, place], dim=-1)[hit], shape)
    outputs, target = index.unique(return_inverse=True)
    offset, source = hit.nonzero(as_tuple=True)
    counts = torch.bincount(offset, minlength=len(offsets)).tolist()
    return Rulebook(source, target, tuple(counts), len(outputs)), outputs, shape


def output_shape(shape: Triple, kernel: Triple, stride: Triple, padding: Triple) -> Triple:
    """Grid after a convolution."""
    z, y, x = ((size + 2 * pad - width) // step + 1
               for size, width, step, pad in zip(shape, kernel, stride, padding))
    return z, y, x


def kernel_offsets(kernel: Triple, device: torch.device) -> Tensor:
    """(K, 3) z, y, x of each weight, in the order of the weights in memory."""
    axes = [torch.arange(width, device=device) for width in kernel]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, 2)


class _GatherMultiplyScatter(torch.autograd.Function):
    """Σ over offsets of scatter(gather(features) @ weight); gathers again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, rules: Rulebook) -> Tensor:
        """(N, C) features and (K, C, D) weights → (M, D)."""
        ctx.save_for_backward(features, weight, rules.source, rules.target)
        ctx.counts = rules.counts
        out = features.new_zeros(rules.outputs, weight.shape[2])
        for matrix, source, target in zip(weight, rules.source.split(rules.counts),
                                          rules.target.split(rules.counts)):
            if len(source):
                out.index_add_(0, target, features[source] @ matrix)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        """Gradients of features and weights."""
        features, weight, sources, targets = ctx.saved_tensors
        to_features, to_weight = torch.zeros_like(features), torch.zeros_like(weight)
        for k, (source, target) in enumerate(zip(sources.split(ctx.counts),
                                                 targets.split(ctx.counts))):
            if len(source):
                gradient = gradients[0][target]
                to_features.index_add_(0, source, gradient @ weight[k].T)
                to_weight[k] = features[source].T @ gradient
        return to_features, to_weight, None


class SparseConv(nn.Module):
    """A sparse convolution without bias.

    Args:
        entering: C.
        leaving: D.
        kernel: Along z, y, x.
        stride: Likewise; None makes it submanifold (kernel 3): what is active stays the same.
        padding: Likewise.

    Attributes:
        weight: (D, kz, ky, kx, C), the layout of spconv 2.
    """

    def __init__(self, entering: int, leaving: int, kernel: Triple = (3, 3, 3),
                 stride: Triple | None = None, padding: Triple = (1, 1, 1)) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = kernel, stride, padding
        self.weight = nn.Parameter(torch.empty(leaving, *kernel, entering))
        nn.init.normal_(self.weight, std=math.sqrt(2 / (entering * math.prod(kernel))))

    def forward(self, cells: SparseTensor) -> SparseTensor:
        """Convolve, by spconv where it is at hand."""
        if len(cells.index) and spconv_backend.wanted(cells.features):
            return spconv_backend.convolve(self, cells)
        return self.plain(cells)

    def plain(self, cells: SparseTensor) -> SparseTensor:
        """Convolve in plain PyTorch."""
        matrices = self.weight.flatten(1, 3).permute(1, 2, 0)
        if self.stride is None:
            rules = cells.rulebook
            if not isinstance(rules, Rulebook):
                rules = submanifold_rulebook(cells)
            features = _GatherMultiplyScatter.apply(cells.features, matrices, rules)
            return replace(cells, features=features, rulebook=rules)
        rules, index, shape = strided_rulebook(cells, self.kernel, self.stride, self.padding)
        features = _GatherMultiplyScatter.apply(cells.features, matrices, rules)
        return SparseTensor(features, index, shape, cells.frames)


class SparseConvNorm(nn.Module):
    """Sparse convolution, batch norm, ReLU."""

    def __init__(self, conv: SparseConv, eps: float, momentum: float) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm1d(conv.weight.shape[0], eps, momentum)

    def forward(self, cells: SparseTensor) -> SparseTensor:
        """Same cells, or those of the stride."""
        cells = self.conv(cells)
        return replace(cells, features=normed(self.norm, cells.features).relu())


class SparseBlock(nn.Module):
    """Two submanifold convolutions with a shortcut."""

    def __init__(self, channels: int, eps: float, momentum: float) -> None:
        super().__init__()
        self.first = SparseConvNorm(SparseConv(channels, channels), eps, momentum)
        self.conv = SparseConv(channels, channels)
        self.norm = nn.BatchNorm1d(channels, eps, momentum)

    def forward(self, cells: SparseTensor) -> SparseTensor:
        """Same cells."""
        inner = self.conv(self.first(cells))
        features = (normed(self.norm, inner.features) + cells.features).relu()
        return replace(inner, features=features)


def normed(norm: nn.BatchNorm1d, features: Tensor) -> Tensor:
    """Batch norm over rows; fewer than two rows have no statistics and use the running ones."""
    if norm.training and len(features) < 2:
        return torch.nn.functional.batch_norm(
            features, norm.running_mean, norm.running_var, norm.weight, norm.bias, False,
            eps=norm.eps)
    return norm(features)


def sparse_stages(entering: int, channels: Sequence[int], eps: float, momentum: float
                  ) -> nn.Sequential:
    """The layers of mmdet3d's SparseEncoder with basic blocks.

    A stem, four stages of two blocks of which the first three end in a stride of 2, and a last
    convolution that halves z once more.

    Args:
        entering: Width of the voxels.
        channels: Of the four stages, then of the output.
        eps: Of the batch norms.
        momentum: Likewise.
    """
    *stages, leaving = channels
    layers: list[nn.Module] = [
        SparseConvNorm(SparseConv(entering, stages[0]), eps, momentum)]
    paddings: tuple[Triple, ...] = ((1, 1, 1), (1, 1, 1), (0, 1, 1))
    for number, width in enumerate(stages):
        stage: list[nn.Module] = [SparseBlock(width, eps, momentum) for _ in range(2)]
        if number < len(paddings):
            down = SparseConv(width, stages[number + 1], (3, 3, 3), (2, 2, 2), paddings[number])
            stage.append(SparseConvNorm(down, eps, momentum))
        layers.append(nn.Sequential(*stage))
    layers.append(SparseConvNorm(SparseConv(stages[-1], leaving, (3, 1, 1), (2, 1, 1), (0, 0, 0)),
                                 eps, momentum))
    return nn.Sequential(*layers)
