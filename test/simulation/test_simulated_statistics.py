from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from aqr_perception.geometry.boxes import Boxes3D
from aqr_perception.simulation import splits
from aqr_perception.simulation.drive import Frame
from aqr_perception.simulation.statistics import (
    REAL,
    REAL_CLOUDS,
    box_table,
    cloud_figures,
    cloud_table,
    difficulty,
)
from aqr_perception.types import Annotations


def truth(distances: list[float], points: list[int]) -> Annotations:
    count = len(points)
    center = np.column_stack([np.zeros(count), distances, np.zeros(count)])
    return Annotations(Boxes3D(center, np.ones((count, 3)), np.zeros(count), np.zeros((count, 2))),
                       np.zeros(count, np.int64), np.array(points), np.ones(count, np.float32),
                       np.arange(count))


def test_boxes_without_a_point_do_not_count():
    row = difficulty([truth([10, 30], [5, 0]), truth([40, 50, 20], [11, 10, 2])])
    assert row.boxes == 4
    assert row.far == pytest.approx(2 / 4)
    assert row.sparse == pytest.approx(3 / 4)
    assert row.median_points == pytest.approx((5 + 10) / 2)
    assert difficulty([]).boxes == 0


def test_the_real_figures_are_those_of_the_recording(shared_data: Path):
    folder = shared_data / "nuscenes_scene-0061"
    boxes = json.loads((folder / "gt_boxes.json").read_text())["boxes"]
    row = difficulty([truth([float(np.hypot(*box["center"][:2])) for box in boxes],
                            [box["num_lidar_pts"] for box in boxes])])
    assert row.boxes == REAL[0][1].boxes
    assert row.far == pytest.approx(REAL[0][1].far, abs=.005)
    assert row.sparse == pytest.approx(REAL[0][1].sparse, abs=.005)
    assert row.median_points == REAL[0][1].median_points
    points = np.fromfile(folder / "lidar.bin", np.float32).reshape(-1, 5)
    points[:, 3] /= 255
    figures, expected = cloud_figures([points]), REAL_CLOUDS[0][1]
    assert figures.returned == pytest.approx(expected.returned, abs=.001)
    assert figures.ranges == pytest.approx(expected.ranges, abs=.06)
    assert figures.intensities == pytest.approx(expected.intensities, abs=.5)
    assert figures.by_elevation == pytest.approx(expected.by_elevation, abs=.01)


def test_tables_name_what_they_compare(drive: list[Frame]):
    text = box_table([truth for _, truth in drive], "here")
    assert "here" in text
    assert "nuScenes scene-0061" in text
    assert text.count("\n") == 15
    clouds = [frame.lidar.points for frame, _ in drive if frame.lidar is not None]
    assert "another sweep" in cloud_table(clouds, "here")


def test_seeds_are_kept_apart():
    kept = set(splits.HELD_OUT) | set(splits.VALIDATION)
    assert len(kept) == len(splits.HELD_OUT) + len(splits.VALIDATION)
    assert not kept & set(splits.TRAIN)
    assert len(splits.HELD_OUT) * splits.HELD_OUT_FRAMES == 200
    assert splits.training_seeds(10, 3) == range(10, 13)
    for first, count in ((splits.TRAIN.stop - 1, 2), (-1, 2), (0, 0)):
        with pytest.raises(ValueError, match="expected at least one"):
            splits.training_seeds(first, count)
