"""What may be changed between two frames of the pipeline, on small networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from aqr_perception.model.aqr.config import (
    AqrConfig,
    AttentionBiasConfig,
    GeneratorConfig,
    WeightMapConfig,
)
from aqr_perception.model.aqr.strength import with_strength
from aqr_perception.model.checkpoint import untrained
from aqr_perception.model.config import DecoderConfig, DetectorConfig, ImageConfig, LidarConfig
from aqr_perception.ros.rehearsal import rehearsal_frame
from aqr_perception.runtime.pipeline import DetectionPipeline
from aqr_perception.types import Controls, Mounting, WeightMapStrength

FRAME = rehearsal_frame(("LEFT", "RIGHT"), Mounting())
MAPS = WeightMapConfig(generator=GeneratorConfig(heads=2, feedforward=32))
BIAS = AttentionBiasConfig(generator=MAPS.generator)
STRENGTH = WeightMapStrength(residual_weight=0.3, max_weight_clamp=3.0, gaussian_sigma=4.0)
AS_TRAINED = WeightMapStrength()


def pipeline(mode="weight_map", maps=MAPS, bias=BIAS):
    config = DetectorConfig(
        name="test",
        image=ImageConfig("small", width=96, height=64, channels=(8, 8, 16, 16), frozen_norm=False),
        lidar=LidarConfig("pillars", (3.0, 3.0, 8.0), (1, 36, 36), (8,), (16, 16), (1, 1), 16, 1),
        decoder=DecoderConfig(channels=32, heads=2, layers=2, feedforward=32, queries=10,
                              head_channels=16, depth_bins=4, dropout=0.0),
        aqr=AqrConfig(mode=mode, weight_map=maps, attention_bias=bias))
    detector = untrained(config)
    if mode in ("weight_map", "attention_bias"):
        with torch.no_grad():
            detector.decoder.router.generator.predictor.bias.copy_(torch.tensor([2.0, -2.0]))
    return DetectionPipeline(detector, torch.device("cpu"), Mounting())


def scores(made, strength=AS_TRAINED):
    return made(FRAME, Controls(weight_map=strength, score_threshold=0.0)).detections.scores


def test_a_strength_acts_like_a_network_of_that_configuration_and_goes_again():
    made = pipeline()
    trained = scores(made)
    changed = scores(made, STRENGTH)
    assert not np.array_equal(changed, trained)
    np.testing.assert_array_equal(changed, scores(pipeline(maps=with_strength(MAPS, STRENGTH))))
    np.testing.assert_array_equal(scores(made), trained)


@pytest.mark.parametrize("name", ["residual_weight", "max_weight_clamp", "gaussian_sigma"])
def test_each_part_of_it_acts_by_itself(name):
    made = pipeline()
    alone = WeightMapStrength(**{name: getattr(STRENGTH, name)})
    assert not np.array_equal(scores(made, alone), scores(made))


@pytest.mark.parametrize(("mode", "words"), [
    ("gate", "aqr.residual_weight cannot be set: the network's aqr.mode is 'gate'.*modulation"),
    ("off", "'off', not 'weight_map'; it has no AQR, and only gain"),
    ("attention_bias", "'attention_bias'")])
def test_a_network_without_weight_maps_says_what_applies_instead(mode, words):
    made = pipeline(mode)
    made.check(Controls())
    with pytest.raises(ValueError, match=words):
        made.check(Controls(weight_map=WeightMapStrength(residual_weight=0.5)))


def test_a_strength_that_does_not_fit_is_refused_and_leaves_the_network_as_it_was():
    made = pipeline()
    before = scores(made)
    neutral = WeightMapStrength(max_weight_clamp=0.9)
    with pytest.raises(ValueError, match=r"max_weight_clamp .*; expected above 1"):
        scores(made, neutral)
    np.testing.assert_array_equal(scores(made), before)
    bilinear = pipeline(maps=WeightMapConfig(
        generator=MAPS.generator, renderer=type(MAPS.renderer)(method="bilinear")))
    with pytest.raises(ValueError, match=r"gaussian_sigma cannot be set.*'bilinear'"):
        bilinear.check(Controls(weight_map=WeightMapStrength(gaussian_sigma=1.0)))


def test_the_gaussian_window_of_attention_bias_has_a_radius_to_set_and_nothing_else():
    made = pipeline("attention_bias", bias=AttentionBiasConfig(
        generator=MAPS.generator, window=5, gaussian=True))
    narrow = WeightMapStrength(gaussian_sigma=0.3)
    before = scores(made)
    assert not np.array_equal(scores(made, narrow), before)
    np.testing.assert_array_equal(scores(made), before)
    with pytest.raises(ValueError, match=r"residual_weight and aqr.gaussian_sigma cannot be set"):
        made.check(Controls(weight_map=WeightMapStrength(0.5, None, 1.0)))
    flat = pipeline("attention_bias")
    with pytest.raises(ValueError, match=r"gaussian_sigma cannot be set.*without a Gaussian"):
        flat.check(Controls(weight_map=narrow))


def test_a_gate_that_was_off_begins_without_a_frame_before():
    """What it saw before it was switched off may be of long ago."""
    made, seen = pipeline("gate"), []
    made.detector.register_forward_pre_hook(
        lambda module, inputs, named: seen.append(named["history"] is not None), with_kwargs=True)
    for k, enabled in enumerate((True, True, False, True, True)):
        made(replace(FRAME, stamp_ns=FRAME.stamp_ns + k * 100_000_000),
             Controls(aqr_enabled=enabled))
    assert seen == [False, True, True, False, True]
