from __future__ import annotations

import math

import pytest
import torch
from aqr_scenes import make_scene

from aqr_perception.model.aqr.monitor import BandCounter, change_of_features, mean_mass, report


def test_changes_by_hand():
    present = torch.tensor([[True, True, False]])
    memory = make_scene(count=1, views=2, channels=2, bev_shape=(1, 2), image_shape=(1, 1),
                        present=present).memory
    memory.tokens[0] = torch.tensor([[0.0, 4.0], [0.0, 0.0], [-3.0, 1.0], [100.0, 100.0]])
    factor = torch.tensor([[1.5, 9.0, 0.5, 7.0]])
    relative, largest = change_of_features(memory, factor)
    torch.testing.assert_close(relative, torch.tensor([[0.5, 0.5]]))  # zeros do not count
    torch.testing.assert_close(largest, torch.tensor([[2.0, 1.5]]))  # nor do absent sensors


def test_zeros_after_a_relu_do_not_dilute_the_change():
    dense = make_scene(count=1, channels=8).memory
    sparse = make_scene(count=1, channels=8).memory
    sparse.tokens[0, ::3] = 0.0
    factor = torch.full((1, dense.tokens.shape[1]), 1.36)
    for memory in (dense, sparse):
        relative, _ = change_of_features(memory, factor)
        torch.testing.assert_close(relative, torch.full((1, 2), 0.36), rtol=1e-4, atol=0)


def test_an_absent_modality_has_not_changed():
    memory = make_scene(present=torch.tensor([[True, False, False, False, False],
                                              [False, True, True, True, True]])).memory
    relative, largest = change_of_features(memory, torch.full((2, memory.tokens.shape[1]), 2.0))
    assert relative.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert (largest == 0).tolist() == [[False, True], [True, False]]


def test_share_of_frames_outside_the_band():
    memory = make_scene().memory
    counter = BandCounter()
    assert math.isnan(counter.share_outside["lidar"])
    for change in (0.1, 0.2, 0.2, 0.3):
        factor = torch.full((2, memory.tokens.shape[1]), 1 + change)
        factor[:, :256] = 1.2
        counter.add(report(memory, factor, torch.ones(2, 2), (0.15, 0.25)))
    assert counter.frames == 8
    assert counter.share_outside == {"lidar": 0.0, "camera": 0.5}


def test_what_is_not_told_is_unknown():
    made = report(make_scene().memory, torch.ones(2, 416), torch.ones(2, 2), (0.15, 0.25))
    assert made.mass.isnan().all()
    assert made.mean_gate.isnan().all()


def test_mass_leaves_out_denoising_queries():
    first, second = torch.zeros(1, 3, 2), torch.zeros(1, 3, 2)
    first[0, 0], second[0, 1:] = 9.0, torch.tensor([0.5, 1.0])
    assert mean_mass([first, second], 1).tolist() == [[0.25, 0.5]]
    assert mean_mass([], 1) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_gradient_is_kept(dtype):
    memory = make_scene().memory
    factor = torch.ones(2, memory.tokens.shape[1], dtype=dtype, requires_grad=True)
    made = report(memory, factor, torch.ones(2, 2, requires_grad=True), (0.15, 0.25))
    assert not any(value.requires_grad for value in vars(made).values() if value is not None)
