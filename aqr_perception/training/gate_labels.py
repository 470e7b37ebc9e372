"""What is known about faults of a batch → labels of the gate, at the places that the network has.

Faults are known in the LiDAR frame and with the true calibration, before augmentation. Queries and
tokens stand in the augmented model frame; so their places are taken back, and asked about there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aqr_perception.geometry import rigid
from aqr_perception.model.aqr.output import AqrOutput, GateLabels, GateLogits, TokenLayout
from aqr_perception.model.aqr.places import metres
from aqr_perception.model.config import DetectorConfig
from aqr_perception.simulation.fault_labels import FaultLabels
from aqr_perception.types import Batch, DetectorOutput

DEPTH = 10.0
"""Depth [m] of the places that stand for image tokens; any would do."""


@dataclass(frozen=True)
class KnownFaults:
    """What is wrong with the frames of a batch.

    Attributes:
        labels: One entry a frame.
        lidar_from_model: (B, 4, 4) takes places of the augmented model frame back into the LiDAR
            frame that the labels are of.
    """

    labels: tuple[FaultLabels, ...]
    lidar_from_model: NDArray[np.float64]


def gate_labels(output: DetectorOutput, faults: KnownFaults, batch: Batch, config: DetectorConfig
                ) -> GateLabels | None:
    """Label whole sensors, every query in every layer, and every token.

    Where no usable sensor can be trusted, doing without them leaves nothing: nobody knows.

    Args:
        output: Of the network in training mode.
        faults: Of its batch.
        batch: The batch, on the CPU.
        config: The network's.

    Returns:
        Labels on the output's device; None where the output has no logits of a gate.
    """
    if not isinstance(output.aqr, AqrOutput) or output.aqr.logits is None:
        return None
    places = None
    if output.aqr.logits.query is not None:
        places = query_places(output, config).double().cpu().numpy()
    return labels_of(output.aqr.logits, faults, batch, config, places)


def labels_of(logits: GateLogits, faults: KnownFaults, batch: Batch, config: DetectorConfig,
              places: NDArray[np.float64] | None = None) -> GateLabels:
    """Label what a gate has logits for.

    Args:
        logits: Of the gate.
        faults: Of the batch.
        batch: On the CPU.
        config: The network's.
        places: (L, B, Q, 3) where queries stand [m], model frame; None: there are none.
    """
    leave_out = np.stack([labels.leave_out for labels in faults.labels])
    usable = logits.usable.cpu().numpy()
    keep = np.where((usable & ~leave_out).any(1, keepdims=True), ~leave_out, np.float32(np.nan))
    query = token = None
    if places is not None:
        query = _at_queries(places, faults, keep)
    if logits.token is not None:
        token = _at_tokens(logits.layout, faults, batch, config, keep)
    sound = np.stack([labels.intact >= 1 for labels in faults.labels])
    device = logits.usable.device

    def moved(values: NDArray[np.float32] | None) -> Tensor | None:
        return None if values is None else torch.from_numpy(values.astype(np.float32)).to(device)

    return GateLabels(moved(keep), moved(query), moved(token), torch.from_numpy(sound).to(device))


def query_places(output: DetectorOutput, config: DetectorConfig) -> Tensor:
    """(L, B, Q, 3) where each layer's matching queries stand [m], model frame; L = 1 where they
    stay where they are.

    Args:
        output: Of the network in training mode.
        config: The network's.
    """
    start = metres(output.reference_points.detach(), config.detection_range)[None]
    if not config.decoder.refine:
        return start
    limits = start.new_tensor(config.detection_range)
    center = output.boxes[:-1, ..., [0, 1, 4]].detach().to(start.dtype)
    return torch.cat([start, center.clamp(limits[:3], limits[3:])])


def _at_queries(places: NDArray[np.float64], faults: KnownFaults, keep: NDArray[np.float32]
                ) -> NDArray[np.float32]:
    """(L, B, Q, 3) → (L, B, Q, S)."""
    layers, frames, queries, _ = places.shape
    out = np.broadcast_to(keep[:, None], (layers, frames, queries, keep.shape[1])).copy()
    for b, labels in enumerate(faults.labels):
        damaged = _damaged(labels, faults.lidar_from_model[b], places[:, b].reshape(-1, 3))
        out[:, b] = _without(out[:, b], damaged.reshape(layers, queries, -1))
    return out


def _at_tokens(layout: TokenLayout, faults: KnownFaults, batch: Batch, config: DetectorConfig,
               keep: NDArray[np.float32]) -> NDArray[np.float32]:
    """(B, T) in the order of the memory's tokens."""
    rows, columns = layout.image_shape
    cells, pictures = layout.bev_shape[0] * layout.bev_shape[1], rows * columns
    out = keep[:, layout.sensor.numpy()]
    ground = _cell_places(layout.bev_shape, config.detection_range)
    for b, labels in enumerate(faults.labels):
        back = faults.lidar_from_model[b]
        if cells and len(labels.sectors) + len(labels.missing) + len(labels.ghosts):
            damaged = _damaged(labels, back, ground)[:, 0]
            out[b, :cells] = _without(out[b, :cells], damaged)
        for i, view in enumerate(layout.views):
            if labels.image_damage[view] is None or not batch.camera_present[b, view]:
                continue
            behind = _pixel_places(layout.image_shape, batch.image_from_lidar[b, view], config)
            part = slice(cells + i * pictures, cells + (i + 1) * pictures)
            out[b, part] = _without(out[b, part], _damaged(labels, back, behind)[:, 1 + view])
    return out


def _damaged(labels: FaultLabels, lidar_from_model: rigid.Matrix,
             places: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(N, S) for places (N, 3) in the augmented model frame."""
    return labels.damaged_at(rigid.transform_points(lidar_from_model, places))


def _without(keep: NDArray[np.float32], damaged: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Labels with 0 where there is damage; what nobody knows stays so."""
    return np.where(damaged & ~np.isnan(keep), np.float32(0), keep)


def _cell_places(shape: tuple[int, int], detection_range: tuple[float, ...]
                 ) -> NDArray[np.float64]:
    """(rows · columns, 3) middles of the cells of the bird's-eye view [m], on z = 0."""
    rows, columns = shape
    low, high = np.array(detection_range[:2]), np.array(detection_range[3:5])
    y, x = np.mgrid[:rows, :columns].reshape(2, -1) + 0.5
    share = np.stack([x / max(columns, 1), y / max(rows, 1)], axis=1)
    return np.pad(low + share * (high - low), ((0, 0), (0, 1)))


def _pixel_places(shape: tuple[int, int], image_from_model: Tensor, config: DetectorConfig
                  ) -> NDArray[np.floating]:
    """(rows · columns, 3) places behind the middles of a camera's tokens [m], model frame."""
    assert config.image is not None
    rows, columns = shape
    v, u = np.mgrid[:rows, :columns].reshape(2, -1) + 0.5
    pixels = np.stack([u * config.image.width / columns, v * config.image.height / rows,
                       np.ones_like(u)], axis=1) * DEPTH
    return rigid.transform_points(np.linalg.inv(image_from_model.double().numpy()), pixels)
