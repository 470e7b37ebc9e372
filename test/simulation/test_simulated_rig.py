from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from aqr_perception.geometry import rigid
from aqr_perception.simulation.rig import NUSCENES, load_rig


def test_the_default_rig_is_that_of_the_recording(shared_data: Path):
    rig = load_rig()
    real = json.loads((shared_data / "nuscenes_scene-0061" / "calib.json").read_text())
    assert rig.camera_names == tuple(real["cameras"])
    assert np.allclose(rig.lidar.ego_from_lidar, real["lidar"]["lidar2ego"], atol=1e-6)
    for camera in rig.cameras:
        entry = real["cameras"][camera.name]
        assert (camera.camera.width, camera.camera.height) == (entry["width"], entry["height"])
        assert np.allclose(camera.camera.intrinsics, entry["K"], atol=1e-3)
        assert np.allclose(rigid.inverse(camera.ego_from_camera) @ rig.lidar.ego_from_lidar,
                           entry["lidar2cam_static"], atol=1e-5)
        assert camera.delay_s == pytest.approx(
            entry["timestamp"] - real["lidar"]["timestamp"], abs=1e-5)


def test_cameras_fire_as_the_lidar_looks_their_way():
    rig = load_rig()
    for camera in rig.cameras:
        forward = (rigid.inverse(rig.lidar.ego_from_lidar) @ camera.ego_from_camera)[:3, 2]
        azimuth = np.arctan2(forward[1], forward[0])
        column = np.argmin(np.abs(rigid.wrap_angle(rig.lidar.azimuths - azimuth)))
        assert abs(rig.lidar.delays_s[column] - camera.delay_s) < .005


@pytest.mark.parametrize("size", [(352, 128), (704, 256), (160, 160), (1600, 900)])
def test_a_smaller_picture_keeps_bottom_and_middle(size: tuple[int, int]):
    rig = load_rig()
    for before, after in zip(rig.cameras, rig.resized(*size).cameras):
        assert (after.camera.width, after.camera.height) == size
        scale = max(size[0] / 1600, size[1] / 900)
        source = np.array([[800.0, 800.0]])
        ray = before.camera.unproject(source, 10.0)
        pixel, _ = after.camera.project(ray)
        crop = [(1600 * scale - size[0]) / 2, 900 * scale - size[1]]
        assert pixel[0] == pytest.approx(source[0] * scale - crop, abs=1.0)


def test_jitter_is_small_and_rigid():
    rig = load_rig()
    other = rig.jittered(np.random.default_rng(0))
    for a, b in zip(rig.cameras, other.cameras):
        change = rigid.inverse(a.ego_from_camera) @ b.ego_from_camera
        rigid.check_rigid(b.ego_from_camera, "pose", 1e-9)
        assert 0 < np.linalg.norm(change[:3, 3]) < .2
        assert 0 < np.arccos(np.clip((np.trace(change[:3, :3]) - 1) / 2, -1, 1)) < .08


def test_beams_are_unit_vectors_from_left_to_left_clockwise():
    lidar = load_rig().lidar
    directions = lidar.directions()
    assert directions.shape == (1084, 32, 3)
    assert np.allclose(np.linalg.norm(directions, axis=2), 1, atol=1e-6)
    assert directions[0, 16, :2] == pytest.approx([-np.cos(lidar.elevations[16]), 0], abs=1e-6)
    assert directions[271, 16, 1] > .98  # a quarter later: ahead
    assert lidar.delays_s[-1] == 0
    assert lidar.delays_s[0] == pytest.approx(-.05, abs=.001)


def test_what_is_wrong_with_a_rig_is_named(tmp_path: Path):
    data = json.loads(NUSCENES.read_text())
    path = tmp_path / "rig.json"
    del data["lidar"]["firings"]
    path.write_text(json.dumps(data))
    with pytest.raises(ValueError, match="no field 'firings'"):
        load_rig(path)
    data["lidar"]["firings"] = 10 ** 9
    path.write_text(json.dumps(data))
    with pytest.raises(ValueError, match="firings is 1000000000; expected 1 to 10000"):
        load_rig(path)
    path.write_text("{")
    with pytest.raises(ValueError, match=r"rig\.json"):
        load_rig(path)
    with pytest.raises(OSError, match="No such file"):
        load_rig(tmp_path / "none.json")
