"""A digest of everything that a drive holds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from aqr_perception.simulation.drive import Frame


def digest(drive: Sequence[Frame]) -> str:
    """SHA-256 over all arrays of all frames, in order."""
    found = hashlib.sha256()
    for frame, truth in drive:
        assert frame.lidar is not None
        found.update(frame.lidar.points.tobytes())
        for image in frame.images:
            assert image is not None
            found.update(image.pixels.tobytes())
            found.update(image.calibration.camera_from_lidar.tobytes())
            found.update(image.calibration.camera.intrinsics.tobytes())
        boxes = truth.boxes
        for array in (boxes.center, boxes.size, boxes.yaw, boxes.velocity, truth.labels,
                      truth.num_lidar_pts, truth.visibility, truth.track_ids):
            found.update(array.tobytes())
    return found.hexdigest()
