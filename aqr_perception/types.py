"""The values that flow through the package, and one legend for their shapes.

    messages → SensorFrame → Batch → DetectorOutput → Detections → Detection3DArray

Legend: B batch, V views (cameras), N points, Q queries, C channels, K classes, L decoder layers,
S sensors (the LiDAR first, then the V cameras in the rig's order). SensorFrame, Annotations and
Detections hold NumPy; Batch and DetectorOutput hold tensors.

Frames: everything at the edges stands in the LiDAR frame of the message or file. The *model frame*
is the network's own: x right, y forward, z up, the ground at z ≈ -1.84 m (nuScenes LIDAR_TOP);
`Mounting` says how the two lie to each other, and only `model.inputs` and the decoder of
boxes know of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry import rigid
from aqr_perception.geometry.boxes import Boxes3D
from aqr_perception.geometry.camera import PinholeCamera

if TYPE_CHECKING:  # the readers, players and checks above the model do without torch
    from torch import Tensor

CLASS_NAMES = ("car", "truck", "construction_vehicle", "bus", "trailer", "barrier", "motorcycle",
               "bicycle", "pedestrian", "traffic_cone")
"""The ten nuScenes detection classes; a label is an index into this (CMT's order)."""

MODEL_LIDAR_HEIGHT = 1.84
"""Height of the model frame's origin above the ground [m]."""


THINNEST = 20
"""Longer side of a picture over the shorter one, at most: a network scales the shorter one up."""


@dataclass(frozen=True)
class Calibration:
    """One camera: its lens, and where it was.

    Attributes:
        camera: Intrinsics of the image as it comes.
        camera_from_lidar: (4, 4) takes points of the LiDAR frame at the frame's stamp into the
            camera frame at the camera's own stamp, the car's motion between the two included.
        frame_id: The camera's optical frame.
    """

    camera: PinholeCamera
    camera_from_lidar: rigid.Matrix
    frame_id: str = ""


@dataclass(frozen=True)
class CameraImage:
    """One picture.

    Attributes:
        name: The camera's name in the rig, e.g. ``CAM_FRONT``.
        stamp_ns: Exposure time [ns].
        pixels: (H, W, 3) uint8, BGR (OpenCV's order).
        calibration: Lens and pose; its size equals that of ``pixels``.
    """

    name: str
    stamp_ns: int
    pixels: NDArray[np.uint8]
    calibration: Calibration

    def __post_init__(self) -> None:
        camera = self.calibration.camera
        if self.pixels.shape != (camera.height, camera.width, 3) or self.pixels.dtype != np.uint8:
            raise ValueError(
                f"{self.name}: the image is {self.pixels.dtype} of shape {self.pixels.shape}, its "
                f"calibration says {camera.width}×{camera.height}; expected uint8 "
                f"{(camera.height, camera.width, 3)}: use the calibration of this image size")
        if max(camera.width, camera.height) > THINNEST * min(camera.width, camera.height):
            raise ValueError(f"{self.name}: the image is {camera.width}×{camera.height}; expected "
                             f"sides of at most {THINNEST} to 1")


@dataclass(frozen=True)
class LidarCloud:
    """One sweep, or several accumulated into one.

    Attributes:
        stamp_ns: Time that the points refer to [ns].
        points: (N, 5) float32: x, y, z [m] in the LiDAR frame, intensity 0..1, dt [s] = stamp of
            the cloud minus the point's own sweep (0 for the newest, above 0 for older ones).
    """

    stamp_ns: int
    points: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[1] != 5 or self.points.dtype != np.float32:
            raise ValueError(f"a LiDAR cloud is float32 (N, 5): x, y, z, intensity, dt; got "
                             f"{self.points.dtype} {self.points.shape}")

    def newest_sweep(self) -> NDArray[np.float32]:
        """(M, 3) x, y, z [m] of the newest sweep's points that are finite: where things are now."""
        points = self.points[self.points[:, 4] == 0, :3]
        return points[np.isfinite(points).all(axis=1)]


@dataclass(frozen=True)
class SensorFrame:
    """What the seven sensors saw at one time. Any of them may be absent.

    Attributes:
        stamp_ns: The frame's time [ns]: the LiDAR's stamp, or the anchor camera's where the LiDAR
            is absent.
        frame_id: The LiDAR frame; detections come back in it.
        lidar: The cloud, or None when absent.
        images: One entry a camera of the rig, in its order; None when absent.
        camera_names: The rig's names for those entries.
        fixed_from_lidar: (4, 4) pose of the LiDAR frame at ``stamp_ns`` in a frame that does not
            move with the car (odom); None where unknown. Joins consecutive frames.
    """

    stamp_ns: int
    frame_id: str
    lidar: LidarCloud | None
    images: tuple[CameraImage | None, ...]
    camera_names: tuple[str, ...]
    fixed_from_lidar: rigid.Matrix | None = None

    def __post_init__(self) -> None:
        if len(self.images) != len(self.camera_names):
            raise ValueError(f"a frame of the rig {', '.join(self.camera_names)} holds "
                             f"{len(self.images)} image entries; expected one a camera")

    @property
    def present(self) -> NDArray[np.bool_]:
        """(S,) which sensors delivered: the LiDAR, then the cameras."""
        return np.array([self.lidar is not None, *(image is not None for image in self.images)])

    @property
    def ages_s(self) -> NDArray[np.float32]:
        """(S,) how much older than ``stamp_ns`` each sensor's data is [s]; NaN where absent."""
        stamps = [self.lidar, *self.images]
        return np.array([np.nan if sample is None else (self.stamp_ns - sample.stamp_ns) * 1e-9
                         for sample in stamps], dtype=np.float32)


@dataclass(frozen=True)
class Mounting:
    """How the LiDAR frame lies to the model frame: a fact of the rig, set by configuration.

    Attributes:
        forward_axis: Which axis of the LiDAR frame points forward: ``x`` (REP-103) or ``y``
            (nuScenes).
        height: Height of the LiDAR frame's origin above the ground [m]; 0 for a cloud that is
            published in a ground frame.
    """

    forward_axis: str = "y"
    height: float = MODEL_LIDAR_HEIGHT

    def __post_init__(self) -> None:
        if self.forward_axis not in ("x", "y"):
            raise ValueError(f"lidar.forward_axis is '{self.forward_axis}'; expected 'x' (REP-103) "
                             "or 'y' (nuScenes)")
        if not -10.0 <= self.height <= 10.0:
            raise ValueError(f"lidar.height is {self.height} m; expected -10 to 10")

    @property
    def model_from_lidar(self) -> rigid.Matrix:
        """(4, 4) takes points of the LiDAR frame into the model frame."""
        yaw = np.pi / 2 if self.forward_axis == "x" else 0.0
        matrix = rigid.from_xyz_yaw(0.0, 0.0, self.height - MODEL_LIDAR_HEIGHT, yaw)
        matrix[:2, :2] = np.round(matrix[:2, :2])  # a quarter turn is exact
        return matrix


@dataclass(frozen=True)
class SweepSettings:
    """How many sweeps of the LiDAR a frame's cloud is made of: configuration, as in the training.

    Attributes:
        count: The newest and those before it, 1 to 10.
        interval_s: Wanted age of each of those before it over the next newer one [s], 0.02 to 1.
    """

    count: int = 4
    interval_s: float = 0.1

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 10:
            raise ValueError(f"lidar.sweeps is {self.count}; expected 1 to 10")
        if not 0.02 <= self.interval_s <= 1.0:
            raise ValueError(f"lidar.sweep_interval is {self.interval_s} s; expected 0.02 to 1")


@dataclass(frozen=True)
class Gains:
    """How much of each sensor's attention to keep: 1 as trained, 0 exactly as if it were absent.

    Attributes:
        lidar: Factor on the attention mass of the LiDAR's tokens, 0 to 4.
        camera: The same for all cameras together.
        cameras: Further factors by camera name; a camera that is not named has 1.
    """

    lidar: float = 1.0
    camera: float = 1.0
    cameras: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, gain in (("gain.lidar", self.lidar), ("gain.camera", self.camera),
                           *((f"gain.{name}", gain) for name, gain in self.cameras.items())):
            if not 0.0 <= gain <= 4.0:
                raise ValueError(f"{name} is {gain}; expected 0 to 4")

    def per_sensor(self, camera_names: tuple[str, ...]) -> NDArray[np.float32]:
        """(S,) the factors in the order of the sensors."""
        return np.array([self.lidar, *(self.camera * self.cameras.get(name, 1.0)
                                       for name in camera_names)], dtype=np.float32)


@dataclass(frozen=True)
class WeightMapStrength:
    """How far AQR of the mode ``weight_map`` goes; None leaves what the network was trained with.

    The last one counts for the Gaussian window of the mode ``attention_bias`` too.

    Attributes:
        residual_weight: Part of a feature that stays what it was, 0 to 1.
        max_weight_clamp: Largest weight, 0.1 to 16.
        gaussian_sigma: Radius of the Gaussian around a query [cells of the map], 0.1 to 32.
    """

    residual_weight: float | None = None
    max_weight_clamp: float | None = None
    gaussian_sigma: float | None = None

    def __post_init__(self) -> None:
        for name, low, high in (("residual_weight", 0.0, 1.0), ("max_weight_clamp", 0.1, 16.0),
                                ("gaussian_sigma", 0.1, 32.0)):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"aqr.{name} is {value}; expected {low:g} to {high:g}")


@dataclass(frozen=True)
class Controls:
    """Everything that may change between two frames; the node hands one such snapshot a frame.

    Attributes:
        gains: Per sensor.
        modulation_lidar: Say of AQR over the LiDAR: 0 none, 1 as trained.
        modulation_camera: The same for the cameras.
        aqr_enabled: False runs the network as if ``aqr.mode`` were ``off``.
        align: Put right a sensor that is turned or shows what was; of mode ``gate``.
        weight_map: How far AQR of that mode goes.
        score_threshold: Detections below are left out.
        class_score_thresholds: The same by class name, where a class needs another.
        max_detections: Largest number of boxes a frame, the best kept.
    """

    gains: Gains = field(default_factory=Gains)
    modulation_lidar: float = 1.0
    modulation_camera: float = 1.0
    aqr_enabled: bool = True
    align: bool = True
    weight_map: WeightMapStrength = field(default_factory=WeightMapStrength)
    score_threshold: float = 0.1
    class_score_thresholds: dict[str, float] = field(default_factory=dict)
    max_detections: int = 300

    def __post_init__(self) -> None:
        for name in ("modulation_lidar", "modulation_camera", "score_threshold"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name.replace('modulation_', 'modulation.')} is {value}; "
                                 "expected 0 to 1")
        for name, value in self.class_score_thresholds.items():
            if name not in CLASS_NAMES:
                raise ValueError(f"class_score_thresholds names '{name}'; expected one of "
                                 f"{', '.join(CLASS_NAMES)}")
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"class_score_threshold.{name} is {value}; expected 0 to 1")
        if self.max_detections < 1:
            raise ValueError(f"max_detections is {self.max_detections}; expected 1 or more")

    def score_thresholds(self) -> NDArray[np.float32]:
        """(K,) the threshold of each class."""
        return np.array([self.class_score_thresholds.get(name, self.score_threshold)
                         for name in CLASS_NAMES], dtype=np.float32)


@dataclass(frozen=True)
class Detections:
    """What the detector found, best first.

    Attributes:
        stamp_ns: The frame's time [ns].
        frame_id: The frame of the boxes (the LiDAR's).
        boxes: N boxes.
        scores: (N,) 0..1, descending.
        labels: (N,) index into `CLASS_NAMES`.
    """

    stamp_ns: int
    frame_id: str
    boxes: Boxes3D
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def class_names(self) -> list[str]:
        """The class of each box."""
        return [CLASS_NAMES[label] for label in self.labels]


@dataclass(frozen=True)
class Annotations:
    """The truth about one frame, in its LiDAR frame.

    Attributes:
        boxes: N boxes.
        labels: (N,) index into `CLASS_NAMES`.
        num_lidar_pts: (N,) points of the cloud inside each box; -1 where unknown.
        visibility: (N,) share of the object that some camera sees, 0..1; NaN where unknown.
        track_ids: (N,) the same object keeps its number over a drive; -1 where unknown.
    """

    boxes: Boxes3D
    labels: NDArray[np.int64]
    num_lidar_pts: NDArray[np.int64]
    visibility: NDArray[np.float32]
    track_ids: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True)
class Batch:
    """Frames made ready for the network, all on one device. A missing sensor is a False in a mask.

    Attributes:
        images: (B, V, 3, H, W) float32, normalised; what stands where a camera is absent is never
            read.
        image_from_lidar: (B, V, 4, 4) float32 projects points of the *model* frame to (u·d, v·d,
            d, 1) in pixels of ``images``; the identity where a camera is absent.
        camera_present: (B, V) bool.
        points: (N, 5) float32 of all frames: x, y, z [m] in the model frame, intensity and dt [s]
            on the network's scale.
        point_frame: (N,) int64 index 0..B-1 of the frame that a point belongs to, ascending.
        lidar_present: (B,) bool; False too where not a single point lies in range.
        gains: (B, S) float32 ≥ 0, see `Gains`.
        modulation: (B, 2) float32 0..1: AQR's say over the LiDAR and over the cameras.
        ages: (B, S) float32 [s] how much older than the frame each sensor's data is; 0 if absent.
        fixed_from_model: (B, 4, 4) float64 pose of the model frame in a fixed frame; NaN where
            unknown.
    """

    images: Tensor
    image_from_lidar: Tensor
    camera_present: Tensor
    points: Tensor
    point_frame: Tensor
    lidar_present: Tensor
    gains: Tensor
    modulation: Tensor
    ages: Tensor
    fixed_from_model: Tensor


@dataclass(frozen=True)
class Heat:
    """Logits of "the centre of an object of this class lies in this token".

    Attributes:
        bev: (B, rows, columns, K) over the bird's-eye view, rows along y of the detection range,
            columns along x; empty without a LiDAR.
        image: (B, len(views), rows, columns, K) over the images; empty without cameras.
        views: The rig's cameras that ``image`` holds.
        offset: (B, rows, columns, 3) x, y, z [m] from the middle of the token on the ground plane
            (z: from `model.heat.HEIGHT`) to the object's centre, model frame.
        image_offset: (B, len(views), rows, columns, 3) from the middle of an image token to the
            projected centre [tokens], u and v, and the log of the depth that the centre would have
            if the focal length were the width of the image (`model.heat.unit_depth`).
    """

    bev: Tensor
    image: Tensor
    views: tuple[int, ...]
    offset: Tensor
    image_offset: Tensor


@dataclass(frozen=True)
class DetectorOutput:
    """What the network says about a batch; `model.box_coder.decode` turns it into detections.

    Boxes are (cx, cy, log l, log w, cz, log h, sin yaw, cos yaw, vx, vy) in the model frame, in
    metres, radians and metres a second.

    Attributes:
        logits: (L, B, Q, K) class scores before the sigmoid. All decoder layers in training mode,
            in evaluation mode only the last one (L = 1).
        boxes: (L, B, Q, 10).
        reference_points: (B, Q, 3) where each query started, in [0, 1] of the detection range.
        has_input: (B,) bool: False where no sensor could be used; such a frame has no boxes.
        dn_logits: (L, B, D, K) of the denoising queries; None without them.
        dn_boxes: (L, B, D, 10) likewise.
        heat: What each token says by itself, where the network has that side task.
        aqr: What the AQR mode reports (monitor, gate logits, history); None where it is off.
    """

    logits: Tensor
    boxes: Tensor
    reference_points: Tensor
    has_input: Tensor
    dn_logits: Tensor | None = None
    dn_boxes: Tensor | None = None
    heat: Heat | None = None
    aqr: Any = None
