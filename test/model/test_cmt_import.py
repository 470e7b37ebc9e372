from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch
from cmt_vectors import published_state
from rig import make_frame
from thin_networks import thin_cmt

from aqr_perception.cli.main import main
from aqr_perception.model import checkpoint
from aqr_perception.model.aqr.config import AqrConfig
from aqr_perception.model.cmt_import import (
    fitted,
    import_published,
    our_name,
    preset_of,
    read_published,
)
from aqr_perception.model.config import cmt_r50, cmt_vov99
from aqr_perception.model.detector import Detector
from aqr_perception.model.inputs import prepare
from aqr_perception.types import Controls, Mounting

LISTS = {"cmt_voxel0100_r50_800x320": cmt_r50, "cmt_voxel0075_vov_1600x640": cmt_vov99,
         "aqr_voxel0100_r50_800x320": cmt_r50, "aqr_voxel0075_vov_1600x640": cmt_vov99}
AQR = ("pts_bbox_head.aqr_weight_generator.", "pts_bbox_head.weight_renderer.",
       "pts_bbox_head.attention_bias_generator.")


def read_list(folder, name):
    """Key → a tensor of that shape that takes no memory."""
    lines = (folder / "checkpoint_keys" / f"{name}.tsv").read_text().splitlines()
    keys = {}
    for line in lines:
        key, shape = line.split("\t")
        sizes = [] if shape == "scalar" else [int(size) for size in shape.split("x")]
        keys[key] = torch.ones(()).expand(sizes)
    return keys


@pytest.fixture
def keys(shared_reference, request):
    return read_list(shared_reference, request.param)


@pytest.mark.parametrize(("keys", "preset"), LISTS.items(), indirect=["keys"])
def test_key_lists_match_name_and_shape(keys, preset):
    assert preset_of(keys).name == preset.__name__
    with torch.device("meta"):
        expected = Detector(preset()).state_dict()
    ours = {}
    for key, tensor in keys.items():
        if not key.startswith(AQR):
            name = our_name(key)
            assert name in expected, key
            assert fitted(key, tensor, expected[name].shape).shape == expected[name].shape
            ours[name] = key
    assert set(ours) == set(expected)
    assert len(ours) == sum(not key.startswith(AQR) for key in keys)


def published(config, layout=2):
    """A thin network, and its state as a published file has it."""
    torch.manual_seed(1)
    detector = Detector(config)
    return detector, published_state(config, detector.state_dict(), layout)


@pytest.mark.parametrize("layout", [1, 2])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_both_layouts_and_the_prefix_of_parallel_training(tmp_path, layout, prefix):
    config = thin_cmt(absence="zeros")
    detector, state = published(config, layout)
    path = tmp_path / "cmt.pth"
    torch.save({"meta": {"epoch": 20}, "optimizer": {},
                "state_dict": {prefix + key: value for key, value in state.items()}}, path)
    again = import_published(read_published(path), config).detector
    wanted = detector.state_dict()
    assert set(again.state_dict()) == set(wanted)
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in again.state_dict().items())
    batch = prepare([make_frame()], config, Mounting(), Controls())
    with torch.inference_mode():
        assert torch.equal(again(batch).logits, detector.eval()(batch).logits)


def test_counters_may_be_missing():
    _, state = published(thin_cmt())
    kept = {key: value for key, value in state.items() if "num_batches" not in key}
    detector = import_published(kept, thin_cmt()).detector
    assert int(detector.state_dict()["tokenizer.image.trunk.bn1.num_batches_tracked"]) == 0


def test_what_is_missing_or_unknown_is_named():
    _, state = published(thin_cmt())
    del state["img_neck.fpn_convs.0.conv.bias"]
    state["pts_bbox_head.strange"] = torch.zeros(1)
    with pytest.raises(ValueError, match=r"missing tokenizer.image.neck.smooth.bias; unexpected "
                                         r"pts_bbox_head.strange"):
        import_published(state, thin_cmt())


def test_a_wrong_shape_is_named():
    _, state = published(thin_cmt())
    state["pts_bbox_head.bev_embedding.0.weight"] = torch.zeros(32, 65)
    with pytest.raises(ValueError, match=r"bev_embedding.0.weight has shape \(32, 65\); expected"):
        import_published(state, thin_cmt())


def test_buffers_of_the_aqr_variant_are_left_out_and_listed():
    _, state = published(thin_cmt())
    state["pts_bbox_head.weight_renderer.gaussian_kernel"] = torch.zeros(7, 7)
    state["pts_bbox_head.aqr_weight_generator.bev_type_embed"] = torch.zeros(32)
    network = import_published(state, thin_cmt())
    assert sorted(network.ignored) == ["pts_bbox_head.aqr_weight_generator.bev_type_embed",
                                       "pts_bbox_head.weight_renderer.gaussian_kernel"]
    assert network.detector.config.aqr.mode == "off"


@pytest.mark.parametrize("mode", ["attention_bias", "weight_map"])
@pytest.mark.parametrize("keys", ["aqr_voxel0100_r50_800x320"], indirect=True)
def test_parameters_of_the_aqr_variant_find_their_place(keys, mode):
    keys["pts_bbox_head.weight_renderer.gaussian_kernel"] = torch.exp(
        -torch.arange(-3.0, 4)[:, None] ** 2 / 2) * torch.exp(-torch.arange(-3.0, 4) ** 2 / 2)
    network = import_published(keys, aqr_mode=mode)
    assert network.detector.config.aqr.mode == mode
    state = network.detector.state_dict()
    assert torch.equal(state["decoder.router.generator.predictor.bias"], torch.ones(2))
    if mode == "weight_map":
        assert float(state["decoder.router.renderer.log_sigma"]) == pytest.approx(0.0, abs=1e-6)
    else:
        assert float(state["decoder.router.bias_scale"]) == 1.0
    assert not any("aqr_weight_generator.encoder" in key for key in network.ignored)


def test_nothing_in_a_file_is_executed(tmp_path):
    trace = tmp_path / "trace"

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {trace}",)

    torch.save({"state_dict": {"x": torch.zeros(1)}, "meta": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="cannot be read without executing code"):
        read_published(tmp_path / "evil.pth")
    assert not trace.exists()


@pytest.mark.parametrize(("content", "says"), [
    ({"weights": 3}, "state_dict"), ({"state_dict": {}}, "holds no state_dict"),
    ({"state_dict": {"x": 3}}, r"state_dict\['x'\] is no tensor")])
def test_other_contents_are_refused(tmp_path, content, says):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=says):
        read_published(tmp_path / "x.pth")


def test_other_files_are_refused(tmp_path):
    (tmp_path / "x.pth").write_text("text")
    with pytest.raises(ValueError, match="is not a PyTorch checkpoint"):
        read_published(tmp_path / "x.pth")
    with pytest.raises(ValueError, match="neither img_backbone nor pts_middle_encoder"):
        import_published({"x": torch.zeros(1)})


@pytest.mark.parametrize("keys", ["cmt_voxel0100_r50_800x320"], indirect=True)
def test_the_command(tmp_path, keys, capsys):
    state = {key: torch.zeros(value.shape, dtype=torch.float16) for key, value in keys.items()}
    torch.save({"state_dict": state}, tmp_path / "cmt.pth")
    assert main(["import-checkpoint", str(tmp_path / "cmt.pth"), str(tmp_path / "w")]) == 0
    assert "cmt_r50, 40.92 M parameters" in capsys.readouterr().out
    detector = checkpoint.load(tmp_path / "w")
    assert detector.config == replace(cmt_r50(), decoder=replace(cmt_r50().decoder,
                                                                 absence="zeros"),
                                      aqr=detector.config.aqr)
    assert detector.trained
    del state["pts_bbox_head.reference_points.weight"]
    torch.save({"state_dict": state}, tmp_path / "cmt.pth")
    assert main(["import-checkpoint", str(tmp_path / "cmt.pth"), str(tmp_path / "w")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "missing reference_points" in error


def test_presets_of_one_modality():
    _, state = published(thin_cmt())
    cameras = [key for key in state if not key.startswith("pts_middle")]
    assert preset_of(cameras).lidar is None
    assert preset_of([key for key in state if not key.startswith("img")]).image is None


def test_aqr_is_off_unless_it_is_asked_for():
    _, state = published(thin_cmt())
    gated = replace(thin_cmt(), aqr=AqrConfig(mode="gate"))
    assert import_published(state, gated).detector.config.aqr.mode == "off"
