"""The package as ROS tools see it: package.xml, setup.py, the interfaces' type hashes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from importlib import import_module
from pathlib import Path

import pytest
from source_imports import REPOSITORY, imports_of, modules

MANIFEST = ElementTree.parse(REPOSITORY / "package.xml").getroot()
ROSDEP_KEYS = {"numpy": "python3-numpy", "cv2": "python3-opencv", "scipy": "python3-scipy",
               "yaml": "python3-yaml", "torch": "python3-torch", "tqdm": "python3-tqdm",
               "matplotlib": "python3-matplotlib"}
WITHOUT_KEY = {"safetensors", "rosbags", "trimesh", "embreex", "spconv", "cumm", "tensorboard"}

# RIHS01 of the upstream definitions (vision_msgs 4.1, geometry2 for Kilted): a publisher with
# another hash is not matched by genuine subscribers.
UPSTREAM_HASHES = {
    "vision_msgs/msg/BoundingBox2D":
        "008eacbb0cf8f26e83795547bed013eec3675485ef386ec056d80eaaf1c1ce2f",
    "vision_msgs/msg/BoundingBox2DArray":
        "2464e82838009386d371b523211c21c91d74d313fcdd6788223c531d621cf691",
    "vision_msgs/msg/BoundingBox3D":
        "bbb73a65c163d7f9bb29009c7bde9f7faa576bd2d23299c4511d19230dab4698",
    "vision_msgs/msg/BoundingBox3DArray":
        "a81938db9576b10c2eecd7c5a5da3eac496efd00221b25ed051dfbc81fb56da6",
    "vision_msgs/msg/Classification":
        "f74db28d0eaef3afb78f48bf2161cd709a1383a0309d3454383b25be11345143",
    "vision_msgs/msg/Detection2D":
        "0d12b69df5c593b3455b7346fac8205437a7d4bcb09b9e0e0b2dde787ded38ea",
    "vision_msgs/msg/Detection2DArray":
        "214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
    "vision_msgs/msg/Detection3D":
        "ddd703be132ab0b69d33121f1bb034132bfbb3b0ac5f9fb1516005ba1c8a265b",
    "vision_msgs/msg/Detection3DArray":
        "793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018",
    "vision_msgs/msg/LabelInfo":
        "3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783",
    "vision_msgs/msg/ObjectHypothesis":
        "51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90",
    "vision_msgs/msg/ObjectHypothesisWithPose":
        "41c12344c0396c48b81df12467c192d99b2a0eb1463c5c37194e4223251c80bc",
    "vision_msgs/msg/Point2D":
        "eab0e83f44ab4de92ceaf76dd7d0e7638f2bdd1d16ffbe16c7a136c48e407247",
    "vision_msgs/msg/Pose2D":
        "b0b5d1d7b4c20dd4fcde3ed1d4b289a919290572007d67a97043814db25d3648",
    "vision_msgs/msg/VisionClass":
        "1e4a11f0fed50b5623cb8ff26ca0e37952a48a9c074d16f804b44e9164c2037a",
    "vision_msgs/msg/VisionInfo":
        "95d3116a17484ad91c9a2686e1d54890bbfc3ff6c6a2de137738c4950d45d284",
    "tf2_msgs/msg/TFMessage":
        "e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087",
}


def manifest_depends() -> set[str]:
    return {element.text or "" for tag in ("depend", "exec_depend")
            for element in MANIFEST.findall(tag)}


def test_manifest_is_one_that_colcon_takes_for_ament_python() -> None:
    assert MANIFEST.get("format") == "3"
    assert MANIFEST.findtext("name") == "aqr_perception"
    assert MANIFEST.findtext("export/build_type") == "ament_python"
    assert re.fullmatch(r"\d+\.\d+\.\d+", MANIFEST.findtext("version") or "")
    email = MANIFEST.find("maintainer").get("email")  # type: ignore[union-attr]
    assert re.fullmatch(r"[-a-zA-Z0-9_%+]+(\.[-a-zA-Z0-9_%+]+)*@[-a-zA-Z0-9%]+(\.[-a-zA-Z0-9%]+)*"
                        r"\.[a-zA-Z]{2,}", email), "such an address makes colcon ignore the file"
    assert MANIFEST.findtext("license") == "Apache-2.0"


@pytest.mark.parametrize("manifest", sorted(REPOSITORY.glob("**/package.xml"), key=str),
                         ids=lambda path: path.parent.name)
def test_catkin_pkg_accepts_every_manifest(manifest: Path) -> None:
    package = pytest.importorskip("catkin_pkg.package")
    package.parse_package(str(manifest))


def test_manifest_names_every_ros_package_that_is_imported() -> None:
    sources = [*modules().values(), *(REPOSITORY / "launch").glob("*.py")]
    known = {"aqr_perception", *ROSDEP_KEYS, *WITHOUT_KEY, *sys.stdlib_module_names}
    imported = {entry.top for path in sources for entry in imports_of(path)} - known
    assert "rclpy" in imported
    assert imported <= manifest_depends()


def test_manifest_names_the_key_of_every_other_package() -> None:
    imported = {entry.top for path in modules().values() for entry in imports_of(path)}
    assert {key for name, key in ROSDEP_KEYS.items() if name in imported} <= manifest_depends()


def test_setup_installs_what_is_there(tmp_path: Path) -> None:
    trace = ("import json, setuptools\n"
             "setuptools.setup = lambda **options: print(json.dumps(options, default=str))\n"
             "exec(compile(open('setup.py').read(), 'setup.py', 'exec'))")
    done = subprocess.run([sys.executable, "-c", trace], cwd=REPOSITORY, check=True,
                          capture_output=True, text=True)
    options = json.loads(done.stdout)
    assert options["version"] == MANIFEST.findtext("version")
    assert options["maintainer_email"] == MANIFEST.find("maintainer").get("email")  # type: ignore[union-attr]
    installed = {folder: files for folder, files in options["data_files"]}
    assert all((REPOSITORY / file).is_file() for files in installed.values() for file in files)
    assert installed["share/ament_index/resource_index/packages"] == ["resource/aqr_perception"]
    assert installed["share/aqr_perception"] == ["package.xml"]
    assert {Path(file).name for file in installed["share/aqr_perception/launch"]} == {
        path.name for path in (REPOSITORY / "launch").glob("*.launch.py")}
    assert "config/fastdds.xml" in installed["share/aqr_perception/config"]
    packages = {name for name in modules() if modules()[name].name == "__init__.py"}
    assert set(options["packages"]) == packages
    assert options["entry_points"]["console_scripts"] == ["detector = aqr_perception.ros.node:main"]


def test_ros_finds_the_installed_package() -> None:
    index = pytest.importorskip("ament_index_python")
    try:
        prefix = Path(index.get_package_prefix("aqr_perception"))
    except index.PackageNotFoundError:
        pytest.skip("not installed: started outside of the environment of scripts/bootstrap")
    detector = prefix / "lib" / "aqr_perception" / "detector"
    assert os.access(detector, os.X_OK)
    share = prefix / "share" / "aqr_perception"
    assert (share / "package.xml").is_file()
    assert (share / "config" / "fastdds.xml").is_file()
    assert list((share / "launch").glob("*.launch.py"))


@pytest.mark.parametrize(("name", "digest"), UPSTREAM_HASHES.items())
def test_interfaces_have_the_type_hash_of_upstream(name: str, digest: str) -> None:
    package, kind, message = name.split("/")
    pytest.importorskip(package)
    interface = getattr(import_module(f"{package}.{kind}"), message)
    if not hasattr(interface, "_TYPE_SUPPORT"):
        pytest.skip("no generated class")
    index = pytest.importorskip("ament_index_python")
    description = (Path(index.get_package_share_directory(package)) / kind / f"{message}.json")
    if not description.is_file():
        pytest.skip("this distribution is older than type hashes")
    hashes = {entry["type_name"]: entry["hash_string"]
              for entry in json.loads(description.read_text())["type_hashes"]}
    assert hashes[name] == f"RIHS01_{digest}"
