"""Bags: what goes in comes out, as rosbag2 has it, and damage is named."""

import os
from dataclasses import replace

import pytest
import yaml
from training_frames import make_frame

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


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_metadata_is_what_rosbag2_reads(messages, tmp_path, storage):
    count = write_bag(tmp_path / "bag", messages.types, messages, storage)
    information = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())[
        "rosbag2_bagfile_information"]
    assert information["version"] == 8, "what Humble reads, and all later ones"
    assert information["storage_identifier"] == storage
    assert information["message_count"] == count
    assert information["starting_time"]["nanoseconds_since_epoch"] == 10**9
    entries = {entry["topic_metadata"]["name"]: entry["topic_metadata"]
               for entry in information["topics_with_message_count"]}
    assert set(entries) == set(messages.types)
    assert entries[topics.GROUND_TRUTH]["type"] == "vision_msgs/msg/Detection3DArray"
    assert entries[topics.GROUND_TRUTH]["type_description_hash"] == DETECTION_HASH
    assert {entry["serialization_format"] for entry in entries.values()} == {"cdr"}


def test_static_transforms_are_offered_to_those_who_come_later(messages, tmp_path):
    write_bag(tmp_path / "bag", messages.types, messages)
    information = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())[
        "rosbag2_bagfile_information"]
    offered = {entry["topic_metadata"]["name"]: yaml.safe_load(
        entry["topic_metadata"]["offered_qos_profiles"])[0]
        for entry in information["topics_with_message_count"]}
    transient_local, volatile, reliable = 1, 2, 1
    assert offered[topics.TF_STATIC]["durability"] == transient_local
    assert offered[topics.points_topic()]["durability"] == volatile
    assert {profile["reliability"] for profile in offered.values()} == {reliable}


@pytest.mark.parametrize("mode", ["FILE", "MESSAGE", "STORAGE"])
def test_compressed_bags_are_read(messages, tmp_path, mode):
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

    written = list(messages)
    plugin = StoragePlugin.MCAP if mode == "STORAGE" else StoragePlugin.SQLITE3
    writer = Writer(tmp_path / "bag", version=9, storage_plugin=plugin)
    writer.set_compression(CompressionMode[mode], CompressionFormat.ZSTD)
    with writer:
        connections = {topic: writer.add_connection(topic, kind, typestore=typestore())
                       for topic, kind in messages.types.items()}
        for message in written:
            writer.write(connections[message.topic], message.stamp_ns, message.data)
    read = list(Bag(tmp_path / "bag").messages())
    assert sorted(read, key=repr) == sorted(written, key=repr)


def test_a_missing_topic_is_named_and_those_there_are_listed(messages, tmp_path):
    write_bag(tmp_path / "bag", messages.types, messages)
    with pytest.raises(ValueError, match="/nothing") as caught:
        Bag(tmp_path / "bag").require(["/nothing", topics.TF], "do this")
    for topic, kind in messages.types.items():
        assert f"{topic} ({kind})" in str(caught.value)
    assert str(caught.value).endswith(": do this")
    assert str(caught.value).startswith(f"{tmp_path / 'bag'}: has no topic /nothing;")


def test_a_topic_of_another_type_is_named(messages, tmp_path):
    write_bag(tmp_path / "bag", messages.types, messages)
    bag = Bag(tmp_path / "bag")
    bag.require_types({topics.TF: "tf2_msgs/msg/TFMessage"})
    with pytest.raises(ValueError, match=r"/tf carries tf2_msgs/msg/TFMessage; expected std_msgs"):
        bag.require_types({topics.TF: "std_msgs/msg/String"})


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_file_that_was_cut_off_is_named(messages, tmp_path, storage):
    write_bag(tmp_path / "bag", messages.types, messages, storage)
    data = next(path for path in (tmp_path / "bag").iterdir() if path.name != "metadata.yaml")
    os.truncate(data, data.stat().st_size // 2)
    with pytest.raises(ValueError, match="cannot be read"):
        list(Bag(tmp_path / "bag").messages())


@pytest.mark.parametrize("content", ["", "{", "a: b", "rosbag2_bagfile_information: {version: 99}"])
def test_damaged_metadata_is_named(messages, tmp_path, content):
    write_bag(tmp_path / "bag", messages.types, messages)
    (tmp_path / "bag" / "metadata.yaml").write_text(content)
    with pytest.raises(ValueError, match="cannot be read") as caught:
        Bag(tmp_path / "bag")
    assert "\n" not in str(caught.value)


def test_a_missing_file_of_the_bag_is_named(messages, tmp_path):
    write_bag(tmp_path / "bag", messages.types, messages)
    next((tmp_path / "bag").glob("*.mcap")).unlink()
    with pytest.raises(ValueError, match=r"missing.*bag\.mcap"):
        Bag(tmp_path / "bag")


def test_an_existing_folder_is_not_written_into(messages, tmp_path):
    with pytest.raises(ValueError, match="is there already"):
        write_bag(tmp_path, messages.types, messages)
    with pytest.raises(ValueError, match="expected mcap or sqlite3"):
        write_bag(tmp_path / "bag", messages.types, messages, storage="rosbag1")


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
    message = replace(next(iter(messages)), message_type="sensor_msgs/msg/Image", data=b"\0\1\0\0x")
    with pytest.raises(ValueError, match="is not a sensor_msgs/msg/Image"):
        deserialize(message)
