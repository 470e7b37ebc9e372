from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from aqr_perception.simulation import faults
from aqr_perception.simulation.cache import (
    DriveFile,
    DriveFolder,
    drive_path,
    read_drive,
    write_drive,
)
from aqr_perception.simulation.drive import Frame


@pytest.fixture(scope="module")
def folder(drive: list[Frame], tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("drives")
    write_drive(drive_path(out, 5), drive, {"seed": 5})
    write_drive(drive_path(out, 7), drive[:2], {"seed": 7})
    return out


def test_a_drive_comes_back(drive: list[Frame], folder: Path):
    read = list(read_drive(drive_path(folder, 5)))
    assert len(read) == len(drive)
    for (frame, truth), (old, expected) in zip(read, drive):
        assert frame.stamp_ns == old.stamp_ns
        assert frame.frame_id == old.frame_id
        assert frame.camera_names == old.camera_names
        assert np.array_equal(frame.fixed_from_lidar, old.fixed_from_lidar)
        assert frame.lidar is not None
        assert old.lidar is not None
        assert np.array_equal(frame.lidar.points, old.lidar.points)  # to the bit
        for image, before in zip(frame.images, old.images):
            assert image is not None
            assert before is not None
            assert image.name == before.name
            assert image.stamp_ns == before.stamp_ns
            assert np.array_equal(image.calibration.camera.intrinsics,
                                  before.calibration.camera.intrinsics)
            assert np.array_equal(image.calibration.camera_from_lidar,
                                  before.calibration.camera_from_lidar)
            assert np.abs(image.pixels.astype(int) - before.pixels).mean() < 3  # JPEG
        for name in ("center", "size", "yaw", "velocity"):
            assert np.array_equal(getattr(truth.boxes, name), getattr(expected.boxes, name))
        for name in ("labels", "num_lidar_pts", "visibility", "track_ids"):
            assert np.array_equal(getattr(truth, name), getattr(expected, name))


def test_absent_sensors_and_sweep_ages_come_back(drive: list[Frame], tmp_path: Path):
    frame, truth = drive[0]
    rng = np.random.default_rng(0)
    one, _ = faults.apply("lidar_absent", 1, [frame], rng)
    two, _ = faults.apply("camera_absent", 2, [frame], rng)
    assert two.lidar is not None
    points = two.lidar.points.copy()
    points[::3, 4] = .05
    from dataclasses import replace
    two = replace(two, lidar=replace(two.lidar, points=points), fixed_from_lidar=None)
    write_drive(tmp_path / "a.safetensors", [(one, truth), (two, truth)])
    first, second = (frame for frame, _ in read_drive(tmp_path / "a.safetensors"))
    assert first.lidar is None
    assert (second.present == two.present).all()
    assert second.fixed_from_lidar is None
    assert second.lidar is not None
    assert np.array_equal(second.lidar.points, points)


def test_a_folder_is_one_sequence(drive: list[Frame], folder: Path):
    frames = DriveFolder(folder)
    assert len(frames) == 5
    assert [frames.locate(k) for k in range(5)] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    assert frames.read(3)[0].stamp_ns == drive[0][0].stamp_ns
    assert [frame.stamp_ns for frame in frames.history(2, 5)] == [
        frame.stamp_ns for frame, _ in drive[:2]]
    assert frames.history(3, 2) == []
    with pytest.raises(IndexError):
        frames.read(5)


def test_an_unfinished_drive_is_not_there(drive: list[Frame], tmp_path: Path):
    def interrupted():
        yield drive[0]
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        write_drive(drive_path(tmp_path, 1), interrupted())
    assert not drive_path(tmp_path, 1).exists()
    with pytest.raises(ValueError, match="holds no drive"):
        DriveFolder(tmp_path)


def test_damaged_files_are_named_in_one_line(folder: Path, tmp_path: Path):
    path = drive_path(tmp_path, 5)
    shutil.copy(drive_path(folder, 5), path)
    with path.open("r+b") as file:
        file.truncate(2000)
    with pytest.raises(ValueError, match="is no safetensors file") as error:
        DriveFile.open(path)
    assert "\n" not in str(error.value)
    save_file({"x": np.zeros(3)}, path, metadata={"drive": "[]"})
    with pytest.raises(ValueError, match="is no drive of format"):
        DriveFile.open(path)
    with pytest.raises(OSError, match="No such file"):
        DriveFile.open(tmp_path / "nothing.safetensors")
    with pytest.raises(ValueError, match="without a frame"):
        write_drive(path, [])


def test_points_beyond_the_grid_are_refused(drive: list[Frame], tmp_path: Path):
    from dataclasses import replace
    frame, truth = drive[0]
    assert frame.lidar is not None
    points = frame.lidar.points[:10].copy()
    points[0, 0] = 200
    far = replace(frame, lidar=replace(frame.lidar, points=points))
    with pytest.raises(ValueError, match="beyond"):
        write_drive(tmp_path / "a.safetensors", [(far, truth)])
