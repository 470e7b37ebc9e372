"""Sparse convolution by the spconv library, where it is installed and agrees with ours.

spconv (Apache-2.0) is several times faster on a GPU and no dependency of this package:
``pip install spconv-cu120`` (or the build of your CUDA) is all it takes. Its second version keeps
weights in the layout that we do, so both compute with the same parameters.
"""

from __future__ import annotations

import importlib
import logging
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from aqr_perception.model.sparse_conv import SparseConv, SparseTensor

LOG = logging.getLogger(__name__)
SHARED_KEY = "submanifold"
"""Layers on the same cells share the bookkeeping under this name."""

LARGEST_DIFFERENCE = 1e-3
"""Relative to the largest number, between spconv and ours, before it is distrusted."""


def wanted(features: Tensor) -> bool:
    """Whether spconv is to compute this: on a GPU, in a precision that it knows, if it agrees."""
    return (features.is_cuda and features.dtype in (torch.float32, torch.float16)
            and agrees(str(features.device)))


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # the first frame may ask, and the gradient is looked at too
def agrees(device: str) -> bool:
    """Try spconv on random cells; False, with the reason in the log, where it cannot be used."""
    from aqr_perception.model.sparse_conv import SparseConv, from_cells

    try:
        importlib.import_module("spconv.pytorch")
    except ImportError:
        return False
    generator = torch.Generator().manual_seed(0)
    coordinates = (torch.rand(2, 9, 12, 11, generator=generator) < 0.3).nonzero().to(device)
    features = torch.randn(len(coordinates), 16, generator=generator).to(device)
    cells = from_cells(features, coordinates, (9, 12, 11), 2)
    for stride in (None, (2, 2, 2)):
        conv = SparseConv(16, 16, stride=stride).to(device)
        try:
            differences = _differences(conv, cells)
        except (RuntimeError, AssertionError, ValueError) as error:
            LOG.warning("spconv is installed but fails on %s (%s); using plain PyTorch", device,
                        str(error).splitlines()[0])
            return False
        if not max(differences) <= LARGEST_DIFFERENCE:
            LOG.warning("spconv is installed but differs by %.2g on %s; using plain PyTorch",
                        max(differences), device)
            return False
    return True


def _differences(conv: SparseConv, cells: SparseTensor) -> list[float]:
    """Largest relative differences of the result and, on a GPU, of the weights' gradient.

    spconv's build for the CPU has no backward pass.
    """
    with torch.enable_grad():
        volumes = [run(cells).dense() for run in (partial(convolve, conv), conv.plain)]
        compared = [volumes]
        if cells.features.is_cuda:
            compared.append([torch.autograd.grad(volume.square().sum(), conv.weight)[0]
                             for volume in volumes])
    return [float(((one - two).abs().max() / two.abs().max()).detach()) for one, two in compared]


def convolve(conv: SparseConv, cells: SparseTensor) -> SparseTensor:
    """One convolution by spconv, on the parameters of ours."""
    from aqr_perception.model.sparse_conv import SparseTensor, ravel

    library: Any = importlib.import_module("spconv.pytorch")
    given = library.SparseConvTensor(cells.features.contiguous(), cells.coordinates.int(),
                                     list(cells.shape), cells.frames)
    if isinstance(cells.rulebook, dict):
        given.indice_dict = cells.rulebook
    leaving, *_, entering = conv.weight.shape
    if conv.stride is None:
        layer = library.SubMConv3d(entering, leaving, conv.kernel, padding=conv.padding, bias=False,
                                   indice_key=SHARED_KEY)
    else:
        layer = library.SparseConv3d(entering, leaving, conv.kernel, conv.stride, conv.padding,
                                     bias=False)
    layer.weight = conv.weight
    layer.train(conv.training)
    out = layer(given)
    if conv.stride is None:
        return SparseTensor(out.features, cells.index, cells.shape, cells.frames, out.indice_dict)
    z, y, x = out.spatial_shape
    shape = (int(z), int(y), int(x))
    index, order = ravel(out.indices.long(), shape).sort()
    return SparseTensor(out.features[order], index, shape, cells.frames)
