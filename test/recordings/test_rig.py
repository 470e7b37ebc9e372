from pathlib import Path

import pytest

from aqr_perception.recordings.rig import Rig, check_nodes, load_rig
from aqr_perception.types import Mounting, SweepSettings

CONFIG = Path(__file__).parents[2] / "config"


def test_the_default_rig_is_the_shipped_file():
    assert load_rig(CONFIG / "nuscenes.yaml") == Rig(intensity_max=255.0)


def test_another_rig():
    rig = load_rig(CONFIG / "ddad.yaml")
    assert rig.camera_names[0] == "CAMERA_01"
    assert rig.mounting == Mounting("x", 0.0)
    assert rig.intensity_max == 1.0


def test_the_nodes_own_parameters_are_passed_over():
    rig = load_rig(CONFIG / "perception.yaml")
    assert (rig.camera_names, rig.mounting) == (Rig().camera_names, Mounting())


def test_parameters_of_all_nodes_in_the_file_count_the_later_ones_more(tmp_path):
    path = tmp_path / "rig.yaml"
    path.write_text("/**: {ros__parameters: {cameras: [a, b], lidar: {height: 1}}}\n"
                    "/detector: {ros__parameters: {lidar.height: 2.5}}\n")
    rig = load_rig(path)
    assert rig.camera_names == ("a", "b")
    assert rig.mounting.height == 2.5


def test_how_sweeps_are_joined_comes_from_the_same_file(tmp_path):
    path = tmp_path / "rig.yaml"
    path.write_text("/**: {ros__parameters: {lidar: {sweeps: 2, sweep_interval: 0.05}}}\n")
    assert load_rig(path).sweeps == SweepSettings(2, 0.05)
    assert load_rig(CONFIG / "perception.yaml").sweeps == SweepSettings() == SweepSettings(4, 0.1)


@pytest.mark.parametrize(("text", "words"), [
    ("{", "not YAML"), ("", "ros__parameters"), ("a: 1", "ros__parameters"),
    ("/**: {ros__parameters: {cameras: 3}}", "cameras is 3"),
    ("/**: {ros__parameters: {cameras: []}}", "at least one"),
    ("/**: {ros__parameters: {cameras: [a, a]}}", "each once"),
    ("/**: {ros__parameters: {cameras: [1, 2]}}", "list of names"),
    ("/**: {ros__parameters: {lidar: {forward_axis: z}}}", "forward_axis"),
    ("/**: {ros__parameters: {lidar: {height: high}}}", r"lidar\.height"),
    ("/**: {ros__parameters: {lidar: {height: .nan}}}", r"lidar\.height"),
    ("/**: {ros__parameters: {lidar: {intensity_max: 0}}}", "intensity_max"),
    ("/**: {ros__parameters: {lidar: {intensity_max: yes}}}", "intensity_max"),
    ("/**: {ros__parameters: {lidar: {sweeps: 2.5}}}", r"lidar\.sweeps is 2\.5"),
    ("/**: {ros__parameters: {lidar: {sweeps: 11}}}", r"lidar\.sweeps is 11; expected 1 to 10"),
    ("/**: {ros__parameters: {lidar: {sweep_interval: .inf}}}", r"lidar\.sweep_interval is inf"),
    ("/**: {ros__parameters: {lidar: {sweep: 2}}}", r"did you mean lidar\.sweeps"),
    ("/**: {ros__parameters: {lidar: {foward_axis: x}}}", r"did you mean lidar\.forward_axis"),
    ("/**: {ros__parameters: {camera: [a]}}", "did you mean cameras"),
    ("/**: {ros__parameters: &a {lidar: *a}}", "holds itself"),
    ("!!python/object/apply:os.system ['true']", "not YAML")])
def test_a_rig_that_makes_no_sense_is_named(tmp_path, text, words):
    path = tmp_path / "rig.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=words) as caught:
        load_rig(path)
    assert "rig.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_an_error_of_the_file_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_rig(tmp_path / "none.yaml")


@pytest.mark.parametrize("name", ["/**", "detector", "/detector", "/car/detector", "/*/detector"])
def test_a_file_that_speaks_to_the_node_is_fine(tmp_path, name):
    path = tmp_path / "rig.yaml"
    path.write_text(f'"{name}": {{ros__parameters: {{device: cpu}}}}')
    check_nodes(path, "detector")


@pytest.mark.parametrize(("text", "words"), [
    ("just some words", "has no 'ros__parameters'"),
    ("/my_detector: {ros__parameters: {device: cpu}}", "its parameters are of /my_detector; expec"),
    ("{", "not YAML")])
def test_a_file_that_says_nothing_to_the_node_is_named(tmp_path, text, words):
    path = tmp_path / "rig.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"rig\.yaml: .*{words}"):
        check_nodes(path, "detector")
