import threading
from pathlib import Path

import numpy as np
import pytest
import rclpy
import yaml
from rclpy.parameter import Parameter

from aqr_perception.ros.parameters import RUN_TIME, STRUCTURAL, NodeParameters

CONFIG = Path(__file__).resolve().parents[2] / "config" / "perception.yaml"


@pytest.fixture
def make_node():
    nodes = []
    context = rclpy.Context()
    rclpy.init(args=[], context=context)

    def make(**overrides):
        node = rclpy.create_node(
            "detector", context=context, use_global_arguments=False,
            parameter_overrides=[Parameter(name.replace("__", "."), value=value)
                                 for name, value in overrides.items()])
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        node.destroy_node()
    context.try_shutdown()


def set_atomically(node, **values):
    return node.set_parameters_atomically(
        [Parameter(name.replace("__", "."), value=value) for name, value in values.items()])


def test_each_is_described_and_ranged(make_node):
    node = make_node()
    NodeParameters(node)
    names = [*(spec.name for spec in (*STRUCTURAL, *RUN_TIME)), "gain.CAM_FRONT"]
    for name, descriptor in zip(names, node.describe_parameters(names)):
        assert descriptor.description
        value = node.get_parameter(name).value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            assert descriptor.floating_point_range or descriptor.integer_range, name
        assert descriptor.read_only == (name in {spec.name for spec in STRUCTURAL})


def test_the_file_of_parameters_lists_each_with_its_default(make_node):
    node = make_node()
    NodeParameters(node)

    def flat(tree, prefix=""):
        for key, value in tree.items():
            if isinstance(value, dict):
                yield from flat(value, f"{prefix}{key}.")
            else:
                yield prefix + key, value

    listed = dict(flat(yaml.safe_load(CONFIG.read_text())["/**"]["ros__parameters"]))
    declared = {name: parameter.value for name, parameter in
                node.get_parameters_by_prefix("").items() if not name.startswith(
                    ("use_sim_time", "start_type_description", "qos_overrides"))}
    assert listed == declared


def test_a_change_makes_a_new_snapshot_and_leaves_the_old(make_node):
    node = make_node()
    parameters = NodeParameters(node)
    before = parameters.controls
    assert set_atomically(node, gain__lidar=0.0, gain__CAM_BACK=2.0, score_threshold=0.5,
                          aqr__enabled=False).successful
    after = parameters.controls
    assert before.gains.lidar == 1.0
    assert (after.gains.lidar, after.gains.cameras["CAM_BACK"]) == (0.0, 2.0)
    assert (after.score_threshold, after.aqr_enabled) == (0.5, False)


@pytest.mark.parametrize("values", [
    {"gain__lidar": 4.5}, {"gain__lidar": -0.1}, {"gain__lidar": float("nan")},
    {"modulation__camera": 1.01}, {"max_detections": 0}, {"score_threshold": "high"},
    {"gain__camera": 0.5, "score_threshold": 2.0},
    {"device": "cpu"}, {"cameras": ["A"]}, {"gain__camera": 0.5, "lidar__height": 1.0}])
def test_a_refused_change_leaves_everything_as_it_was(make_node, values):
    node = make_node()
    parameters = NodeParameters(node)
    before = parameters.controls
    shown = {name: parameter.value for name, parameter in
             node.get_parameters_by_prefix("").items()}
    result = set_atomically(node, **values)
    assert not result.successful
    assert result.reason
    assert parameters.controls == before
    assert {name: parameter.value for name, parameter in
            node.get_parameters_by_prefix("").items()} == shown


def test_random_changes_always_leave_a_valid_state(make_node):
    node = make_node()
    parameters = NodeParameters(node)
    rng = np.random.default_rng(0)
    names = [spec.name for spec in RUN_TIME]
    kept = {name: node.get_parameter(name).value for name in names}
    refused = 0
    for _ in range(500):
        chosen = rng.choice(names, rng.integers(1, 4), replace=False)
        values = {str(name): _random_value(rng, kept[name]) for name in chosen}
        if node.set_parameters_atomically(
                [Parameter(name, value=value) for name, value in values.items()]).successful:
            kept.update(values)
        else:
            refused += 1
        controls = parameters.controls
        assert controls.gains.lidar == kept["gain.lidar"]
        assert controls.score_threshold == kept["score_threshold"]
        assert controls.max_detections == kept["max_detections"]
        assert controls.aqr_enabled == kept["aqr.enabled"]
    assert 100 < refused < 490


def _random_value(rng, like):
    if isinstance(like, bool):
        return bool(rng.integers(2))
    if isinstance(like, int):
        return int(rng.integers(-3, 500))
    return float(rng.uniform(-0.2, 1.2))


def test_another_thread_sees_whole_changes_only(make_node):
    node = make_node()
    parameters = NodeParameters(node)
    stop, torn = threading.Event(), []

    def watch():
        while not stop.is_set():
            gains = parameters.controls.gains
            if gains.lidar != gains.camera:
                torn.append(gains)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for value in np.linspace(0, 4, 200):
        assert set_atomically(node, gain__lidar=float(value), gain__camera=float(value)).successful
    stop.set()
    watcher.join()
    assert not torn


@pytest.mark.parametrize(("overrides", "words"), [
    ({"gain__lidar": 5.0}, "gain.lidar.*0 to 4"),
    ({"gain__lidar": 1}, "gain.lidar.*point"),
    ({"cameras": ["A", "A"]}, "cameras"),
    ({"cameras": [""]}, "cameras"),
    ({"image_transport": "zip"}, "image_transport"),
    ({"lidar__forward_axis": "z"}, "lidar.forward_axis"),
    ({"lidar__intensity_field": ""}, "lidar.intensity_field"),
])
def test_a_wrong_start_value_is_one_line_that_names_it(make_node, overrides, words):
    with pytest.raises(ValueError, match=words) as caught:
        NodeParameters(make_node(**overrides))
    assert "\n" not in str(caught.value)


def test_cameras_set_the_gains_that_there_are(make_node):
    node = make_node(cameras=["LEFT", "RIGHT"], gain__LEFT=0.5)
    parameters = NodeParameters(node)
    assert parameters.config.cameras == ("LEFT", "RIGHT")
    assert parameters.controls.gains.cameras == {"LEFT": 0.5, "RIGHT": 1.0}
    assert not node.has_parameter("gain.CAM_FRONT")
