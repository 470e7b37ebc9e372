from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from aqr_perception.model.sparse_conv import (
    SparseConv,
    from_cells,
    output_shape,
    ravel,
    sparse_stages,
    unravel,
)

SHAPE = (7, 9, 8)
KINDS = {  # kernel, stride (None: submanifold), padding
    "submanifold": ((3, 3, 3), None, (1, 1, 1)),
    "halving": ((3, 3, 3), (2, 2, 2), (1, 1, 1)),
    "halving, height not padded": ((3, 3, 3), (2, 2, 2), (0, 1, 1)),
    "height only": ((3, 1, 1), (2, 1, 1), (0, 0, 0)),
    "dense stride": ((3, 3, 3), (1, 1, 1), (1, 1, 1))}
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def make_cells(share, frames=2, channels=5, seed=0, device="cpu", shape=SHAPE):
    """Random active cells in random order, and the same as dense volume and mask."""
    generator = torch.Generator().manual_seed(seed)
    active = torch.rand(frames, *shape, generator=generator) < share
    coordinates = active.nonzero()
    coordinates = coordinates[torch.randperm(len(coordinates), generator=generator)]
    features = torch.randn(len(coordinates), channels, dtype=torch.float64, generator=generator)
    volume = torch.zeros(frames, channels, *shape, dtype=torch.float64)
    frame, z, y, x = coordinates.unbind(1)
    volume[frame, :, z, y, x] = features
    cells = from_cells(features.to(device), coordinates.to(device), shape, frames)
    return cells, volume.to(device), active.to(device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("share", [0.02, 0.3, 1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_dense_convolution_on_active_cells(kind, share, device):
    kernel, stride, padding = KINDS[kind]
    cells, volume, active = make_cells(share, device=device)
    conv = SparseConv(5, 6, kernel, stride, padding).double().to(device)
    ours = conv(cells)
    dense = F.conv3d(volume, conv.weight.permute(0, 4, 1, 2, 3), stride=stride or 1,
                     padding=padding)
    touched = active if stride is None else F.conv3d(
        active[:, None].double(), torch.ones(1, 1, *kernel, dtype=torch.float64, device=device),
        stride=stride, padding=padding)[:, 0] > 0.5
    assert ours.shape == output_shape(SHAPE, kernel, stride or (1, 1, 1), padding)
    assert torch.equal(ours.coordinates, touched.nonzero())
    torch.testing.assert_close(ours.dense(), dense * touched[:, None], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_equal_those_of_the_dense_convolution(kind):
    kernel, stride, padding = KINDS[kind]
    cells, volume, _ = make_cells(0.2)
    conv = SparseConv(5, 6, kernel, stride, padding).double()
    cells.features.requires_grad_(True)
    out = conv(cells).dense()
    weighting = torch.randn_like(out)
    gradients = torch.autograd.grad((out * weighting).sum(), [cells.features, conv.weight])
    volume.requires_grad_(True)
    dense = F.conv3d(volume, conv.weight.permute(0, 4, 1, 2, 3), stride=stride or 1,
                     padding=padding)
    reached = (out != 0).any(dim=1, keepdim=True)
    wanted = torch.autograd.grad((dense * weighting * reached).sum(), [volume, conv.weight])
    frame, z, y, x = cells.coordinates.unbind(1)
    torch.testing.assert_close(gradients[0], wanted[0][frame, :, z, y, x])
    torch.testing.assert_close(gradients[1], wanted[1])


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_in_nothing_out(kind):
    kernel, stride, padding = KINDS[kind]
    cells, _, _ = make_cells(0.0)
    conv = SparseConv(5, 6, kernel, stride, padding).double()
    out = conv(cells)
    assert out.features.shape == (0, 6)
    assert not out.dense().any()


def test_frames_do_not_see_each_other():
    both, volume, _ = make_cells(0.3)
    conv = SparseConv(5, 6).double()
    alone = []
    for frame in range(2):
        coordinates = volume[frame].abs().sum(0).nonzero()
        features = volume[frame][:, coordinates[:, 0], coordinates[:, 1], coordinates[:, 2]].T
        cells = from_cells(features, F.pad(coordinates, (1, 0)), SHAPE, 1)
        alone.append(conv(cells).dense())
    torch.testing.assert_close(conv(both).dense(), torch.cat(alone))


def test_layers_on_the_same_cells_share_their_rulebook():
    cells, _, _ = make_cells(0.3)
    first = SparseConv(5, 5).double()(cells)
    second = SparseConv(5, 5).double()(first)
    assert first.rulebook is not None
    assert second.rulebook is first.rulebook
    assert SparseConv(5, 5, stride=(2, 2, 2)).double()(second).rulebook is None


def test_linear_index_of_a_large_grid_does_not_overflow():
    shape = (41, 40_000, 40_000)
    corner = torch.tensor([[3, 40, 39_999, 39_999], [0, 0, 0, 0]])
    assert torch.equal(unravel(ravel(corner, shape), shape), corner)
    features = torch.ones(2, 1, dtype=torch.float64)
    conv = SparseConv(1, 1).double()
    out = conv(from_cells(features, corner, shape, 4))
    torch.testing.assert_close(out.features, conv.weight[:, 1, 1, 1].expand(2, 1))


@pytest.mark.parametrize("count", [0, 1, 30])
def test_stages_train_on_any_number_of_voxels(count):
    generator = torch.Generator().manual_seed(0)
    stages = sparse_stages(5, (4, 8, 8, 8, 8), 1e-3, 0.01).train()
    coordinates = torch.randperm(41 * 16 * 16, generator=generator)[:count]
    cells = from_cells(torch.randn(count, 5, generator=generator),
                       unravel(coordinates, (41, 16, 16)), (41, 16, 16), 1)
    volume = stages(cells).dense()
    assert volume.shape == (1, 8, 2, 2, 2)
    assert volume.isfinite().all()
    if count:
        volume.sum().backward()
        assert stages[0].conv.weight.grad.isfinite().all()
