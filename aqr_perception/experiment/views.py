"""What one network did with one frame, as plain arrays to be drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from aqr_perception.experiment.listening import Heard
from aqr_perception.geometry import rigid
from aqr_perception.model.aqr.output import AqrOutput
from aqr_perception.model.memory import Memory
from aqr_perception.types import Annotations, Mounting, SensorFrame

EPSILON = 1e-8
"""That the report's statistic adds to |F|."""


@dataclass(frozen=True)
class TokenMaps:
    """A factor on every token, where the tokens stand; what has no tokens is NaN.

    Attributes:
        bev: (H, W) rows from the rear to the front (y up), columns from left to right.
        cameras: (V, h, w) of every camera of the rig.
    """

    bev: NDArray[np.float64]
    cameras: NDArray[np.float64]


@dataclass(frozen=True)
class Change:
    """Relative change of the features by modality (LiDAR, cameras), measured in two ways.

    Attributes:
        zeros: Share of exact zeros among the features.
        of_report: Mean of |ΔF| / (|F| + 1e-8), as the experiment report has it.
        ours: Sum of |ΔF| over the sum of |F|; NaN where all is zero or absent.
    """

    zeros: tuple[float, float]
    of_report: tuple[float, float]
    ours: tuple[float, float]


@dataclass(frozen=True)
class View:
    """One frame.

    Attributes:
        points: (N, 2) [m] in the model frame (x right, y forward), of the cloud as it was shown.
        truth: (M, 4, 2) [m] corners of the true boxes that the LiDAR hit when all was well.
        places: (Q, 2) [m] where the queries stood at the last layer.
        scores: (Q,) of their best class.
        lidar_share: (Q,) of their attention.
        mass: (S,) share of attention that each sensor gets, mean over the queries.
        kept: (S,) what the gate lets each keep; NaN without a gate.
        maps: Factor on every token; None without AQR.
        change: Of the features; None without AQR.
        rig: Names of the cameras.
    """

    points: NDArray[np.float64]
    truth: NDArray[np.float64]
    places: NDArray[np.float64]
    scores: NDArray[np.float64]
    lidar_share: NDArray[np.float64]
    mass: NDArray[np.float64]
    kept: NDArray[np.float64]
    maps: TokenMaps | None
    change: Change | None
    rig: tuple[str, ...]


def view_of(heard: Heard, shown: SensorFrame, truth: Annotations, mounting: Mounting) -> View:
    """Take out of a forward pass what is drawn.

    Args:
        heard: The pass.
        shown: Its frame.
        truth: About it.
        mounting: Of the rig.
    """
    mass = _array(heard.mass)
    aqr = heard.output.aqr if isinstance(heard.output.aqr, AqrOutput) else None
    boxes = truth.boxes[truth.num_lidar_pts != 0]
    corners = boxes.corners()[:, :4].reshape(-1, 3)
    points = np.zeros((0, 3)) if shown.lidar is None else shown.lidar.points[:, :3]
    points = points[np.isfinite(points).all(axis=1)]
    memory = heard.scene.memory
    return View(
        points=_from_above(points, mounting),
        truth=_from_above(corners, mounting).reshape(-1, 4, 2),
        places=_array(heard.references)[:, :2],
        scores=_array(heard.output.logits[-1, 0].sigmoid().amax(-1)),
        lidar_share=mass[:, 0], mass=mass.mean(axis=0),
        kept=np.full(mass.shape[1], np.nan) if aqr is None else _array(aqr.report.mean_gate[0]),
        maps=token_maps(memory, aqr.factor[0]) if aqr and aqr.factor.numel() else None,
        change=change_of(memory, aqr.factor[0]) if aqr and aqr.factor.numel() else None,
        rig=shown.camera_names)


def token_maps(memory: Memory, factor: torch.Tensor) -> TokenMaps:
    """Put the factors (T,) of a frame where their tokens stand."""
    values = _array(factor)
    rows, columns = memory.bev_shape
    cells = rows * columns
    bev = values[:cells].reshape(rows, columns) if cells else np.full((1, 1), np.nan)
    height, width = memory.image_shape if memory.views else (1, 1)
    cameras = np.full((memory.present.shape[1] - 1, height, width), np.nan)
    if memory.views:
        cameras[list(memory.views)] = values[cells:].reshape(-1, height, width)
    return TokenMaps(bev, cameras)


def change_of(memory: Memory, factor: torch.Tensor) -> Change:
    """Relative change of the first frame's features, by the report's statistic and by ours.

    Args:
        memory: Before AQR.
        factor: (T,) on each token.
    """
    features, sensor = np.abs(_array(memory.tokens[0])), memory.token_sensor.cpu().numpy()
    moved = features * np.abs(_array(factor) - 1)[:, None]
    there = memory.present[0].cpu().numpy()[sensor]
    zeros, of_report, ours = [], [], []
    for chosen in (there & (sensor == 0), there & (sensor > 0)):
        size, change = features[chosen], moved[chosen]
        zeros.append(float((size == 0).mean()) if size.size else np.nan)
        of_report.append(float((change / (size + EPSILON)).mean()) if size.size else np.nan)
        ours.append(float(change.sum() / size.sum()) if size.any() else np.nan)
    return Change((zeros[0], zeros[1]), (of_report[0], of_report[1]), (ours[0], ours[1]))


def _from_above(points: NDArray[np.floating], mounting: Mounting) -> NDArray[np.float64]:
    """(N, 2) of points (N, 3) of the LiDAR frame, in the model frame."""
    moved = rigid.transform_points(mounting.model_from_lidar, np.asarray(points, np.float64))
    return np.asarray(moved[:, :2], np.float64)


def _array(tensor: torch.Tensor) -> NDArray[np.float64]:
    return tensor.detach().double().cpu().numpy()
