"""Settings of adaptive query routing, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass, field

from aqr_perception.types import CLASS_NAMES

MODES = ("off", "gate", "weight_map", "attention_bias")
GENERATORS = ("local_window", "global", "mlp")
RENDER_METHODS = ("gaussian", "bilinear", "direct", "distance_weighted")
MODULATIONS = ("element_wise", "channel_wise", "adaptive")


def _choose(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is '{value}'; expected one of {', '.join(choices)}")


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}; expected {low:g} to {high:g}")


@dataclass(frozen=True)
class GateConfig:
    """The gate: per query and sensor, per token and per whole sensor, how much attention to keep.

    Attributes:
        learned: False replaces everything that looks at the frame by one learned number a sensor
            kind: the control of the experiment.
        channels: Width of the small maps that the evidence is sampled from.
        descriptor: Width of the descriptor of an image column, in which sensors are compared.
        hidden: Width of the small networks.
        depth_bins: Samples along an image column's ray in the bird's-eye view.
        row_bins: Parts that an image column is cut into, from top to bottom.
        agreement: Use the agreement between sensors.
        time: Use the agreement with the frame before and the sensors' ages.
        query: Bias attention per query and sensor.
        token: Bias attention per token.
        frame: Bias attention per whole sensor.
        shuffle_queries: Hand each query another one's bias: a control of the experiment.
        initial_logit: Logit of every query's and token's gate at the start; the same for all, so
            that it cancels.
        initial_trust: Logits of whole sensors at the start, the LiDAR's and the cameras': so sure
            that nothing is left out.
        caution: Added to the logits of whole sensors, the LiDAR's and the cameras', when it comes
            to acting: to lose a sound one costs more than leaving out one that lies gains (with
            the weights that ship 38 points of mAP against 8 at most, and 13 against 2 to 13).
            What is believed does not depend on it. Chosen on validation drives.
        sharpness: What those logits are then multiplied by.
        initial_strength: λ in bias = λ·logsigmoid(logit), at the start.
        exclude_below: A bias at or below this leaves out what it refers to: its share is zero.
        max_motion: Frames between which the car moved further than this [m] are not compared.
        align: Put right a sensor that is turned or shows what was (`alignment`), not in training;
            needs ``agreement``.
    """

    learned: bool = True
    channels: int = 32
    descriptor: int = 64
    hidden: int = 32
    depth_bins: int = 24
    row_bins: int = 4
    agreement: bool = True
    time: bool = True
    query: bool = True
    token: bool = True
    frame: bool = True
    shuffle_queries: bool = False
    initial_logit: float = 6.0
    initial_trust: tuple[float, float] = (4.0, 5.4)
    caution: tuple[float, float] = (2.0, 0.6)
    sharpness: float = 3.0
    initial_strength: float = 4.0
    exclude_below: float = -16.0
    max_motion: float = 20.0
    align: bool = True

    def __post_init__(self) -> None:
        for name in ("channels", "descriptor", "hidden", "depth_bins", "row_bins"):
            _within(f"aqr.gate.{name}", getattr(self, name), 1, 1024)
        if self.channels % 8 or self.descriptor % 8:
            raise ValueError(f"aqr.gate.channels and .descriptor are {self.channels} and "
                             f"{self.descriptor}; expected multiples of 8")
        _within("aqr.gate.sharpness", self.sharpness, 0.1, 100.0)
        for value in self.caution:
            _within("aqr.gate.caution", value, 0.0, 6.0)
        _within("aqr.gate.initial_strength", self.initial_strength, 0.1, 100.0)
        _within("aqr.gate.exclude_below", self.exclude_below, -1e3, -1.0)


@dataclass(frozen=True)
class GeneratorConfig:
    """Where the weight of a query for each modality comes from.

    Attributes:
        kind: ``local_window`` (a transformer whose queries look at the tokens around their own
            place), ``global`` (at all tokens, as the published configurations did in effect) or
            ``mlp`` (the features at that place, no attention).
        layers: Number of transformer layers, or of hidden layers of the MLP.
        heads: Attention heads.
        feedforward: Hidden width of the transformer's feed-forward network.
        lidar_window: Side of the window in the bird's-eye view [cells]; the odd number 2⌊w/2⌋ + 1
            is used, as published.
        camera_window: The same in an image.
    """

    kind: str = "local_window"
    layers: int = 1
    heads: int = 4
    feedforward: int = 1024
    lidar_window: int = 5
    camera_window: int = 8

    def __post_init__(self) -> None:
        _choose("aqr.weight_map.generator.kind", self.kind, GENERATORS)
        _within("aqr.weight_map.generator.layers", self.layers, 1, 12)
        _within("aqr.weight_map.generator.lidar_window", self.lidar_window, 1, 31)
        _within("aqr.weight_map.generator.camera_window", self.camera_window, 1, 31)


@dataclass(frozen=True)
class RendererConfig:
    """How the queries' weights become a map.

    Attributes:
        method: ``gaussian``, ``bilinear``, ``direct`` or ``distance_weighted``.
        gaussian_sigma: Radius of the Gaussian [cells].
        learnable_sigma: Let training change it.
        distance_decay: Of ``distance_weighted``: e-folding length over the radius of its disc.
        max_weight_clamp: Largest weight.
    """

    method: str = "gaussian"
    gaussian_sigma: float = 2.0
    learnable_sigma: bool = False
    distance_decay: float = 0.8
    max_weight_clamp: float = 1.5

    def __post_init__(self) -> None:
        _choose("aqr.weight_map.renderer.method", self.method, RENDER_METHODS)
        _within("aqr.weight_map.renderer.gaussian_sigma", self.gaussian_sigma, 0.1, 32.0)
        _within("aqr.weight_map.renderer.distance_decay", self.distance_decay, 0.01, 100.0)
        _within("aqr.weight_map.renderer.max_weight_clamp", self.max_weight_clamp, 0.1, 16.0)


@dataclass(frozen=True)
class ModulatorConfig:
    """How the map changes the features: F becomes r·F + (1 - r)·F·W.

    Attributes:
        modulation: ``element_wise`` (W of the cell), ``channel_wise`` (mean of W over the map) or
            ``adaptive`` (0.7 of the first and 0.3 of the second).
        residual_weight: r, the part of the feature that stays what it was.
        class_residual_weight: r by class name, where a class needs another; the class is the one
            that the decoder layer before predicts for the query.
        size_adaptive: Halve the say of queries whose object, as the layer before predicts it, is
            shorter than 2 m.
        lidar: Modulate the bird's-eye view.
        camera: Modulate the images.
    """

    modulation: str = "element_wise"
    residual_weight: float = 0.8
    class_residual_weight: dict[str, float] = field(default_factory=dict)
    size_adaptive: bool = False
    lidar: bool = True
    camera: bool = True

    def __post_init__(self) -> None:
        _choose("aqr.weight_map.modulator.modulation", self.modulation, MODULATIONS)
        _within("aqr.weight_map.modulator.residual_weight", self.residual_weight, 0.0, 1.0)
        for name, weight in self.class_residual_weight.items():
            _choose("aqr.weight_map.modulator.class_residual_weight", name, CLASS_NAMES)
            _within(f"aqr.weight_map.modulator.class_residual_weight.{name}", weight, 0.0, 1.0)


REPORT_CLASS_RESIDUALS = {
    "car": 0.65, "truck": 0.65, "bicycle": 0.85, "motorcycle": 0.85, "pedestrian": 0.80,
    "traffic_cone": 0.85, "construction_vehicle": 0.70, "bus": 0.70, "trailer": 0.70,
    "barrier": 0.70}
"""Residual weights by class that the experiment report proposes."""


@dataclass(frozen=True)
class WeightMapConfig:
    """The weight maps of the experiment report, and how they are rendered and applied.

    Attributes:
        generator: Source of the weights.
        renderer: From weights to maps.
        modulator: From maps to features.
        reference: Render and modulate as the published code does, faults included: kernels
            normalised to sum 1, gain W + r, no gradient through the maps, denoising queries
            rendered with the others.
    """

    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    renderer: RendererConfig = field(default_factory=RendererConfig)
    modulator: ModulatorConfig = field(default_factory=ModulatorConfig)
    reference: bool = False

    def __post_init__(self) -> None:
        clamp = self.renderer.max_weight_clamp
        if clamp <= 1 and not self.reference:
            raise ValueError(f"aqr.weight_map.renderer.max_weight_clamp is {clamp}; expected above "
                             "1, the neutral weight (only reference: true renders without it)")
        if self.reference and self.generator.kind == "mlp":
            raise ValueError("aqr.weight_map.generator.kind is 'mlp' with reference: true; "
                             "expected 'local_window' or 'global', which were published")

    @property
    def theoretical_maximum(self) -> float:
        """Largest factor on a feature: r + (1 - r)·clamp with the smallest r; in reference mode
        r + clamp.
        """
        residual = min([self.modulator.residual_weight,
                        *self.modulator.class_residual_weight.values()])
        clamp = self.renderer.max_weight_clamp
        return residual + (clamp if self.reference else (1 - residual) * clamp)

    @staticmethod
    def preset(name: str) -> WeightMapConfig:
        """A configuration by the name that the experiment report gives it.

        Raises:
            ValueError: There is none of that name.
        """
        _choose("aqr.weight_map preset", name, tuple(_STRENGTHS))
        clamp, residual, sigma = _STRENGTHS[name]
        return WeightMapConfig(
            renderer=RendererConfig(max_weight_clamp=clamp, gaussian_sigma=sigma),
            modulator=ModulatorConfig(residual_weight=residual, camera=name != "lidar_only"))


_STRENGTHS = {"aggressive": (2.5, 0.60, 2.0), "conservative": (1.5, 0.80, 1.5),
              "very_conservative": (1.3, 0.85, 1.0), "lidar_only": (2.5, 0.60, 2.0)}
"""Clamp, residual weight and sigma of the report's presets. `lidar_only` is its plan B: the
aggressive one without the cameras."""


@dataclass(frozen=True)
class AttentionBiasConfig:
    """The second published variant: a bias on the tokens around a query's own place.

    Attributes:
        generator: Source of the weights, as in `WeightMapConfig`.
        window: Side of the window [cells]; an even one reaches one cell further to the right and
            down, as published.
        scale: Bias at weight 1.
        learnable_scale: Let training change the scale.
        min_scale: Smallest learnable scale.
        max_scale: Largest learnable scale, and largest bias.
        local: False biases all tokens of a modality instead of a window.
        gaussian: Let the bias fall off with the distance from the query's cell.
        gaussian_sigma: How fast [cells].
        reference: Look where the published code looks: only the first camera that sees a query,
            the corner of the first one where none does; start with its bias instead of none.
    """

    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    window: int = 8
    scale: float = 2.5
    learnable_scale: bool = True
    min_scale: float = 0.5
    max_scale: float = 5.0
    local: bool = True
    gaussian: bool = False
    gaussian_sigma: float = 2.5
    reference: bool = False

    def __post_init__(self) -> None:
        _within("aqr.attention_bias.window", self.window, 1, 31)
        if not 0 <= self.min_scale <= self.max_scale:
            raise ValueError(f"aqr.attention_bias.min_scale is {self.min_scale}; expected 0 to "
                             f"max_scale, which is {self.max_scale}")


@dataclass(frozen=True)
class AqrConfig:
    """Adaptive query routing.

    Attributes:
        mode: ``off`` (the plain network), ``gate``, ``weight_map`` or ``attention_bias``.
        gate: Settings of that mode.
        weight_map: Settings of that mode.
        attention_bias: Settings of that mode.
        target_band: Share of a feature's magnitude that AQR should change, from and to; frames
            outside are counted.
    """

    mode: str = "gate"
    gate: GateConfig = field(default_factory=GateConfig)
    weight_map: WeightMapConfig = field(default_factory=WeightMapConfig)
    attention_bias: AttentionBiasConfig = field(default_factory=AttentionBiasConfig)
    target_band: tuple[float, float] = (0.15, 0.25)

    def __post_init__(self) -> None:
        _choose("aqr.mode", self.mode, MODES)
        band = tuple(float(edge) for edge in self.target_band)
        if len(band) != 2 or not 0 <= band[0] <= band[1]:
            raise ValueError(f"aqr.target_band is {list(band)}; expected two numbers from 0 up, "
                             "the smaller first")
        object.__setattr__(self, "target_band", band)
