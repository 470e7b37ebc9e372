from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from rig import make_frame
from safetensors.torch import load_file, save_file
from thin_networks import thin_cmt, thin_tiny

from aqr_perception.model import checkpoint
from aqr_perception.model.aqr.config import AqrConfig
from aqr_perception.model.config import to_dict
from aqr_perception.model.inputs import prepare
from aqr_perception.types import Controls, Mounting


@pytest.mark.parametrize("mode", ["off", "gate", "weight_map", "attention_bias"])
@pytest.mark.parametrize("make", [thin_cmt, thin_tiny])
def test_the_file_alone_rebuilds_the_network(tmp_path, make, mode):
    config = replace(make(), aqr=AqrConfig(mode=mode))
    detector = checkpoint.untrained(config, seed=3)
    checkpoint.save(tmp_path / "w.safetensors", detector, {"seed": 3, "metrics": {"mAP": 0.5}})
    again = checkpoint.load(tmp_path / "w.safetensors")
    assert again.config == config
    assert again.metadata == {"trained": True, "seed": 3, "metrics": {"mAP": 0.5}}
    assert again.trained
    assert not again.training
    batch = prepare([make_frame()], config, Mounting(), Controls())
    with torch.inference_mode():
        one, two = detector(batch), again(batch)
    assert torch.equal(one.logits, two.logits)
    assert torch.equal(one.boxes, two.boxes)
    assert {name for name, parameter in again.named_parameters() if parameter.requires_grad} == {
        name for name, parameter in detector.named_parameters() if parameter.requires_grad}


def test_random_weights_follow_from_the_seed_and_disturb_nothing():
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    first = checkpoint.untrained(thin_tiny(), 1)
    assert torch.equal(torch.rand(3), wanted)
    second, other = checkpoint.untrained(thin_tiny(), 1), checkpoint.untrained(thin_tiny(), 2)
    assert torch.equal(first.reference_points, second.reference_points)
    assert not torch.equal(first.reference_points, other.reference_points)
    assert not first.trained


def test_the_default_network_is_there():
    detector = checkpoint.load_default()
    assert detector.config.name == "tiny"
    assert not detector.training
    assert detector.trained == checkpoint.SHIPPED.exists()


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "w.safetensors"
    checkpoint.save(path, checkpoint.untrained(thin_tiny()))
    return path


def rewrite(path, change_tensors=None, **header):
    tensors = load_file(str(path))
    from safetensors import safe_open

    with safe_open(str(path), "pt") as file:
        old = dict(file.metadata())
    if change_tensors:
        change_tensors(tensors)
    save_file(tensors, str(path), {key: value for key, value in (old | header).items()
                                   if value is not None})


@pytest.mark.parametrize(("change", "says"), [
    (lambda t: t.pop("reference_points"), "missing reference_points, unexpected none"),
    (lambda t: t.update(extra=torch.zeros(1)), "missing none, unexpected extra"),
    (lambda t: t.update(reference_points=torch.zeros(4, 3)),
     r"reference_points has shape \(4, 3\), F32; its config asks for \(20, 3\), F32"),
    (lambda t: t.update(reference_points=t["reference_points"].double()),
     r"reference_points has shape \(20, 3\), F64; its config asks for \(20, 3\), F32")])
def test_tensors_that_do_not_fit_are_named(saved, change, says):
    rewrite(saved, change)
    with pytest.raises(ValueError, match=says):
        checkpoint.load(saved)


def test_a_network_larger_than_the_file_is_refused_before_memory_is_taken(saved, monkeypatch):
    config = to_dict(thin_tiny())
    config["decoder"]["queries"] = 40_000_000_000
    rewrite(saved, config=json.dumps(config))
    monkeypatch.setattr(checkpoint, "untrained", lambda *_: pytest.fail("it was built"))
    with pytest.raises(ValueError, match=r"its config asks for \(40000000000, 3\)"):
        checkpoint.load(saved)


def test_a_folder_is_named(tmp_path):
    with pytest.raises(IsADirectoryError):
        checkpoint.load(tmp_path)


def test_what_cannot_be_written_is_an_error_of_the_system(tmp_path):
    with pytest.raises(OSError, match=r"none/w.safetensors: cannot be written"):
        checkpoint.save(tmp_path / "none" / "w.safetensors", checkpoint.untrained(thin_tiny()))


def test_other_files_are_refused(tmp_path, saved):
    rewrite(saved, format=None)
    with pytest.raises(ValueError, match="without a network of this package"):
        checkpoint.load(saved)
    (tmp_path / "text").write_text("hello, this is not a weights file at all")
    with pytest.raises(ValueError, match="is not a weights file of this package"):
        checkpoint.load(tmp_path / "text")
    torch.save({"state_dict": {}}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="import-checkpoint"):
        checkpoint.load(tmp_path / "x.pth")
    with pytest.raises(FileNotFoundError):
        checkpoint.load(tmp_path / "none")


@pytest.mark.parametrize(("config", "says"), [
    ("{", "its config cannot be read"), ("[]", "config is list; expected a mapping"),
    ('{"name": 3}', r"config.name is 3; expected str"),
    ('{"name": "x", "colour": 1}', "unknown fields colour")])
def test_a_broken_config_is_named(saved, config, says):
    rewrite(saved, config=config)
    with pytest.raises(ValueError, match=says):
        checkpoint.load(saved)


def test_a_truncated_file_is_refused(saved):
    content = saved.read_bytes()
    saved.write_bytes(content[:len(content) // 2])
    with pytest.raises(ValueError, match="is not a weights file"):
        checkpoint.load(saved)


def test_the_config_is_readable_json(saved):
    from safetensors import safe_open

    with safe_open(str(saved), "pt") as file:
        assert json.loads(file.metadata()["config"])["decoder"]["queries"] == 20
