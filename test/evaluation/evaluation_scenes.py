"""Frames of a few boxes, written down as numbers."""

import numpy as np

from aqr_perception.evaluation.frames import EvaluationFrame
from aqr_perception.geometry.boxes import Boxes3D
from aqr_perception.types import CLASS_NAMES, Annotations, Detections


def boxes(places, size=(4.0, 2.0, 1.5), yaw=0.0, velocity=(0.0, 0.0)):
    """Boxes at (x, y); the rest is one value for all, or one a box."""
    count = len(places)
    center = np.zeros((count, 3))
    center[:, :2] = np.reshape(places, (count, 2))
    return Boxes3D(center, *(np.array(np.broadcast_to(value, shape), np.float32) for value, shape in
                             ((size, (count, 3)), (yaw, count), (velocity, (count, 2)))))


def detections(places, scores, name="car", **rest):
    return Detections(0, "lidar", boxes(places, **rest), np.array(scores, np.float32),
                      _labels(name, len(places)))


def truth(places, name="car", points=10, **rest):
    count = len(places)
    return Annotations(boxes(places, **rest), _labels(name, count),
                       np.broadcast_to(np.array(points, np.int64), count).copy(),
                       np.full(count, np.nan, np.float32), np.full(count, -1))


def frame(found=(), scores=(), there=(), name="car", points=10, **rest):
    """One frame of one class whose detections and truths differ in place and score alone."""
    return EvaluationFrame(detections(list(found), list(scores), name),
                           truth(list(there), name, points), **rest)


def _labels(name, count):
    names = [name] * count if isinstance(name, str) else name
    return np.array([CLASS_NAMES.index(one) for one in names], np.int64)
