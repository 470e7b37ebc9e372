"""Bags: what goes in comes out, upstream types, and damage is named."""

import os

import numpy as np
import pytest
from training_frames import CAMERAS, make_frame

from aqr_perception.recordings.frame_writer import write_frame
from aqr_perception.ros import topics
from aqr_perception.ros.bag import Bag, deserialize, write_bag
from aqr_perception.ros.frame_messages import FrameMessages, typestore

DETECTION_HASH = "RIHS01_793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018"


@pytest.fixture
def messages(tmp_path):
    frame, annotations = make_frame(0)
    write_frame(tmp_path / "frame", frame, annotations)
    return FrameMessages([tmp_path / "frame"], compressed=False)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_what_goes_in_comes_out(messages, tmp_path, storage):
    written = list(messages)
    assert write_bag(tmp_path / "bag", messages.types, written, storage) == len(written)
    bag = Bag(tmp_path / "bag")
    assert bag.types == messages.types
    read = list(bag.messages())
    assert sorted(read, key=repr) == sorted(written, key=repr)
    assert [m.stamp_ns for m in read] == sorted(m.stamp_ns for m in written)
    only = list(bag.messages([topics.points_topic()]))
    assert [m.topic for m in only] == [topics.points_topic()]


def test_topics_and_contents_are_those_of_a_recording(messages):
    assert set(messages.types) == {
        topics.points_topic(), topics.TF, topics.TF_STATIC, topics.GROUND_TRUTH,
        *map(topics.image_topic, CAMERAS), *map(topics.camera_info_topic, CAMERAS)}
    by_topic = {message.topic: deserialize(message) for message in messages}
    frame, annotations = make_frame(0)
    cloud = by_topic[topics.points_topic()]
    assert cloud.header.frame_id == topics.LIDAR_FRAME
    assert cloud.width == len(frame.lidar.points)
    rows = cloud.data.view(np.float32).reshape(-1, 5)
    np.testing.assert_array_equal(rows[:, :3], frame.lidar.points[:, :3])
    np.testing.assert_allclose(rows[:, 3], 255 * frame.lidar.points[:, 3], rtol=1e-6)
    image = by_topic[topics.image_topic(CAMERAS[0])]
    assert (image.width, image.height, image.encoding) == (192, 108, "bgr8")
    truth = by_topic[topics.GROUND_TRUTH]
    assert len(truth.detections) == len(annotations)
    assert truth.detections[0].bbox.size.x == pytest.approx(annotations.boxes.size[0, 0])


def test_types_have_the_hashes_that_talk_to_a_vehicle():
    assert typestore().hash_rihs01("vision_msgs/msg/Detection3DArray") == DETECTION_HASH


def test_static_transforms_are_offered_to_those_who_come_later(messages, tmp_path):
    write_bag(tmp_path / "bag", messages.types, messages)
    text = (tmp_path / "bag" / "metadata.yaml").read_text()
    assert "durability: 1" in text


def test_a_missing_topic_is_named_and_those_there_are_listed(messages, tmp_path):
    write_bag(tmp_path / "bag", messages.types, messages)
    with pytest.raises(ValueError, match="/nothing") as caught:
        Bag(tmp_path / "bag").require(["/nothing"])
    for topic in messages.types:
        assert topic in str(caught.value)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_file_that_was_cut_off_is_named(messages, tmp_path, storage):
    write_bag(tmp_path / "bag", messages.types, messages, storage)
    data = next(path for path in (tmp_path / "bag").iterdir() if path.name != "metadata.yaml")
    os.truncate(data, data.stat().st_size // 2)
    with pytest.raises(ValueError, match="cannot be read"):
        list(Bag(tmp_path / "bag").messages())


def test_what_is_no_bag_is_named(tmp_path):
    with pytest.raises(ValueError, match="metadata"):
        Bag(tmp_path)
    with pytest.raises(FileNotFoundError):
        Bag(tmp_path / "none")


def test_a_bag_that_failed_leaves_nothing_behind(messages, tmp_path):
    def broken():
        yield next(iter(messages))
        raise ValueError("bad frame")

    with pytest.raises(ValueError, match="bad frame"):
        write_bag(tmp_path / "bag", messages.types, broken())
    assert not (tmp_path / "bag").exists()


def test_a_message_of_another_type_is_named(messages):
    from dataclasses import replace
    message = replace(next(iter(messages)), message_type="sensor_msgs/msg/Image", data=b"\0\1\0\0x")
    with pytest.raises(ValueError, match="is not a sensor_msgs/msg/Image"):
        deserialize(message)
