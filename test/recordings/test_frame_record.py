import json

import numpy as np
import pytest
from training_frames import make_frame

from aqr_perception.geometry import rigid
from aqr_perception.recordings.frame_record import read_record
from aqr_perception.recordings.frame_writer import write_frame

SLIGHTLY_OFF = (np.eye(4) + 1e-6 * np.arange(16).reshape(4, 4) * [[1], [1], [1], [0]]).tolist()


@pytest.fixture
def folder(tmp_path):
    frame, _ = make_frame(3)
    write_frame(tmp_path, frame)
    return tmp_path


def change(folder, edit):
    path = folder / "calib.json"
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))
    return folder


@pytest.mark.parametrize(("fields", "names", "intensity_max"), [
    (["x", "y", "z", "intensity(0-255)", "ring(0-31)"], ("x", "y", "z", "intensity", "ring"), 255),
    (["x", "y", "z", "intensity(0-1)"], ("x", "y", "z", "intensity"), 1),
    (["intensity", "z", "y", "x", "t(-0.1-0)"], ("intensity", "z", "y", "x", "t"), None)])
def test_fields_name_columns_and_scale(folder, fields, names, intensity_max):
    record = read_record(change(folder, lambda d: d["lidar"].update(fields=fields)))
    assert (record.lidar.fields, record.lidar.intensity_max) == (names, intensity_max)


def test_stamps_are_whole_microseconds(folder):
    change(folder, lambda d: d["lidar"].update(timestamp=1532402927.647951))
    assert read_record(folder).lidar.stamp_ns == 1532402927647951000


def test_the_pose_of_the_car_is_taken_in_either_form(folder):
    on_car, in_world = rigid.from_xyz_yaw(1, 0, 2, 0.3), rigid.from_xyz_yaw(500, -20, 1, 2.0)
    change(folder, lambda d: d["lidar"].update(lidar2ego=on_car.tolist(),
                                               lidar2world=(in_world @ on_car).tolist()))
    np.testing.assert_allclose(read_record(folder).lidar.world_from_ego, in_world, atol=1e-9)
    change(folder, lambda d: d["lidar"].update(ego2global_at_lidar_time=in_world.tolist()))
    record = read_record(folder)
    np.testing.assert_allclose(record.lidar.world_from_ego, in_world, atol=1e-9)
    np.testing.assert_allclose(record.world_from_lidar, in_world @ on_car, atol=1e-9)
    change(folder, lambda d: [d["lidar"].pop(key) for key in ("lidar2world",
                                                              "ego2global_at_lidar_time")])
    record = read_record(folder)
    assert record.world_from_lidar is None
    assert record.cameras[0].world_from_ego(record.lidar) is None


def test_rotations_are_made_exact(folder):
    change(folder, lambda d: d["cameras"]["back"].update(lidar2cam=SLIGHTLY_OFF))
    rotation = read_record(folder).cameras[1].camera_from_lidar[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-15)


def test_poses_at_the_cameras_stamps_make_the_recorded_chain(shared_data):
    record = read_record(shared_data / "nuscenes_scene-0061")
    for camera in record.cameras:
        chain = (rigid.inverse(camera.ego_from_camera)
                 @ rigid.inverse(camera.world_from_ego(record.lidar))
                 @ record.lidar.world_from_ego @ record.lidar.ego_from_lidar)
        np.testing.assert_allclose(chain, camera.camera_from_lidar, atol=1e-9)
    front = record.cameras[0]
    moved = rigid.inverse(record.lidar.world_from_ego) @ front.world_from_ego(record.lidar)
    assert np.linalg.norm(moved[:3, 3]) == pytest.approx(0.33, abs=0.01)


def test_cameras_are_selected_in_the_order_that_is_asked_for(folder):
    record = read_record(folder)
    assert [c.name for c in record.select(("back", "front")).cameras] == ["back", "front"]
    with pytest.raises(ValueError, match="no calibration of left; it has front, back"):
        record.select(("front", "left"))


def lidar(**values):
    return lambda document: document["lidar"].update(values)


def back(**values):
    return lambda document: document["cameras"]["back"].update(values)


WRONG = {
    "no lidar": (lambda d: d.pop("lidar"), "'lidar'"),
    "no cameras": (lambda d: d.pop("cameras"), "'cameras'"),
    "a camera that is no object": (lambda d: d["cameras"].update(back=3), "'back'"),
    "fields without z": (lidar(fields=["x", "y"]), "expected z"),
    "fields that are no list": (lidar(fields="xyz"), r"lidar\.fields"),
    "a field twice": (lidar(fields=["x", "y", "z", "x"]), "once"),
    "a field that is no name": (lidar(fields=["x", "y", "z", "a b"]), "'a b'"),
    "a scale that is none": (lidar(fields=["x", "y", "z", "intensity(0-0)"]), "range"),
    "a scale not from 0": (lidar(fields=["x", "y", "z", "intensity(1-9)"]), "range"),
    "another type": (lidar(dtype="float64"), "float32"),
    "a matrix that is none": (back(lidar2cam=[[1]]), r"cameras\.back\.lidar2cam.*4×4"),
    "no matrix": (lidar(lidar2ego=None), r"lidar\.lidar2ego"),
    "a matrix that scales": (back(cam2ego=(2 * np.eye(4)).tolist()), "rigid"),
    "a matrix out of range": (back(cam2ego=[[10**400] * 4] * 4), r"cameras\.back\.cam2ego"),
    "K that is none": (back(K=[[1, 2], [3, 4]]), r"cameras\.back: K"),
    "K out of range": (back(K=[[10**400] * 3] * 3), r"cameras\.back"),
    "a lens that is unknown": (back(distortion_model="magic"), "magic"),
    "a stamp that is none": (lidar(timestamp="now"), r"lidar\.timestamp is 'now'"),
    "a stamp that is not a number": (lidar(timestamp=float("nan")), r"lidar\.timestamp"),
    "a file outside": (back(file="../x.jpg"), r"cameras\.back\.file is '\.\./x\.jpg'"),
    "a file that cannot be": (back(file="a\0b"), r"cameras\.back\.file"),
    "no file": (lidar(file=""), r"lidar\.file"),
    "an absurd size": (back(width=10**9, height=10**9), r"cameras\.back: width"),
    "a size that is none": (back(width="wide"), r"cameras\.back: width")}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_in_one_line(folder, case):
    edit, words = WRONG[case]
    with pytest.raises(ValueError, match=words) as caught:
        read_record(change(folder, edit))
    assert str(caught.value).startswith(str(folder / "calib.json"))
    assert "\n" not in str(caught.value)
