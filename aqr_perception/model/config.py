"""What a network is made of. A preset is a function that returns a config; nothing inherits.

A config travels as a plain dict in the metadata of a weights file, so that the file alone
rebuilds the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from aqr_perception.model.aqr.config import AqrConfig
from aqr_perception.types import CLASS_NAMES

IMAGE_BACKBONES = ("resnet50", "vovnet99", "small")
LIDAR_ENCODERS = ("voxels", "pillars")
POSITIONS = ("cmt", "fourier")
ABSENCES = ("left_out", "zeros")


@dataclass(frozen=True)
class ImageConfig:
    """The camera branch.

    Attributes:
        backbone: ``resnet50``, ``vovnet99`` or ``small``.
        width: Width of the network's images [px].
        height: Their height [px].
        channels: Widths of the stem's convolutions, then of the four stages' outputs.
        inner_channels: Widths inside the four stages of ``vovnet99``.
        area: Halve pictures by averaging before the last bilinear step; right for a large
            reduction, not what CMT was trained with.
        frozen_norm: Batch statistics are those of the file, also in training.
    """

    backbone: str
    width: int
    height: int
    channels: tuple[int, ...]
    inner_channels: tuple[int, ...] = ()
    area: bool = False
    frozen_norm: bool = True

    def __post_init__(self) -> None:
        _choice("image.backbone", self.backbone, IMAGE_BACKBONES)
        if self.width % 32 or self.height % 32 or min(self.width, self.height) < 32:
            raise ValueError(f"image size is {self.width}×{self.height}; expected multiples of 32")
        _at_least("image.channels", min(self.channels, default=0), 1)

    @property
    def stride(self) -> int:
        """Pixels a token, along each axis."""
        return 16

    @property
    def map_shape(self) -> tuple[int, int]:
        """Rows and columns of each camera's token map."""
        return self.height // self.stride, self.width // self.stride


@dataclass(frozen=True)
class LidarConfig:
    """The LiDAR branch.

    Attributes:
        encoder: ``voxels`` (mean of each voxel, sparse 3D convolutions, SECOND) or ``pillars``.
        voxel_size: x, y, z [m], counted from the low end of the detection range; a pillar's z is
            the whole range.
        grid: Voxels along z, y, x. Points beyond it are left out. Published CMT with 0.1 m voxels
            has 1024 × 1024 of them, which end at x, y = 48.4 m, yet places the map's 128 × 128
            tokens over the whole range; its weights need both.
        max_tokens: Tokens of the map that attention reads, those with the tallest content first;
            0: all. Most cells of a single sweep are empty.
        max_points: Points kept in a voxel, the first ones (``voxels`` only).
        max_voxels: Voxels kept a frame in evaluation (``voxels`` only).
        sparse_channels: Widths of the four sparse stages and of the output; for ``pillars`` the
            width of the pillar features.
        trunk_channels: Widths of the two blocks of the 2D trunk.
        trunk_layers: Convolutions in each block after its first.
        neck_channels: Width of each of the two upsampled maps.
        shared_kernel: Kernel of the convolution from the neck to the tokens; 0: none, the neck's
            two maps are as wide as the tokens together.
        stride: Cells of the voxel grid a token, along x and along y.
        intensity_scale: Factor on intensity 0..1 on its way into the network.
        norm_momentum: Of the batch norms; SECOND's is for long trainings.
    """

    encoder: str
    voxel_size: tuple[float, float, float]
    grid: tuple[int, int, int]
    sparse_channels: tuple[int, ...]
    trunk_channels: tuple[int, int]
    trunk_layers: tuple[int, int]
    neck_channels: int
    stride: int
    shared_kernel: int = 3
    max_tokens: int = 0
    max_points: int = 10
    max_voxels: int = 160_000
    intensity_scale: float = 255.0
    norm_momentum: float = 0.01

    def __post_init__(self) -> None:
        _choice("lidar.encoder", self.encoder, LIDAR_ENCODERS)
        if len(self.voxel_size) != 3 or min(self.voxel_size) <= 0:
            raise ValueError(f"lidar.voxel_size is {self.voxel_size}; expected three sizes above 0")
        for name in ("max_points", "max_voxels", "neck_channels", "stride"):
            _at_least(f"lidar.{name}", getattr(self, name), 1)
        rows, columns = self.grid[1:]
        if rows % (2 * self.stride) or columns % (2 * self.stride):
            raise ValueError(f"lidar.grid has {rows} rows and {columns} columns; expected "
                             f"multiples of twice lidar.stride = {2 * self.stride}")

    @property
    def bev_shape(self) -> tuple[int, int]:
        """Rows (y) and columns (x) of the bird's-eye view map."""
        return self.grid[1] // self.stride, self.grid[2] // self.stride


@dataclass(frozen=True)
class DecoderConfig:
    """Queries, attention and head.

    Attributes:
        channels: Width C of tokens and queries.
        heads: Attention heads.
        layers: Decoder layers L.
        feedforward: Width inside the feed-forward block.
        queries: Q.
        head_channels: Width inside the task heads.
        depth_bins: Points on each pixel's ray that its position embedding is made of.
        position: ``cmt`` (its embeddings and MLPs) or ``fourier`` (linear in sines, and a Gaussian
            of distance on the logits of cross-attention, so that it starts local).
        heat: Tokens are also asked what lies in them, see `model.heat`.
        placed: Queries that start where the LiDAR's heat has its peaks (needs heat); without a
            LiDAR these go to the images, too.
        placed_by_images: Queries that start at the peaks over the images, at the depth that the
            tokens say. The rest, and those of a sensor that is absent, start where they learned to.
        seeded: Queries that were placed start with what is known of their token, see `model.seed`
            (needs heat); CMT's start with nothing but a place.
        refine: Each layer starts from the centre that the one before it predicted; CMT's
            reference points stay where they are.
        plain_boxes: The head's ``height`` and ``dim`` hold what their names say; in CMT's files
            they do not, see `Head`.
        metric_offsets: The head says how many metres the centre lies off the reference point, at
            first none; CMT adds to the logit of its place in the range.
        dropout: On the outputs of attention and on the weights of self-attention, in training.
        absence: How a missing sensor looks: ``left_out`` (no tokens) or ``zeros`` (black pixels
            and one point at the origin, as published CMT checkpoints know it).
    """

    channels: int
    heads: int
    layers: int
    feedforward: int
    queries: int
    head_channels: int = 64
    depth_bins: int = 64
    position: str = "cmt"
    heat: bool = False
    placed: int = 0
    placed_by_images: int = 0
    seeded: bool = False
    refine: bool = False
    plain_boxes: bool = False
    metric_offsets: bool = False
    dropout: float = 0.1
    absence: str = "left_out"

    def __post_init__(self) -> None:
        _choice("decoder.position", self.position, POSITIONS)
        _choice("decoder.absence", self.absence, ABSENCES)
        for name in ("heads", "layers", "feedforward", "queries", "head_channels", "depth_bins"):
            _at_least(f"decoder.{name}", getattr(self, name), 1)
        if self.channels < self.heads or self.channels % self.heads:
            raise ValueError(f"decoder.channels is {self.channels}; expected a multiple of the "
                             f"{self.heads} heads")
        placed = self.placed + self.placed_by_images
        if min(self.placed, self.placed_by_images) < 0 or placed > self.queries * self.heat:
            raise ValueError(f"decoder.placed is {self.placed}, placed_by_images "
                             f"{self.placed_by_images}; expected 0 or more, together at most "
                             f"{self.queries}, the queries, and 0 without heat")
        if self.seeded and not self.heat:
            raise ValueError("decoder.seeded is true and heat false; expected both: queries are "
                             "seeded from what the tokens say")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"decoder.dropout is {self.dropout}; expected 0 or more, below 1")


@dataclass(frozen=True)
class DetectorConfig:
    """The whole network.

    Attributes:
        name: The preset it came from.
        image: Camera branch; None for a LiDAR-only network.
        lidar: LiDAR branch; None for a camera-only network.
        decoder: Queries, attention, head.
        aqr: Adaptive query routing.
        detection_range: x, y, z from and to [m], model frame: where queries and voxels live.
        post_range: x, y, z from and to [m]: boxes centred outside are dropped.
        separation: Least distance of two detections of a class [m], by class in the order of
            `CLASS_NAMES`; the weaker is left out. Empty, as in CMT: none is.
    """

    name: str
    image: ImageConfig | None
    lidar: LidarConfig | None
    decoder: DecoderConfig
    aqr: AqrConfig = field(default_factory=AqrConfig)
    detection_range: tuple[float, ...] = (-54.0, -54.0, -5.0, 54.0, 54.0, 3.0)
    post_range: tuple[float, ...] = (-61.2, -61.2, -10.0, 61.2, 61.2, 10.0)
    separation: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("detection_range", "post_range"):
            limits = getattr(self, name)
            if len(limits) != 6 or any(low >= high for low, high in zip(limits[:3], limits[3:])):
                raise ValueError(f"{name} is {limits}; expected x, y, z from, then x, y, z to")
        if self.separation and (len(self.separation) != len(CLASS_NAMES)
                                or not all(value >= 0 for value in self.separation)):
            raise ValueError(f"separation is {self.separation}; expected a distance of 0 or more "
                             f"for each of the {len(CLASS_NAMES)} classes, or nothing")
        if self.lidar is not None and not self.lidar.shared_kernel and (
                2 * self.lidar.neck_channels != self.decoder.channels):
            raise ValueError(f"lidar.neck_channels is {self.lidar.neck_channels}; expected half of "
                             f"decoder.channels, {self.decoder.channels}, where shared_kernel is 0")
        if self.image is None and self.lidar is None:
            raise ValueError("the network has neither an image nor a lidar branch; expected one "
                             "or both")

def tiny() -> DetectorConfig:
    """For a CPU: pillars, small images, 96 channels; the weights that ship are of this one."""
    return DetectorConfig(
        name="tiny",
        image=ImageConfig(backbone="small", width=352, height=128, channels=(32, 48, 96, 128),
                          area=True, frozen_norm=False),
        lidar=LidarConfig(encoder="pillars", voxel_size=(0.6, 0.6, 8.0), grid=(1, 180, 180),
                          sparse_channels=(32,), trunk_channels=(48, 96), trunk_layers=(1, 3),
                          neck_channels=48, stride=2, shared_kernel=0, max_tokens=1024,
                          intensity_scale=1.0, norm_momentum=0.1),
        decoder=DecoderConfig(channels=96, heads=4, layers=3, feedforward=192, queries=200,
                              head_channels=32, position="fourier", heat=True, placed=140,
                              placed_by_images=60, seeded=True, refine=True, plain_boxes=True,
                              metric_offsets=True, dropout=0.0),
        aqr=AqrConfig(mode="off"),
        separation=(1.5, 2.0, 2.0, 2.0, 2.0, 1.0, 0.6, 0.3, 0.5, 1.0))


def cmt_r50() -> DetectorConfig:
    """CMT with ResNet-50 at 800×320 and voxels of 0.1 m."""
    return DetectorConfig(
        name="cmt_r50",
        image=ImageConfig(backbone="resnet50", width=800, height=320,
                          channels=(64, 256, 512, 1024, 2048)),
        lidar=_cmt_lidar(0.1, 1024), decoder=_cmt_decoder(), aqr=AqrConfig(mode="off"))


def cmt_vov99() -> DetectorConfig:
    """CMT with VoVNet-99 at 1600×640 and voxels of 0.075 m."""
    return DetectorConfig(
        name="cmt_vov99",
        image=ImageConfig(backbone="vovnet99", width=1600, height=640,
                          channels=(64, 64, 128, 256, 512, 768, 1024),
inner_channels=(128, 160, 192, 224)),
        lidar=_cmt_lidar(0.075, 1440), decoder=_cmt_decoder(), aqr=AqrConfig(mode="off"))


PRESETS = {"tiny": tiny, "cmt_r50": cmt_r50, "cmt_vov99": cmt_vov99}


def _cmt_lidar(voxel: float, cells: int) -> LidarConfig:
    return LidarConfig(encoder="voxels", voxel_size=(voxel, voxel, 0.2), grid=(41, cells, cells),
                       sparse_channels=(16, 32, 64, 128, 128), trunk_channels=(128, 256),
                       trunk_layers=(5, 5), neck_channels=256, stride=8)


def _cmt_decoder() -> DecoderConfig:
    return DecoderConfig(channels=256, heads=8, layers=6, feedforward=1024, queries=900)


def to_dict(config: Any) -> dict[str, Any]:
    """Turn a config into plain dicts, lists, numbers and strings, as JSON holds them."""
    return asdict(config)


Config = TypeVar("Config")


def from_dict(kind: type[Config], values: Mapping[str, Any], where: str = "config") -> Config:
    """Build a config from what `to_dict` gave (after a trip through JSON, too).

    Args:
        kind: The dataclass to build.
        values: Its fields; those with a default may be missing.
        where: What to call the mapping in an error.

    Raises:
        ValueError: A field is unknown, missing, or of the wrong kind.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{where} is {type(values).__name__}; expected a mapping of fields")
    hints = get_type_hints(kind)
    known = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"{where} has unknown fields {', '.join(unknown)}; expected "
                         f"{', '.join(sorted(known))}")
    built = {name: _convert(hints[name], value, f"{where}.{name}")
             for name, value in values.items()}
    try:
        return kind(**built)
    except TypeError as error:  # a field without a default is missing
        raise ValueError(f"{where}: {error}") from None


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Bring a JSON value to the type of its field."""
    options = get_args(hint)
    if type(None) in options:  # Optional[X]
        inner = next(option for option in options if option is not type(None))
        return None if value is None else _convert(inner, value, where)
    if is_dataclass(hint) and isinstance(hint, type):
        return from_dict(hint, value, where)
    if get_origin(hint) is tuple:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{where} is {value!r}; expected a list")
        return tuple(_convert(options[0], element, f"{where}[{i}]")
                     for i, element in enumerate(value))
    if get_origin(hint) is dict:
        if not isinstance(value, Mapping):
            raise ValueError(f"{where} is {value!r}; expected a mapping")
        return {str(key): _convert(options[1], element, f"{where}.{key}")
                for key, element in value.items()}
    if hint is float and type(value) is int:
        return float(value)
    if isinstance(hint, type) and type(value) is not hint:
        raise ValueError(f"{where} is {value!r}; expected {hint.__name__}")
    return value


def _choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is '{value}'; expected one of {', '.join(allowed)}")


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} is {value}; expected {least} or more")
