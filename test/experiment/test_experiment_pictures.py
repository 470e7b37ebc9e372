"""What is drawn of a frame, and that listening changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from training_frames import small_config

from aqr_perception.experiment.drives import Drives
from aqr_perception.experiment.listening import listening
from aqr_perception.experiment.pictures import chosen_frame
from aqr_perception.experiment.views import change_of, token_maps
from aqr_perception.model.aqr.config import AqrConfig
from aqr_perception.model.aqr.output import AqrOutput
from aqr_perception.model.checkpoint import untrained
from aqr_perception.model.inputs import prepare
from aqr_perception.model.memory import Memory
from aqr_perception.training.baseline import with_aqr
from aqr_perception.types import Controls, Mounting


@pytest.mark.parametrize("mode", ["off", "weight_map", "attention_bias", "gate"])
def test_listening_changes_nothing_and_hears_where_attention_goes(drives, mode):
    torch.manual_seed(0)
    detector = with_aqr(untrained(small_config()), AqrConfig(mode=mode)).eval()
    frame, _ = Drives.open(drives).held_out.drives[0].read(1)
    batch = prepare([frame], detector.config, Mounting(), Controls())
    with torch.no_grad():
        before = detector(batch)
        with listening(detector) as listener:
            after = detector(batch)
        again = detector(batch)
    torch.testing.assert_close(after.logits, before.logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(again.logits, before.logits, rtol=0, atol=0)
    heard = listener.heard()
    queries, sensors = detector.config.decoder.queries, 1 + len(frame.camera_names)
    assert heard.mass.shape == (queries, sensors)
    torch.testing.assert_close(heard.mass.sum(1), torch.ones(queries), rtol=1e-4, atol=1e-4)
    assert heard.references.shape == (queries, 3)
    if isinstance(after.aqr, AqrOutput):
        torch.testing.assert_close(heard.mass.mean(0), after.aqr.report.mass[0])


def memory(tokens: torch.Tensor) -> Memory:
    """Of four cells of the bird's-eye view and one camera, the second of two, with two pixels."""
    sensor = torch.tensor([0, 0, 0, 0, 2, 2])
    return Memory(tokens[None], tokens[None], sensor, torch.tensor([[True, False, True]]), (2, 2),
                  (1,), (1, 2))


def test_zeros_make_the_reports_statistic_smaller_and_not_ours():
    tokens = torch.ones(6, 3)
    tokens[:3] = 0
    found = change_of(memory(tokens), torch.tensor([.7, .7, .7, .7, .7, 1.0]))
    assert found.zeros == pytest.approx((.75, 0))
    assert found.of_report == pytest.approx((.075, .15))
    assert found.ours == pytest.approx((.3, .15))


def test_factors_lie_where_their_tokens_are():
    maps = token_maps(memory(torch.ones(6, 3)), torch.arange(6.0))
    assert maps.bev.tolist() == [[0, 1], [2, 3]]
    assert np.isnan(maps.cameras[0]).all()
    assert maps.cameras[1].tolist() == [[4, 5]]


def test_the_frame_that_is_drawn_is_always_the_same_and_has_a_past(drives):
    held_out = Drives.open(drives).held_out
    assert chosen_frame(held_out, 2) == chosen_frame(held_out, 2)
    assert chosen_frame(held_out, 2)[1] > 0
