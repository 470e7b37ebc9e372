"""Evidence on one scale."""

import torch

from aqr_perception.model.aqr.standard import LARGEST, Standard

KIND = torch.tensor([0, 1, 1])


def entries(seed: int = 0, frames: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """The first of each three is small and narrow, the others large and wide; some are absent."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(frames, 3, 2, generator=generator)
    values = noise * torch.tensor([0.02, 3.0, 3.0])[:, None] + torch.tensor([0.6, -4, -4])[:, None]
    return values, torch.rand(frames, 3, generator=generator) < 0.8


def test_each_kind_is_brought_to_one_scale():
    made, (values, there) = Standard(2, 2), entries()
    out = made(values, KIND, there)
    for kind in (0, 1):
        known = out[:, kind == KIND][there[:, kind == KIND]]
        assert known.mean(0).abs().max() < 1e-2
        torch.testing.assert_close(known.std(0), torch.ones(2), atol=0.02, rtol=0)
    assert (out[~there] == 0).all()


def test_what_is_absent_does_not_count():
    values, there = entries()
    changed = values.masked_fill(~there[..., None], 1e6)
    one, other = Standard(2, 2), Standard(2, 2)
    torch.testing.assert_close(one(values, KIND, there), other(changed, KIND, there))


def test_it_is_gathered_over_batches_of_training_alone():
    values, there = entries()
    whole, parts = Standard(2, 2), Standard(2, 2)
    whole(values, KIND, there)
    for some in range(0, 400, 100):
        parts(values[some:some + 100], KIND, there[some:some + 100])
    for name, expected in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], expected, msg=name)
    with torch.no_grad():
        whole(values + 1, KIND, there)
    whole.eval()(values + 1, KIND, there)
    for name, expected in parts.state_dict().items():
        torch.testing.assert_close(whole.state_dict()[name], expected, msg=name)


def test_before_any_training_numbers_stay_as_they_are_but_for_the_largest():
    made = Standard(2, 2).eval()
    values, there = entries()
    torch.testing.assert_close(made(values, KIND, there),
                               values.clamp(-LARGEST, LARGEST) * there[..., None])


def test_a_frame_does_not_depend_on_the_others_of_its_batch():
    made, (values, there) = Standard(2, 2), entries()
    made(values, KIND, there)
    made.eval()
    torch.testing.assert_close(made(values, KIND, there)[:1], made(values[:1], KIND, there[:1]))
