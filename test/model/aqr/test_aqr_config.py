from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from aqr_perception.model.aqr import build_router
from aqr_perception.model.aqr.config import (
    REPORT_CLASS_RESIDUALS,
    AqrConfig,
    AttentionBiasConfig,
    GateConfig,
    GeneratorConfig,
    ModulatorConfig,
    RendererConfig,
    WeightMapConfig,
)
from aqr_perception.model.config import from_dict
from aqr_perception.types import CLASS_NAMES


@pytest.mark.parametrize(("name", "clamp", "residual", "sigma", "maximum"), [
    ("aggressive", 2.5, 0.6, 2.0, 1.6), ("conservative", 1.5, 0.8, 1.5, 1.1),
    ("very_conservative", 1.3, 0.85, 1.0, 1.045)])
def test_presets_are_those_of_the_report(name, clamp, residual, sigma, maximum):
    preset = WeightMapConfig.preset(name)
    assert preset.renderer.max_weight_clamp == clamp
    assert preset.modulator.residual_weight == residual
    assert preset.renderer.gaussian_sigma == sigma
    assert preset.modulator.camera
    assert preset.theoretical_maximum == pytest.approx(maximum)


def test_lidar_only_leaves_the_cameras_alone():
    modulator = WeightMapConfig.preset("lidar_only").modulator
    assert (modulator.lidar, modulator.camera) == (True, False)


def test_the_model_prints_its_theoretical_maximum():
    aqr = AqrConfig(mode="weight_map", weight_map=WeightMapConfig.preset("aggressive"))
    assert "theoretical_maximum=1.6" in str(build_router(16, 1, AqrConfig(
        mode="weight_map", weight_map=WeightMapConfig(
            GeneratorConfig(kind="mlp"), aqr.weight_map.renderer, aqr.weight_map.modulator))))


def test_the_smallest_residual_weight_decides_the_maximum():
    config = WeightMapConfig(renderer=RendererConfig(max_weight_clamp=2.0), modulator=(
        ModulatorConfig(residual_weight=0.9, class_residual_weight={"car": 0.5})))
    assert config.theoretical_maximum == pytest.approx(1.5)
    published = WeightMapConfig(renderer=RendererConfig(max_weight_clamp=2.0), reference=True,
                                modulator=ModulatorConfig(residual_weight=0.6))
    assert published.theoretical_maximum == pytest.approx(2.6)


def test_the_reports_class_residuals_name_classes():
    assert set(REPORT_CLASS_RESIDUALS) == set(CLASS_NAMES)
    ModulatorConfig(class_residual_weight=REPORT_CLASS_RESIDUALS)


def test_survives_a_trip_through_json():
    config = AqrConfig(mode="weight_map", weight_map=WeightMapConfig(modulator=ModulatorConfig(
        class_residual_weight={"car": 0.7})), target_band=(0.1, 0.2))
    assert from_dict(AqrConfig, json.loads(json.dumps(asdict(config)))) == config


def test_off_has_no_router():
    assert build_router(16, 1, AqrConfig(mode="off")) is None


@pytest.mark.parametrize(("make", "words"), [
    (lambda: AqrConfig(mode="on"), "aqr.mode is 'on'; expected one of off, gate"),
    (lambda: AqrConfig(target_band=(0.3, 0.1)), "aqr.target_band"),
    (lambda: GateConfig(channels=12), "multiples of 8"),
    (lambda: GateConfig(exclude_below=0.0), "aqr.gate.exclude_below is 0.0"),
    (lambda: GeneratorConfig(kind="cnn"), "generator.kind is 'cnn'"),
    (lambda: RendererConfig(method="splat"), "renderer.method is 'splat'"),
    (lambda: RendererConfig(gaussian_sigma=0.0), "gaussian_sigma is 0.0; expected 0.1 to 32"),
    (lambda: ModulatorConfig(residual_weight=1.5), "residual_weight is 1.5; expected 0 to 1"),
    (lambda: ModulatorConfig(class_residual_weight={"tram": 0.5}), "'tram'"),
    (lambda: WeightMapConfig(renderer=RendererConfig(max_weight_clamp=0.5)), "neutral weight"),
    (lambda: WeightMapConfig(GeneratorConfig(kind="mlp"), reference=True), "published"),
    (lambda: WeightMapConfig.preset("bold"), "preset is 'bold'; expected one of aggressive"),
    (lambda: AttentionBiasConfig(min_scale=6.0), "min_scale is 6.0"),
])
def test_errors_name_the_setting_in_one_line(make, words):
    with pytest.raises(ValueError, match="expected") as caught:
        make()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
