from pathlib import Path

from setuptools import find_packages, setup

NAME = "aqr_perception"


def files(folder: str, pattern: str = "*") -> list:
    return sorted(str(path) for path in Path(folder).glob(pattern) if path.is_file())


setup(
    name=NAME,
    version="0.1.0",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["model/weights/*", "simulation/*.json"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", files("launch", "*.launch.py")),
        (f"share/{NAME}/config", files("config")),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="aqr_perception maintainers",
    maintainer_email="maintainers@aqr-perception.example",
    description="Camera and LiDAR 3D object detection for ROS 2: CMT with adaptive query routing",
    license="Apache-2.0",
    python_requires=">=3.10",
    entry_points={"console_scripts": ["detector = aqr_perception.ros.node:main"]},
)
