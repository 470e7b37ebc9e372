from setuptools import setup

NAME = "tf2_ros"

setup(
    name=NAME,
    version="0.1.0",
    packages=[NAME],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="aqr_perception maintainers",
    maintainer_email="maintainers@aqr-perception.example",
    description="Stand-in for the upstream packages on machines without a ROS distribution",
    license="Apache-2.0",
    python_requires=">=3.10",
)
