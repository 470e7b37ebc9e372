from __future__ import annotations

import json
from dataclasses import replace

import pytest

from aqr_perception.model.config import (
    PRESETS,
    DecoderConfig,
    DetectorConfig,
    ImageConfig,
    from_dict,
    tiny,
    to_dict,
)


@pytest.mark.parametrize("name", PRESETS)
def test_configs_survive_json(name):
    config = PRESETS[name]()
    assert from_dict(DetectorConfig, json.loads(json.dumps(to_dict(config)))) == config
    camera_only = replace(config, lidar=None)
    assert from_dict(DetectorConfig, json.loads(json.dumps(to_dict(camera_only)))) == camera_only


@pytest.mark.parametrize(("change", "says"), [
    ({"image": None, "lidar": None}, "neither an image nor a lidar branch"),
    ({"detection_range": (0.0, 0.0, 0.0, -1.0, 1.0, 1.0)}, "detection_range is"),
    ({"post_range": (0.0, 1.0)}, "post_range is"),
    ({"lidar": replace(tiny().lidar, neck_channels=64)}, "neck_channels is 64; expected half")])
def test_contradictions_are_refused(change, says):
    with pytest.raises(ValueError, match=says):
        replace(tiny(), **change)


@pytest.mark.parametrize(("part", "change", "says"), [
    ("image", {"backbone": "resnet51"}, "image.backbone is 'resnet51'; expected one of resnet50"),
    ("image", {"width": 353}, "353×128; expected multiples of 32"),
    ("lidar", {"encoder": "points"}, "lidar.encoder is 'points'"),
    ("lidar", {"voxel_size": (0.6, 0.0, 8.0)}, "expected three sizes above 0"),
    ("lidar", {"grid": (1, 181, 180)}, "lidar.grid has 181 rows"),
    ("decoder", {"heads": 5}, "decoder.channels is 96; expected a multiple of the 5 heads"),
    ("decoder", {"queries": 0}, "decoder.queries is 0; expected 1 or more"),
    ("decoder", {"dropout": 1.0}, "decoder.dropout is 1.0"),
    ("decoder", {"absence": "black"}, "decoder.absence is 'black'")])
def test_impossible_settings_are_named(part, change, says):
    with pytest.raises(ValueError, match=says):
        replace(getattr(tiny(), part), **change)


@pytest.mark.parametrize(("values", "says"), [
    ({"channels": "many"}, "decoder.channels is 'many'; expected int"),
    ({"channels": 3.5}, "decoder.channels is 3.5; expected int"),
    ({"dropout": True}, "decoder.dropout is True; expected float"),
    ({"channel": 3}, "decoder has unknown fields channel"), ({}, "missing")])
def test_wrong_fields_are_named(values, says):
    with pytest.raises(ValueError, match=says):
        from_dict(DecoderConfig, values, "decoder")


def test_whole_numbers_do_for_floats_and_lists_for_tuples():
    values = {"channels": 8, "heads": 2, "layers": 1, "feedforward": 8, "queries": 1, "dropout": 0}
    assert from_dict(DecoderConfig, values).dropout == 0.0
    image = from_dict(ImageConfig, {"backbone": "small", "width": 64, "height": 32,
                                    "channels": [1, 2]})
    assert image.channels == (1, 2)
    with pytest.raises(ValueError, match=r"channels\[1\] is 'x'; expected int"):
        from_dict(ImageConfig, {"backbone": "small", "width": 64, "height": 32,
                                "channels": [1, "x"]})
