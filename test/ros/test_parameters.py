import threading
from pathlib import Path

import numpy as np
import pytest
import rclpy
import yaml
from rclpy.node import Node
from rclpy.parameter import Parameter

from aqr_perception.recordings.rig import load_rig
from aqr_perception.ros.parameters import STRUCTURAL, NodeParameters
from aqr_perception.ros.run_time import RUN_TIME, preset_values

CONFIG = Path(__file__).resolve().parents[2] / "config" / "perception.yaml"


@pytest.fixture
def make_node():
    nodes = []
    context = rclpy.Context()
    rclpy.init(args=[], context=context)

    def make(arguments=(), **overrides):
        node = rclpy.create_node(
            "detector", context=context, use_global_arguments=False, cli_args=list(arguments),
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


@pytest.mark.parametrize("name", ["perception", "nuscenes", "ddad"])
def test_each_file_of_parameters_is_one_that_ros_reads(make_node, name):
    path = CONFIG.with_name(f"{name}.yaml")
    parameters = NodeParameters(make_node(["--ros-args", "--params-file", str(path)]))
    rig = load_rig(path)
    assert (parameters.config.cameras, parameters.config.mounting) == (
        rig.camera_names, rig.mounting)


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
    {"aqr__residual_weight": -0.5}, {"class_score_threshold__car": float("inf")},
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


def test_no_parameter_stands_below_another(make_node):
    """`ros2 param dump` makes a tree of the names, in which a value can have nothing below it."""
    node = make_node()
    NodeParameters(node)
    names = set(node.get_parameters_by_prefix(""))
    assert not [(name, other) for name in names for other in names if other.startswith(f"{name}.")]


@pytest.fixture(params=["iron", "humble"])
def distribution(request, monkeypatch):
    """Before Iron, rclpy knew no callbacks before and after the check."""
    if request.param == "humble":
        monkeypatch.delattr(Node, "add_pre_set_parameters_callback")
        monkeypatch.delattr(Node, "add_post_set_parameters_callback")


def test_a_preset_sets_its_group_and_shows_it(make_node, distribution):
    node = make_node()
    parameters = NodeParameters(node)
    group = preset_values("lidar_only")
    assert node.set_parameters([Parameter("aqr.preset", value="lidar_only")])[0].successful
    assert {name: node.get_parameter(name).value for name in group} == group
    assert parameters.controls.weight_map.max_weight_clamp == group["aqr.max_weight_clamp"]
    assert parameters.controls.modulation_camera == 0.0
    assert set_atomically(node, modulation__camera=1.0).successful
    assert node.get_parameter("aqr.preset").value == "custom"
    assert parameters.controls.modulation_camera == 1.0


@pytest.mark.parametrize("values", [
    {"aqr__preset": "bold"}, {"aqr__preset": "aggressive", "gain__lidar": float("nan")},
    {"aqr__preset": "aggressive", "aqr__gaussian_sigma": 1.0}])
def test_a_refused_preset_sets_nothing_of_its_group(make_node, distribution, values):
    node = make_node()
    parameters = NodeParameters(node)
    before = parameters.controls
    assert not set_atomically(node, **values).successful
    assert parameters.controls == before
    group = preset_values("as_trained")
    assert {name: node.get_parameter(name).value for name in group} == group
    assert node.get_parameter("aqr.preset").value == "as_trained"


def test_a_preset_of_the_start_shows_its_group(make_node):
    node = make_node(aqr__preset="conservative", aqr__residual_weight=-1.0)
    assert NodeParameters(node).controls.weight_map.residual_weight == 0.8
    assert node.get_parameter("aqr.residual_weight").value == 0.8
    node = make_node(aqr__residual_weight=0.7)
    NodeParameters(node)
    assert node.get_parameter("aqr.preset").value == "custom"


def test_what_the_network_lacks_is_refused_while_it_is_loaded(make_node):
    def check(controls):
        if controls.weight_map.residual_weight is not None:
            raise ValueError("it has no weight maps")

    node = make_node()
    parameters = NodeParameters(node)
    parameters.hold_to(check)
    result = set_atomically(node, aqr__preset="aggressive", gain__lidar=0.5)
    assert (result.successful, result.reason) == (False, "it has no weight maps")
    assert parameters.controls.gains.lidar == 1.0
    assert set_atomically(node, gain__lidar=0.5).successful
    parameters.hold_to_none()
    assert set_atomically(node, aqr__preset="aggressive").successful
    with pytest.raises(ValueError, match="no weight maps"):
        parameters.hold_to(check)


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


def test_a_misspelled_parameter_is_told(make_node, capfd):
    NodeParameters(make_node(gian__lidar=0.0, score_treshold=0.5, whatever_else=1,
                             gain__lidar=0.5, use_sim_time=False))
    lines = [line for line in capfd.readouterr().err.splitlines() if "no parameter" in line]
    assert len(lines) == 3
    assert "'gian.lidar'" in lines[0]
    assert "did you mean gain.lidar?" in lines[0]
    assert "did you mean score_threshold?" in lines[1]
    assert "see config/perception.yaml" in lines[2]


@pytest.mark.parametrize(("overrides", "words"), [
    ({"gain__lidar": 5.0}, "gain.lidar.*0 to 4"),
    ({"gain__lidar": 1}, "gain.lidar.*point"),
    ({"cameras": ["A", "A"]}, "cameras"),
    ({"cameras": [""]}, "cameras"),
    ({"cameras": ["lidar"]}, "cameras names 'lidar', but gain.lidar"),
    ({"aqr__preset": "bold"}, "aqr.preset is 'bold'"),
    ({"aqr__preset": "aggressive", "modulation__lidar": 0.5}, "modulation.lidar is 0.5, but"),
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
