"""DetectorOutput → Detections: the best scores, as boxes of the LiDAR frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from aqr_perception.geometry import rigid
from aqr_perception.geometry.boxes import Boxes3D
from aqr_perception.model.constants import constant
from aqr_perception.model.separation import kept_apart
from aqr_perception.types import Controls, Detections, DetectorOutput, Mounting, SensorFrame

POST_RANGE = (-61.2, -61.2, -10.0, 61.2, 61.2, 10.0)
"""x, y, z from and to [m], model frame: boxes centred outside are dropped (CMT's)."""
CANDIDATES = 500
"""Best scores that are looked at where the weaker of close detections are left out."""


def decode(output: DetectorOutput, frames: Sequence[SensorFrame], mounting: Mounting,
           controls: Controls, separation: Sequence[float] = (),
           post_range: Sequence[float] = POST_RANGE) -> list[Detections]:
    """Read the last decoder layer.

    As CMT: scores of all queries and classes compete, the best ``max_detections`` stay (one query
    may give several classes); there is no suppression of overlaps unless the network asks for it.
    Then the thresholds apply, and boxes return to the LiDAR frame.

    Args:
        output: Of the network.
        frames: What went in; they give stamps and frames.
        mounting: How the LiDAR frame lies to the model frame.
        controls: Thresholds and the largest number.
        separation: `DetectorConfig.separation`.
        post_range: `DetectorConfig.post_range`.

    Returns:
        One entry a frame, best first. A frame without any usable sensor
        (``output.has_input`` False) has no boxes.

    Raises:
        ValueError: What the network says of a frame is not finite; that is no empty road.
    """
    count = controls.max_detections
    boxes, scores, labels, kept = top_boxes(output.logits[-1].float(), output.boxes[-1].float(),
                                            max(count, CANDIDATES) if separation else count,
                                            post_range)
    kept &= output.has_input[:, None]
    seen = output.has_input[:, None].expand_as(kept)
    columns = torch.stack([column.to(boxes.dtype) for column in (scores, labels, kept, seen)], -1)
    packed = torch.cat([boxes, columns], dim=-1).detach().cpu().numpy()
    _check_finite(packed)
    thresholds = controls.score_thresholds()
    lidar_from_model = rigid.inverse(mounting.model_from_lidar)
    return [_detections(_chosen(rows, thresholds, separation)[:count], frame, lidar_from_model)
            for rows, frame in zip(packed, frames)]


def top_boxes(logits: Tensor, boxes: Tensor, count: int, post_range: Sequence[float] = POST_RANGE
              ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The best of all queries and classes.

    Args:
        logits: (B, Q, K).
        boxes: (B, Q, 10), see `DetectorOutput`.
        count: How many; at most Q·K are there.
        post_range: x, y, z from and to [m], model frame.

    Returns:
        boxes (B, N, 9): x, y, z, l, w, h, yaw, vx, vy in the model frame; scores (B, N),
        descending; labels (B, N); and (B, N) bool whether the centre lies in ``post_range`` and
        all numbers are finite.
    """
    scores, index = logits.sigmoid().flatten(1).topk(min(count, logits[0].numel()), dim=1)
    classes = logits.shape[-1]
    query = torch.div(index, classes, rounding_mode="floor")
    code = boxes.gather(1, query[..., None].expand(-1, -1, boxes.shape[-1]))
    decoded = decode_boxes(code)
    low, high = constant(post_range[:3], decoded), constant(post_range[3:], decoded)
    inside = ((decoded[..., :3] >= low) & (decoded[..., :3] <= high)).all(dim=-1)
    return decoded, scores, index % classes, inside & decoded.isfinite().all(dim=-1)


def encode_boxes(boxes: Tensor) -> Tensor:
    """State boxes as the head predicts them.

    Args:
        boxes: (..., 9) or (..., 7) without velocity: x, y, z, l, w, h, yaw, vx, vy.

    Returns:
        (..., 10) or (..., 8): x, y, log l, log w, z, log h, sin yaw, cos yaw, vx, vy.
    """
    x, y, z, length, width, height, yaw = boxes[..., :7].unbind(-1)
    code = torch.stack([x, y, length.log(), width.log(), z, height.log(), yaw.sin(), yaw.cos()], -1)
    return torch.cat([code, boxes[..., 7:]], dim=-1)


def decode_boxes(code: Tensor) -> Tensor:
    """Undo `encode_boxes`; sine and cosine need not have unit length."""
    x, y, length, width, z, height, sine, cosine = code[..., :8].unbind(-1)
    boxes = torch.stack([x, y, z, length.exp(), width.exp(), height.exp(),
                         torch.atan2(sine, cosine)], dim=-1)
    return torch.cat([boxes, code[..., 8:]], dim=-1)


def _check_finite(packed: np.ndarray) -> None:
    """Of (B, N, 9 + score, label, kept, seen) every frame in which something was seen."""
    for rows in packed:
        # Scores that are no numbers sort first, so that these rows hold one if there is one.
        if len(rows) and rows[0, 12] and not (np.isfinite(rows[:, 9]).all()
                                              and np.isfinite(rows[:, :9]).all(axis=1).any()):
            raise ValueError("what the network says is not finite: an input is beyond all bounds, "
                             "or the weights are damaged")


def _chosen(rows: np.ndarray, thresholds: np.ndarray, separation: Sequence[float]) -> np.ndarray:
    """Rows (N, 9 + score, label, kept, seen) that are sound, above threshold, and apart."""
    labels = rows[:, 10].astype(np.int64)
    rows = rows[(rows[:, 11] > 0) & (rows[:, 9] >= thresholds[labels])]
    if separation:
        rows = rows[kept_apart(rows[:, :2], rows[:, 10].astype(np.int64), separation)]
    return rows


def _detections(rows: np.ndarray, frame: SensorFrame, lidar_from_model: rigid.Matrix
                ) -> Detections:
    """Rows (N, 9 + score, label, kept, seen) as detections of a frame."""
    boxes = Boxes3D(center=rows[:, :3], size=rows[:, 3:6], yaw=rows[:, 6], velocity=rows[:, 7:9])
    return Detections(stamp_ns=frame.stamp_ns, frame_id=frame.frame_id,
                      boxes=boxes.transformed(lidar_from_model), scores=rows[:, 9],
                      labels=rows[:, 10].astype(np.int64))
