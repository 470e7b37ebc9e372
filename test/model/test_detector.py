"""What goes missing, what is scaled and what is permuted, through the whole network."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from rig import make_frame
from thin_networks import thin_cmt

from aqr_perception.model.box_coder import decode
from aqr_perception.model.checkpoint import untrained
from aqr_perception.model.config import cmt_r50, cmt_vov99, tiny
from aqr_perception.model.inputs import BGR_MEAN, BGR_STD, prepare
from aqr_perception.model.memory import select_sensors
from aqr_perception.model.tokens import filled
from aqr_perception.types import Controls, Gains, LidarCloud, Mounting

MOUNTING = Mounting()


def batch_of(frames, config, controls=None):
    frames = frames if isinstance(frames, list) else [frames]
    return prepare(frames, config, MOUNTING, controls or Controls())


def without(frame, *missing):
    """The frame with sensors left out; 0 is the LiDAR, 1 + v camera v."""
    images = tuple(None if 1 + v in missing else image for v, image in enumerate(frame.images))
    return replace(frame, lidar=None if 0 in missing else frame.lidar, images=images)


@torch.inference_mode()
def outputs(detector, batch):
    output = detector(batch)
    return output.logits, output.boxes


def assert_same(ours, other, **tolerance):
    for one, two in zip(ours, other):
        torch.testing.assert_close(one, two, **tolerance)


def test_shapes(thin, thin_config):
    frames = [make_frame(seed) for seed in range(3)]
    layers, queries = thin_config.decoder.layers, thin_config.decoder.queries
    output = thin(batch_of(frames, thin_config))
    assert output.logits.shape == (1, 3, queries, 10)
    assert output.boxes.shape == (1, 3, queries, 10)
    assert output.reference_points.shape == (3, queries, 3)
    assert output.has_input.all()
    trained = thin.train()(batch_of(frames, thin_config))
    assert trained.logits.shape == (layers, 3, queries, 10)
    assert trained.dn_logits is None


@pytest.mark.parametrize("missing", [
    [sensor for sensor, gone in enumerate(state) if gone] for state in product((0, 1), repeat=5)])
def test_every_subset_of_sensors_is_defined(thin, thin_config, missing):
    frame = without(make_frame(), *missing)
    output = thin(batch_of(frame, thin_config))
    assert output.logits.isfinite().all()
    assert output.boxes.isfinite().all()
    assert output.has_input.tolist() == [len(missing) < 5]
    found = decode(output, [frame], MOUNTING, Controls(score_threshold=0.0))[0]
    assert (len(found) > 0) == (len(missing) < 5)


@pytest.mark.parametrize("sensor", range(5))
def test_a_missing_sensor_changes_the_result(thin, thin_config, sensor):
    frame = make_frame()
    there = outputs(thin, batch_of(frame, thin_config))
    gone = outputs(thin, batch_of(without(frame, sensor), thin_config))
    assert (there[0] - gone[0]).abs().max() > 1e-4


@pytest.mark.parametrize("missing", [[0], [1, 2, 3, 4], [2], [1, 4], [0, 1]])
def test_gain_zero_is_absence_to_the_bit(thin, thin_config, missing):
    frame = make_frame()
    names = frame.camera_names
    gains = Gains(lidar=0.0 if 0 in missing else 1.0,
                  cameras={names[sensor - 1]: 0.0 for sensor in missing if sensor})
    silenced = outputs(thin, batch_of(frame, thin_config, Controls(gains=gains)))
    absent = outputs(thin, batch_of(without(frame, *missing), thin_config))
    assert all(torch.equal(*pair) for pair in zip(silenced, absent))


def test_gain_one_changes_nothing_to_the_bit_and_others_do(thin, thin_config):
    frame = make_frame()
    plain = outputs(thin, batch_of(frame, thin_config))
    ones = Controls(gains=Gains(1.0, 1.0, {"front": 1.0}))
    same = outputs(thin, batch_of(frame, thin_config, ones))
    assert all(torch.equal(*pair) for pair in zip(plain, same))
    louder = outputs(thin, batch_of(frame, thin_config, Controls(gains=Gains(lidar=3.0))))
    assert (plain[0] - louder[0]).abs().max() > 1e-5


def test_a_common_gain_cancels(thin, thin_config):
    frame = make_frame()
    doubled = Controls(gains=Gains(lidar=2.0, camera=2.0))
    assert_same(outputs(thin, batch_of(frame, thin_config)),
                outputs(thin, batch_of(frame, thin_config, doubled)), rtol=1e-3, atol=1e-4)


def test_a_small_gain_comes_close_to_absence(thin_config):
    # Without placing: a sensor with any gain at all says where queries start, an absent one cannot.
    thin_config = replace(thin_config, decoder=replace(thin_config.decoder, placed=0,
                                                       placed_by_images=0))
    thin, frame = untrained(thin_config), make_frame()
    faint = Controls(gains=Gains(camera=1e-12))
    assert_same(outputs(thin, batch_of(without(frame, 1, 2, 3, 4), thin_config)),
                outputs(thin, batch_of(frame, thin_config, faint)), rtol=0.3, atol=2.0)


@pytest.mark.parametrize("missing", [[0], [1, 2, 3, 4], [2, 3]])
def test_trunks_of_the_missing_do_not_run(thin, thin_config, missing):
    ran = {}
    for name in ("lidar", "image"):
        module = getattr(thin.tokenizer, name)
        module.register_forward_hook(
            lambda _, arguments, out, name=name: ran.update({name: len(out)}))
    outputs(thin, batch_of(without(make_frame(), *missing), thin_config))
    cameras = 4 - len([sensor for sensor in missing if sensor])
    assert ran == ({} if 0 in missing else {"lidar": 1}) | ({"image": cameras} if cameras else {})


def test_a_batch_equals_its_frames(thin, thin_config):
    whole = make_frame(0)
    frames = [whole, without(make_frame(1), 0), without(make_frame(2), 1, 3), without(whole, 2, 4),
              make_frame(3, points=50)]
    together = outputs(thin, batch_of(frames, thin_config))
    for number, frame in enumerate(frames):
        alone = outputs(thin, batch_of(frame, thin_config))
        assert_same([part[:, number:number + 1] for part in together], alone, rtol=1e-3, atol=2e-4)


def test_a_frame_without_sensors_harms_no_other(thin, thin_config):
    frames = [make_frame(0), without(make_frame(1), 0, 1, 2, 3, 4)]
    together = thin(batch_of(frames, thin_config))
    assert together.has_input.tolist() == [True, False]
    assert together.boxes.isfinite().all()
    alone = outputs(thin, batch_of(frames[0], thin_config))
    assert_same([together.logits[:, :1], together.boxes[:, :1]], alone, rtol=1e-3, atol=2e-4)
    found = decode(together, frames, MOUNTING, Controls(score_threshold=0.0))
    assert len(found[0])
    assert not len(found[1])


def test_the_order_of_cameras_does_not_matter(thin, thin_config):
    frame = make_frame()
    order = [2, 0, 3, 1]
    turned = replace(frame, images=tuple(frame.images[i] for i in order),
                     camera_names=tuple(frame.camera_names[i] for i in order))
    assert_same(outputs(thin, batch_of(frame, thin_config)),
                outputs(thin, batch_of(turned, thin_config)), rtol=1e-3, atol=1e-4)


def test_the_order_of_points_does_not_matter(thin, thin_config):
    frame = make_frame()
    shuffled = np.random.default_rng(0).permutation(frame.lidar.points)
    turned = replace(frame, lidar=LidarCloud(frame.stamp_ns, shuffled))
    assert_same(outputs(thin, batch_of(frame, thin_config)),
                outputs(thin, batch_of(turned, thin_config)), rtol=1e-3, atol=1e-4)


def test_denoising_queries_do_not_reach_the_others(thin, thin_config):
    class Copies:
        reference_points = torch.rand(1, 6, 3)
        blocked = torch.zeros(26, 26, dtype=torch.bool)

    Copies.blocked[6:, :6] = True
    batch = batch_of(make_frame(), thin_config)
    thin.train()
    for module in thin.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "weight_dropout"):
            module.weight_dropout = 0.0
    plain, noisy = thin(batch), thin(batch, Copies())
    assert noisy.dn_logits.shape[2] == noisy.dn_boxes.shape[2] == 6
    assert_same([plain.logits, plain.boxes], [noisy.logits, noisy.boxes], rtol=1e-3, atol=1e-4)


def test_every_parameter_gets_a_gradient(thin, thin_config):
    thin.train()
    frames = [make_frame(seed) for seed in range(2)]
    output = thin(batch_of(frames, thin_config))
    (output.logits.square().mean() + output.boxes.square().mean()).backward(retain_graph=True)
    if output.heat is not None:  # its only task is the side task
        parts = (output.heat.bev, output.heat.image, output.heat.offset, output.heat.image_offset)
        sum(part.sum() for part in parts).backward()
    without_gradient = [name for name, parameter in thin.named_parameters()
                        if parameter.grad is None or not parameter.grad.isfinite().all()]
    assert not without_gradient


@pytest.mark.parametrize("missing", [[0], [1, 2, 3, 4]])
def test_training_goes_on_without_a_sensor(thin, thin_config, missing):
    thin.train()
    frames = [without(make_frame(seed), *missing) for seed in range(2)]
    output = thin(batch_of(frames, thin_config))
    (output.logits.square().mean() + output.boxes.square().mean()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in thin.parameters()
               if parameter.grad is not None)


def test_zeros_stand_for_the_missing_where_the_network_knows_them_so():
    config = thin_cmt(absence="zeros")
    frame = make_frame()
    gains = Controls(gains=Gains(lidar=0.0, cameras={"left": 0.0}))
    batch = batch_of(frame, config, gains)
    full = filled(batch, select_sensors(batch, True, True).usable)
    np.testing.assert_allclose(full.images[0, 1, :, 5, 5], [-1.804, -2.036, -2.118], atol=1e-3)
    assert torch.equal(full.images[0, 0], batch.images[0, 0])
    assert full.points.tolist() == [[0.0] * 5]
    assert full.lidar_present.all()
    assert full.camera_present.all()
    assert (full.gains == 1).all()
    black = replace(frame.images[1], pixels=np.zeros_like(frame.images[1].pixels))
    origin = LidarCloud(frame.stamp_ns, np.zeros((1, 5), np.float32))
    by_hand = replace(frame, lidar=origin, images=(frame.images[0], black, *frame.images[2:]))
    detector = untrained(config)
    assert_same(outputs(detector, batch), outputs(detector, batch_of(by_hand, config)),
                rtol=1e-4, atol=1e-5)


def test_zeros_need_a_calibration():
    config = thin_cmt(absence="zeros")
    batch = batch_of(without(make_frame(), 2), config)
    full = filled(batch, select_sensors(batch, True, True).usable)
    assert full.camera_present.tolist() == [[True, False, True, True]]


def test_black_pixels_are_what_zero_looks_like_once_normalised():
    np.testing.assert_allclose(-BGR_MEAN / BGR_STD, [-1.804, -2.036, -2.118], atol=1e-3)


@pytest.mark.parametrize("absence", ["left_out", "zeros"])
def test_no_sensor_at_all(absence):
    config = thin_cmt(absence=absence)
    frame = without(make_frame(), 0, 1, 2, 3, 4)
    output = untrained(config)(batch_of(frame, config))
    assert output.has_input.tolist() == [False]
    assert not len(decode(output, [frame], MOUNTING, Controls(score_threshold=0.0))[0])


def test_a_rig_without_cameras(thin, thin_config):
    output = thin(batch_of(make_frame(views=0), thin_config))
    assert output.logits.isfinite().all()


@pytest.mark.parametrize("branch", ["image", "lidar"])
def test_networks_of_one_modality(branch):
    config = replace(thin_cmt(), **{branch: None})
    detector = untrained(config)
    assert outputs(detector, batch_of(make_frame(), config))[0].isfinite().all()
    other = [0] if branch == "image" else [1, 2, 3, 4]
    assert detector(batch_of(without(make_frame(), *other), config)).has_input.tolist() == [False]


def test_half_precision_of_the_trunks_keeps_the_boxes():
    config = thin_cmt()
    thin, batch = untrained(config), batch_of(make_frame(), config)
    full = outputs(thin, batch)
    with torch.autocast("cpu", torch.bfloat16):
        half = outputs(thin, batch)
    assert half[0].dtype == torch.float32
    assert not torch.equal(full[0], half[0])
    assert (full[0] - half[0]).abs().max() < 0.1


@pytest.mark.parametrize("preset", [tiny, cmt_r50, cmt_vov99])
def test_presets_have_the_published_sizes(preset):
    config = preset()
    assert config.name == preset.__name__
    if preset is not tiny:
        assert (config.lidar.bev_shape, config.image.map_shape) == {
            "cmt_r50": ((128, 128), (20, 50)), "cmt_vov99": ((180, 180), (40, 100))}[config.name]
        assert (config.decoder.queries, config.decoder.layers) == (900, 6)
