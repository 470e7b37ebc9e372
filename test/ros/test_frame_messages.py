"""Frame directories as messages: what a recording of that drive would hold."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from training_frames import CAMERAS, make_frame

from aqr_perception.geometry import rigid
from aqr_perception.recordings.boxes_file import read_annotations
from aqr_perception.recordings.frame_directory import find_frames, read_raw_points
from aqr_perception.recordings.frame_record import read_record
from aqr_perception.recordings.frame_writer import write_frame
from aqr_perception.ros import topics
from aqr_perception.ros.bag import deserialize
from aqr_perception.ros.conversions import (
    camera_from_message,
    detections_from_message,
    matrix_from_message,
    stamp_to_ns,
)
from aqr_perception.ros.frame_messages import FrameMessages, car_poses, typestore

DETECTION_HASH = "RIHS01_793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source") / "frame"
    frame, annotations = make_frame(0)
    write_frame(folder, frame, annotations)
    return folder


def by_topic(messages):
    return {message.topic: deserialize(message) for message in messages}


def change(folder, edit):
    path = folder / "calib.json"
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


def test_types_have_the_hashes_that_talk_to_a_vehicle():
    assert typestore().hash_rihs01("vision_msgs/msg/Detection3DArray") == DETECTION_HASH


def test_topics_are_those_of_a_recording(folder):
    assert set(FrameMessages([folder], compressed=False).types) == {
        topics.points_topic(), topics.TF, topics.TF_STATIC, topics.GROUND_TRUTH,
        *map(topics.image_topic, CAMERAS), *map(topics.camera_info_topic, CAMERAS)}
    compressed = FrameMessages([folder], compressed=True).types
    assert compressed["/front/image_raw/compressed"] == "sensor_msgs/msg/CompressedImage"
    assert "/front/image_raw" not in compressed


def test_the_cloud_holds_the_files_own_columns(folder):
    cloud = by_topic(FrameMessages([folder], compressed=False))[topics.points_topic()]
    assert [(f.name, f.offset, f.datatype, f.count) for f in cloud.fields] == [
        (name, 4 * i, 7, 1) for i, name in enumerate(("x", "y", "z", "intensity", "dt"))]
    assert (cloud.header.frame_id, cloud.point_step, cloud.height) == (topics.LIDAR_FRAME, 20, 1)
    np.testing.assert_array_equal(cloud.data.view(np.float32).reshape(-1, 5),
                                  read_raw_points(read_record(folder).lidar))


def test_images_are_the_files_raw_or_byte_for_byte(folder):
    raw = by_topic(FrameMessages([folder], compressed=False))["/front/image_raw"]
    assert (raw.width, raw.height, raw.encoding, raw.step) == (192, 108, "bgr8", 576)
    packed = by_topic(FrameMessages([folder], compressed=True))["/front/image_raw/compressed"]
    assert packed.format == "jpeg"
    assert packed.data.tobytes() == (folder / "front.jpg").read_bytes()
    assert raw.header.frame_id == packed.header.frame_id == "front"


def test_camera_infos_describe_the_lens(folder):
    info = by_topic(FrameMessages([folder], compressed=False))["/front/camera_info"]
    lens = read_record(folder).cameras[0].camera
    again = camera_from_message(info)
    np.testing.assert_array_equal(again.intrinsics, lens.intrinsics)
    assert (again.width, again.height) == (192, 108)
    np.testing.assert_array_equal(info.p.reshape(3, 4)[:, :3], lens.intrinsics)
    np.testing.assert_array_equal(info.r.reshape(3, 3), np.eye(3))
    assert len(info.d) == 5


def test_the_truth_comes_with_it(folder):
    message = by_topic(FrameMessages([folder], compressed=False))[topics.GROUND_TRUTH]
    truth, found = read_annotations(folder), detections_from_message(message)
    assert (found.stamp_ns, found.frame_id) == (10**9, topics.LIDAR_FRAME)
    np.testing.assert_allclose(found.boxes.corners(), truth.boxes.corners(), atol=1e-5)
    np.testing.assert_array_equal(found.labels, truth.labels)
    assert [detection.id for detection in message.detections] == [str(i) for i in truth.track_ids]


def test_transforms_end_in_the_recorded_calibration(drive):
    """base_link is joined to each sensor, odom to base_link at each sensor's stamp."""
    messages = list(FrameMessages(find_frames(drive), compressed=True))
    on_car = {t.child_frame_id: matrix_from_message(t.transform) for message in messages
              if message.topic == topics.TF_STATIC for t in deserialize(message).transforms}
    poses = {stamp_to_ns(t.header.stamp): matrix_from_message(t.transform) for message in messages
             if message.topic == topics.TF for t in deserialize(message).transforms}
    for folder in find_frames(drive):
        record = read_record(folder)
        for camera in record.cameras:
            chain = (rigid.inverse(poses[camera.stamp_ns] @ on_car[camera.name])
                     @ poses[record.lidar.stamp_ns] @ on_car[topics.LIDAR_FRAME])
            np.testing.assert_allclose(chain, camera.camera_from_lidar, atol=1e-9)


def test_messages_come_in_the_order_of_their_stamps_transforms_first(drive):
    messages = list(FrameMessages(find_frames(drive), compressed=True))
    stamps = [message.stamp_ns for message in messages]
    assert stamps == sorted(stamps)
    assert messages[0].topic == topics.TF_STATIC
    assert sum(message.topic == topics.TF_STATIC for message in messages) == 1
    seen = set()
    for message in messages:
        if message.topic == topics.TF:
            seen.add(message.stamp_ns)
        elif message.topic != topics.TF_STATIC:
            assert message.stamp_ns in seen, "the pose comes before what needs it"


def test_the_order_holds_where_frames_overlap(tmp_path):
    for index in range(3):
        frame, _ = make_frame(index)
        begin = 10**9 + 50_000_000 * index
        images = [replace(image, stamp_ns=begin + 80_000_000 * k)
                  for k, image in enumerate(frame.images)]
        write_frame(tmp_path / str(index), replace(
            frame, stamp_ns=begin, lidar=replace(frame.lidar, stamp_ns=begin),
            images=tuple(images)))
    messages = list(FrameMessages(find_frames(tmp_path), compressed=True))
    stamps = [message.stamp_ns for message in messages]
    assert stamps == sorted(stamps)
    assert sum(message.topic == topics.points_topic() for message in messages) == 3
    assert sum(message.topic == "/back/image_raw/compressed" for message in messages) == 3


def test_one_pose_a_stamp_where_a_recording_gives_several(folder):
    record = read_record(folder)
    later = [replace(camera, stamp_ns=2 * 10**9, camera_from_lidar=camera.camera_from_lidar
                     @ rigid.from_xyz_yaw(shift, 0, 0, 0))
             for camera, shift in zip(record.cameras, (0.0, 0.01))]
    poses = car_poses(replace(record, cameras=tuple(later)))
    assert list(poses) == [10**9, 2 * 10**9]
    np.testing.assert_array_equal(poses[10**9], record.lidar.world_from_ego)
    np.testing.assert_allclose(poses[2 * 10**9][:3, 3] - poses[10**9][:3, 3], [-0.005, 0, 0],
                               atol=1e-9)


def test_only_the_cameras_that_are_asked_for(folder):
    types = FrameMessages([folder], compressed=False, cameras=("back",)).types
    assert "/back/image_raw" in types
    assert "/front/image_raw" not in types
    with pytest.raises(ValueError, match="no calibration of left; it has front, back"):
        FrameMessages([folder], compressed=False, cameras=("left",))


def test_without_a_recorded_pose_there_is_no_odometry(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "frame")
    change(tmp_path / "frame", lambda d: d["lidar"].pop("lidar2world"))
    messages = FrameMessages([tmp_path / "frame"], compressed=True)
    assert topics.TF not in messages.types
    assert topics.TF not in {message.topic for message in messages}


@pytest.mark.parametrize(("edit", "words"), [
    (lambda d: d["cameras"].pop("back"), "no calibration of back"),
    (lambda d: d["cameras"]["back"]["cam2ego"][0].__setitem__(3, 5.0), "back sits elsewhere"),
    (lambda d: d["lidar"].pop("lidar2world"), "pose of the car")])
def test_frames_of_another_rig_are_refused(folder, tmp_path, edit, words):
    shutil.copytree(folder, tmp_path / "frame")
    change(tmp_path / "frame", edit)
    with pytest.raises(ValueError, match=words):
        list(FrameMessages([folder, tmp_path / "frame"], compressed=True))
