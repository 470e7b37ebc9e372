import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs_py.point_cloud2 import read_points

from aqr_perception.geometry import rigid
from aqr_perception.geometry.boxes import Boxes3D
from aqr_perception.ros.conversions import (
    detections_from_message,
    matrix_from_message,
    stamp_to_ns,
)
from aqr_perception.ros.markers import markers_of
from aqr_perception.ros.messages import (
    detections_to_message,
    label_info,
    ns_to_stamp,
    transform_to_message,
    values_to_message,
    velocities_to_message,
)
from aqr_perception.types import CLASS_NAMES, Detections
from aqr_perception.visualization.colors import class_rgb


def detections(count, seed=0):
    rng = np.random.default_rng(seed)
    return Detections(
        1_532_402_927_647_951_123, "LIDAR_TOP",
        Boxes3D(rng.normal(0, 30, (count, 3)), rng.uniform(0.3, 12, (count, 3)),
                rng.uniform(-np.pi, np.pi, count), rng.normal(0, 5, (count, 2))),
        np.sort(rng.uniform(0, 1, count).astype(np.float32))[::-1],
        rng.integers(0, len(CLASS_NAMES), count))


@given(st.integers(0, 2**31 * 10**9 - 1))
def test_stamps_come_back(stamp_ns):
    assert stamp_to_ns(ns_to_stamp(stamp_ns)) == stamp_ns


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 20), st.integers(0, 1000))
def test_detections_come_back(count, seed):
    sent = detections(count, seed)
    back = detections_from_message(detections_to_message(sent))
    assert (back.stamp_ns, back.frame_id) == (sent.stamp_ns, sent.frame_id)
    np.testing.assert_array_equal(back.boxes.center, sent.boxes.center)
    np.testing.assert_array_equal(back.boxes.size, sent.boxes.size)
    np.testing.assert_allclose(np.exp(1j * back.boxes.yaw), np.exp(1j * sent.boxes.yaw), atol=1e-6)
    np.testing.assert_array_equal(back.scores, sent.scores)
    np.testing.assert_array_equal(back.labels, sent.labels)
    assert np.isnan(back.boxes.velocity).all()


def test_the_message_keeps_the_conventions():
    sent = detections(3)
    message = detections_to_message(sent)
    for index, item in enumerate(message.detections):
        assert item.header == message.header
        assert item.results[0].hypothesis.class_id == sent.class_names[index]
        assert item.results[0].pose.pose == item.bbox.center
        assert not np.any(item.results[0].pose.covariance)
        assert item.bbox.size.x == sent.boxes.size[index, 0]


def test_an_unknown_class_is_named():
    message = detections_to_message(detections(2))
    message.detections[1].results[0].hypothesis.class_id = "dragon"
    with pytest.raises(ValueError, match=r"detection 1 .*'dragon'"):
        detections_from_message(message)
    message.detections[0].results = []
    with pytest.raises(ValueError, match="detection 0"):
        detections_from_message(message)


def test_transforms_come_back():
    matrix = rigid.from_translation_quaternion([1, -2, 3], [0.1, -0.5, 0.3, 0.7])
    message = transform_to_message(matrix, "base_link", "CAM_FRONT", 7)
    assert (message.header.frame_id, message.child_frame_id) == ("base_link", "CAM_FRONT")
    np.testing.assert_allclose(matrix_from_message(message.transform), matrix, atol=1e-12)


def test_labels_are_named_in_order():
    message = label_info(0, "", 0.25)
    assert [(item.class_id, item.class_name) for item in message.class_map] == list(
        enumerate(CLASS_NAMES))
    assert message.threshold == 0.25


def test_velocities_are_a_cloud_in_the_order_of_the_detections():
    sent = detections(3)
    sent.boxes.velocity[1] = np.nan
    message = velocities_to_message(sent)
    assert message.header == detections_to_message(sent).header
    assert (message.width, message.height, message.is_dense) == (3, 1, False)
    read = read_points(message)  # the reader that users have
    assert read.dtype.names == ("x", "y", "z", "vx", "vy", "vz", "score", "label")
    for axis, name in enumerate("xyz"):
        np.testing.assert_array_equal(read[name], sent.boxes.center[:, axis])
    np.testing.assert_array_equal(np.stack([read["vx"], read["vy"]], 1), sent.boxes.velocity)
    assert not read["vz"].any()
    np.testing.assert_array_equal(read["score"], sent.scores)
    np.testing.assert_array_equal(read["label"], sent.labels)
    assert velocities_to_message(detections(0)).is_dense
    assert len(read_points(velocities_to_message(detections(0)))) == 0


def test_values_are_text_as_a_file_of_parameters_takes_it():
    values = {"gain.lidar": 0.1, "max_detections": 300, "aqr.enabled": True, "name": "a"}
    message = values_to_message(5, "lidar", "detector: controls", values)
    assert (stamp_to_ns(message.header.stamp), message.header.frame_id) == (5, "lidar")
    (status,) = message.status
    assert (status.level, status.name) == (status.OK, "detector: controls")
    assert {item.key: yaml.safe_load(item.value) for item in status.values} == values


def test_markers_delete_the_old_first_and_carry_class_and_motion():
    sent = detections(4)
    sent.boxes.velocity[:] = [[3, 4], [0, 0], [np.nan, np.nan], [0.1, 0.1]]
    array = markers_of(sent)
    assert array.markers[0].action == array.markers[0].DELETEALL
    by_kind = {}
    for marker in array.markers[1:]:
        by_kind.setdefault(marker.ns, []).append(marker)
        assert marker.header.frame_id == "LIDAR_TOP"
        assert marker.lifetime.sec + marker.lifetime.nanosec > 0
    assert {kind: len(found) for kind, found in by_kind.items()} == {
        "boxes": 4, "labels": 4, "velocities": 1}
    color = by_kind["boxes"][0].color
    assert [255 * part for part in (color.r, color.g, color.b)] == pytest.approx(
        class_rgb(sent.labels[0]))
    start, end = by_kind["velocities"][0].points
    assert (end.x - start.x, end.y - start.y) == pytest.approx((3, 4), abs=1e-5)
    assert sent.class_names[0] in by_kind["labels"][0].text


def test_no_detections_clear_the_picture():
    assert [marker.action for marker in markers_of(detections(0)).markers] == [3]
