"""What `play --fault` sends, without DDS: messages of a made-up drive of three frames at 10 Hz."""

import numpy as np
import pytest

from aqr_perception.cli.main import main
from aqr_perception.cli.play import open_source
from aqr_perception.recordings.frame_directory import find_frames, read_frame, read_record
from aqr_perception.ros.frame_messages import typestore
from aqr_perception.ros.pictures import pixels_from_message
from aqr_perception.ros.point_cloud import cloud_from_message

POINTS = "/LIDAR_TOP/points"


def messages_of(source, *faults, compressed=False):
    """By topic, in order."""
    types, read = open_source(source, compressed, None, faults)
    found = {topic: [] for topic in types}
    for message in read():
        found[message.topic].append(message)
    return found


def content(message):
    return typestore().deserialize_cdr(message.data, message.message_type)


def touched(source, *faults, **rest):
    """Topics whose messages are other ones than without faults."""
    before, after = messages_of(source, **rest), messages_of(source, *faults, **rest)
    assert before.keys() == after.keys()
    return {topic for topic in before if before[topic] != after[topic]}


def test_without_faults_and_outside_of_their_time_nothing_changes(drive):
    assert touched(drive) == set()
    assert touched(drive, "all:absent@5s..9s", "CAM_BACK:snow@..0.01") == set()


def test_an_absent_camera_sends_neither_pictures_nor_calibration_for_its_time(drive):
    """Its exposures are at -40, 60 and 160 ms, the drive starts with the first."""
    found = messages_of(drive, "CAM_FRONT:absent@0.05..0.15")
    for topic in ("/CAM_FRONT/image_raw", "/CAM_FRONT/camera_info"):
        stamps = [message.stamp_ns for message in messages_of(drive)[topic]]
        assert [message.stamp_ns for message in found[topic]] == [stamps[0], stamps[2]]
    assert touched(drive, "CAM_FRONT:absent@0.05..0.15") == {
        "/CAM_FRONT/image_raw", "/CAM_FRONT/camera_info"}


def test_all_absent_leaves_where_the_car_is(drive):
    found = messages_of(drive, "all:absent")
    assert {topic for topic, messages in found.items() if messages} == {"/tf", "/tf_static"}


@pytest.mark.parametrize("compressed", [False, True])
def test_a_black_camera_is_black_and_keeps_its_stamps(drive, compressed):
    topic = "/CAM_BACK/image_raw" + ("/compressed" if compressed else "")
    assert touched(drive, "CAM_BACK:camera_black", compressed=compressed) == {topic}
    before = messages_of(drive, compressed=compressed)[topic]
    after = messages_of(drive, "CAM_BACK:camera_black", compressed=compressed)[topic]
    for old, new in zip(before, after, strict=True):
        assert (new.stamp_ns, new.message_type) == (old.stamp_ns, old.message_type)
        old, new = content(old), content(new)
        assert new.header == old.header
        pixels = pixels_from_message(new)
        assert pixels.shape == pixels_from_message(old).shape
        assert pixels.max() == 0


def test_a_spoiled_cloud_has_the_scale_of_the_recording(drive):
    assert touched(drive, "LIDAR:points_reducing/1") == {POINTS}
    folders = find_frames(drive)
    for folder, message in zip(folders, messages_of(drive, "LIDAR:points_reducing/1")[POINTS],
                               strict=True):
        cloud, whole = cloud_from_message(content(message)), read_frame(folder).lidar.points
        assert 0.7 * len(whole) < len(cloud) < 0.9 * len(whole)
        places = {tuple(point): k for k, point in enumerate(whole[:, :3].tolist())}
        kept = [places[tuple(point)] for point in cloud[:, :3].tolist()]
        np.testing.assert_allclose(cloud[:, 3:], whole[kept, 3:], atol=1e-6)


def test_a_frozen_camera_shows_the_frame_before(drive):
    """The oldest there is: 0.5 s ago there was nothing yet."""
    topic = "/CAM_FRONT/image_raw"
    before, after = messages_of(drive)[topic], messages_of(drive, "CAM_FRONT:camera_frozen")[topic]
    pictures = [pixels_from_message(content(message)) for message in before]
    for message in after:
        np.testing.assert_array_equal(pixels_from_message(content(message)), pictures[0])


def test_faults_add_up(drive):
    found = messages_of(drive, "all:fog/1", "LIDAR:absent@..0.1", "CAM_BACK:camera_white")
    assert len(found[POINTS]) == 2
    assert pixels_from_message(content(found["/CAM_BACK/image_raw"][0])).min() == 255
    assert touched(drive, "all:fog") == {POINTS, *(
        f"/{camera.name}/image_raw" for camera in read_record(find_frames(drive)[0]).cameras)}


def test_of_a_bag_sensors_can_be_absent_and_no_more(drive, tmp_path):
    bag = tmp_path / "bag"
    assert main(["to-bag", str(drive), str(bag)]) == 0
    assert touched(bag, "LIDAR:absent@0.1s..") == {POINTS}
    assert messages_of(bag, "LIDAR:absent")[POINTS] == []
    with pytest.raises(ValueError, match="expected absent, or play frame directories"):
        open_source(bag, False, None, ["LIDAR:snow"])
    with pytest.raises(ValueError, match="expected all, LIDAR, CAM_BACK, CAM_BACK_LEFT"):
        open_source(bag, False, None, ["CAMERA:absent"])


def test_a_fault_that_cannot_be_read_is_one_line_and_status_2(drive, capsys):
    assert main(["play", str(drive), "--fault", "CAM_FRONT:absent@3"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected FROM..TO in seconds since the start" in line
