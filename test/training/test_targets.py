from __future__ import annotations

import math

import pytest
import torch
from golden import Golden
from hypothesis import given
from hypothesis import strategies as st

from aqr_perception.model.box_coder import decode_boxes, encode_boxes
from aqr_perception.training.targets import Targets


def test_encodes_a_box_by_hand():
    box = torch.tensor([1.0, -2.0, 0.5, math.e, 1.0, math.exp(2), math.pi / 2, 3.0, -4.0])
    expected = torch.tensor([1.0, -2.0, 1.0, 0.0, 0.5, 2.0, 1.0, 0.0, 3.0, -4.0])
    torch.testing.assert_close(encode_boxes(box), expected, rtol=1e-6, atol=1e-6)


@given(st.lists(st.floats(0.1, 20), min_size=3, max_size=3), st.floats(-3.1, 3.1),
       st.lists(st.floats(-50, 50), min_size=5, max_size=5))
def test_decoding_undoes_encoding(size, yaw, rest):
    box = torch.tensor([*rest[:3], *size, yaw, *rest[3:]], dtype=torch.float64)
    torch.testing.assert_close(decode_boxes(encode_boxes(box)), box, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(decode_boxes(encode_boxes(box[:7])), box[:7], rtol=1e-9, atol=1e-9)


def test_decoding_needs_no_unit_length():
    code = torch.tensor([0.0, 0, 0, 0, 0, 0, 3.0, 3.0, 0, 0])
    assert decode_boxes(code)[6].item() == pytest.approx(math.pi / 4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_agrees_with_the_published_code(shared_reference, dtype):
    golden = Golden.read(shared_reference, "normalize_bbox")
    golden.check("n9", encode_boxes(golden("boxes9", dtype)))
    golden.check("n7", encode_boxes(golden("boxes7", dtype)))
    golden.check("d10", decode_boxes(golden("norm10", dtype)))
    golden.check("d8", decode_boxes(golden("norm8", dtype)))


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"boxes \(N, 9\)"):
        Targets(torch.zeros(2, 7), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="labels"):
        Targets(torch.zeros(2, 9), torch.zeros(3, dtype=torch.int64))
