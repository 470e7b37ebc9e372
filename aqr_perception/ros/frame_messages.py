"""Frame directories → messages, serialised, in the order of their stamps. Needs no rclpy.

Definitions come with the `rosbags` library, those of vision_msgs from the installed package, so
that the hashes in a bag are the ones that talk to a vehicle.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from aqr_perception.geometry import rigid
from aqr_perception.image_file import image_size
from aqr_perception.recordings.boxes_file import ANNOTATIONS, read_annotations
from aqr_perception.recordings.frame_directory import (
    read_image_file,
    read_picture,
    read_raw_points,
)
from aqr_perception.recordings.frame_record import CameraRecord, FrameRecord, read_record
from aqr_perception.ros import topics
from aqr_perception.ros.recorded import SerializedMessage
from aqr_perception.types import CLASS_NAMES, Annotations

POINT_FLOAT32 = 7
SAME_PLACE = 1e-4
"""Largest difference of two places on the car that are the same [m, or of a rotation matrix]."""


@lru_cache(maxsize=1)
def typestore() -> Typestore:
    """Message types of ROS 2 with those of vision_msgs.

    Raises:
        ValueError: vision_msgs is not installed.
    """
    store = get_typestore(Stores.ROS2_KILTED)
    try:
        share = Path(get_package_share_directory("vision_msgs"))
    except PackageNotFoundError:
        raise ValueError("the ROS package vision_msgs is not installed; install it, or run "
                         "scripts/bootstrap") from None
    types: dict[str, Any] = {}
    for path in sorted((share / "msg").glob("*.msg")):
        types |= get_types_from_msg(path.read_text(encoding="utf-8"),
                                    f"vision_msgs/msg/{path.stem}")
    store.register({name: definition for name, definition in types.items()
                    if name not in store.fielddefs})
    return store


class FrameMessages:
    """The messages of frame directories.

    Args:
        folders: Frame directories of one rig, oldest first.
        compressed: CompressedImage with the files' own bytes instead of Image.
        cameras: Names of the cameras to take; None for all that the first frame has.

    Attributes:
        folders: As given.
        types: Message type by topic.
        cameras: Names of the cameras, as taken.

    Raises:
        OSError: The first frame's calibration is not there.
        ValueError: It is damaged, or lacks a camera.
    """

    def __init__(self, folders: Sequence[Path], compressed: bool,
                 cameras: tuple[str, ...] | None = None) -> None:
        self.folders = list(folders)
        self._compressed = compressed
        self._first = read_record(self.folders[0])
        if cameras is not None:
            self._first = self._first.select(cameras)
        self.cameras = tuple(camera.name for camera in self._first.cameras)
        self.types = self._types()

    def __iter__(self) -> Iterator[SerializedMessage]:
        """All messages in the order of their stamps, also where frames overlap.

        Raises:
            OSError: A file is not there.
            ValueError: A file is damaged, or a later frame has other sensors than the first.
        """
        held: list[tuple[int, int, SerializedMessage]] = []
        counter = itertools.count()  # messages of one stamp stay in the order they were made in
        for folder in self.folders:
            record = self._same_rig(read_record(folder))
            while held and held[0][0] <= record.first_stamp_ns:
                yield heapq.heappop(held)[2]
            for message in self._messages(record):
                heapq.heappush(held, (message.stamp_ns, next(counter), message))
        while held:
            yield heapq.heappop(held)[2]

    def _types(self) -> dict[str, str]:
        found = {topics.TF_STATIC: "tf2_msgs/msg/TFMessage",
                 topics.points_topic(): "sensor_msgs/msg/PointCloud2"}
        if self._first.lidar.world_from_ego is not None:
            found[topics.TF] = "tf2_msgs/msg/TFMessage"
        for camera in self._first.cameras:
            found[topics.camera_info_topic(camera.name)] = "sensor_msgs/msg/CameraInfo"
            if self._compressed:
                found[topics.compressed_topic(camera.name)] = "sensor_msgs/msg/CompressedImage"
            else:
                found[topics.image_topic(camera.name)] = "sensor_msgs/msg/Image"
        if any((folder / ANNOTATIONS).exists() for folder in self.folders):
            found[topics.GROUND_TRUTH] = "vision_msgs/msg/Detection3DArray"
        return found

    def _same_rig(self, record: FrameRecord) -> FrameRecord:
        """The record with the first frame's cameras; /tf_static says once where all sensors sit."""
        first = self._first
        record = record.select(self.cameras)
        if (record.lidar.world_from_ego is None) != (first.lidar.world_from_ego is None):
            raise ValueError(f"{record.folder}: of this frame and {first.folder}, only one has the "
                             "pose of the car; expected frames of one drive")
        moved = [name for (name, now), then in zip(on_car(record).items(), on_car(first).values())
                 if np.abs(now - then).max() > SAME_PLACE]
        if moved:
            raise ValueError(f"{record.folder}: {', '.join(moved)} sits elsewhere on the car than "
                             f"in {first.folder}; expected frames of one rig")
        return record

    def _messages(self, record: FrameRecord) -> Iterator[SerializedMessage]:
        if record.folder == self._first.folder:
            begin = record.first_stamp_ns
            yield serialised(topics.TF_STATIC, begin, static_transforms(record, begin))
        for stamp, pose in car_poses(record).items():
            yield serialised(topics.TF, stamp, _transforms([odometry(pose, stamp)]))
        for camera in record.cameras:
            yield serialised(topics.camera_info_topic(camera.name), camera.stamp_ns,
                             camera_info(camera))
            data = read_image_file(camera)
            if self._compressed:
                yield serialised(topics.compressed_topic(camera.name), camera.stamp_ns,
                                 compressed_image(camera, data))
            else:
                yield serialised(topics.image_topic(camera.name), camera.stamp_ns,
                                 image(camera, data))
        stamp = record.lidar.stamp_ns
        yield serialised(topics.points_topic(), stamp, point_cloud(record))
        annotations = read_annotations(record.folder)
        if annotations is not None:
            yield serialised(topics.GROUND_TRUTH, stamp, ground_truth(annotations, stamp))


def car_poses(record: FrameRecord) -> dict[int, rigid.Matrix]:
    """(4, 4) pose of the car in the world by stamp [ns]; empty where it is not recorded.

    tf holds one pose a stamp. Where a recording gives several (cameras of one stamp, moved by
    slightly different times), the LiDAR's counts, else their mean.
    """
    poses: dict[int, tuple[rigid.Matrix, int]] = {}
    for camera in record.cameras:
        pose = camera.world_from_ego(record.lidar)
        if pose is not None:
            mean, count = poses.get(camera.stamp_ns, (pose, 0))
            poses[camera.stamp_ns] = rigid.interpolate(mean, pose, 1 / (count + 1)), count + 1
    if record.lidar.world_from_ego is not None:
        poses[record.lidar.stamp_ns] = record.lidar.world_from_ego, 1
    return {stamp: pose for stamp, (pose, _) in sorted(poses.items())}


def on_car(record: FrameRecord) -> dict[str, rigid.Matrix]:
    """(4, 4) place of each sensor's frame on the car, by the frame's name."""
    places = {topics.LIDAR_FRAME: record.lidar.ego_from_lidar}
    return places | {camera.name: camera.ego_from_camera for camera in record.cameras}


def image(camera: CameraRecord, data: bytes) -> Any:
    """``sensor_msgs/Image``, bgr8."""
    return image_of(read_picture(camera, data), camera.name, camera.stamp_ns)


def image_of(pixels: NDArray[np.uint8], name: str, stamp_ns: int) -> Any:
    """``sensor_msgs/Image`` of pixels (H, W, 3) BGR."""
    height, width = pixels.shape[:2]
    return _new("sensor_msgs/msg/Image", header=_header(stamp_ns, name),
                height=height, width=width, encoding="bgr8", is_bigendian=0, step=3 * width,
                data=pixels.reshape(-1))


def compressed_image(camera: CameraRecord, data: bytes) -> Any:
    """``sensor_msgs/CompressedImage`` with the file as it is."""
    read_picture(camera, data)  # a damaged one, or one of another size, is named here
    kind = image_size(data)[0].lower()
    return _new("sensor_msgs/msg/CompressedImage", header=_header(camera.stamp_ns, camera.name),
                format=kind, data=np.frombuffer(data, np.uint8))


def camera_info(camera: CameraRecord) -> Any:
    """``sensor_msgs/CameraInfo``: K and distortion; R the identity and P = [K 0]."""
    lens = camera.camera
    projection = np.zeros((3, 4))
    projection[:, :3] = lens.intrinsics
    distortion = lens.distortion if lens.distortion.size else np.zeros(5)
    region = _new("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0,
                  do_rectify=False)
    return _new("sensor_msgs/msg/CameraInfo", header=_header(camera.stamp_ns, camera.name),
                height=lens.height, width=lens.width, distortion_model=lens.distortion_model,
                d=distortion, k=lens.intrinsics.reshape(-1), r=np.eye(3).reshape(-1),
                p=projection.reshape(-1), binning_x=0, binning_y=0, roi=region)


def point_cloud(record: FrameRecord) -> Any:
    """``sensor_msgs/PointCloud2`` with the file's own columns and values."""
    return point_cloud_of(read_raw_points(record.lidar), record.lidar.fields,
                          record.lidar.stamp_ns)


def point_cloud_of(rows: NDArray[np.float32], names: Sequence[str], stamp_ns: int) -> Any:
    """``sensor_msgs/PointCloud2`` of rows (N, len(names)) of float32."""
    rows = np.ascontiguousarray(rows)
    fields = [_new("sensor_msgs/msg/PointField", name=name, offset=4 * index,
                   datatype=POINT_FLOAT32, count=1) for index, name in enumerate(names)]
    return _new("sensor_msgs/msg/PointCloud2", header=_header(stamp_ns, topics.LIDAR_FRAME),
                height=1, width=len(rows), fields=fields, is_bigendian=False,
                point_step=rows.shape[1] * 4, row_step=rows.nbytes,
                data=rows.view(np.uint8).reshape(-1), is_dense=bool(np.isfinite(rows).all()))


def static_transforms(record: FrameRecord, stamp_ns: int) -> Any:
    """``tf2_msgs/TFMessage``: where on the car each sensor sits."""
    return _transforms([_transform(pose, topics.BASE_FRAME, name, stamp_ns)
                        for name, pose in on_car(record).items()])


def odometry(world_from_ego: rigid.Matrix, stamp_ns: int) -> Any:
    """``geometry_msgs/TransformStamped``: where the car is."""
    return _transform(world_from_ego, topics.FIXED_FRAME, topics.BASE_FRAME, stamp_ns)


def ground_truth(annotations: Annotations, stamp_ns: int) -> Any:
    """``vision_msgs/Detection3DArray`` of the truth, each with score 1; ids are the tracks'."""
    header = _header(stamp_ns, topics.LIDAR_FRAME)
    boxes = annotations.boxes
    detections = []
    for i in range(len(boxes)):
        pose = _new("geometry_msgs/msg/Pose", position=_xyz("Point", boxes.center[i]),
                    orientation=_quaternion([0, 0, np.sin(boxes.yaw[i] / 2),
                                             np.cos(boxes.yaw[i] / 2)]))
        hypothesis = _new("vision_msgs/msg/ObjectHypothesis",
                          class_id=CLASS_NAMES[annotations.labels[i]], score=1.0)
        result = _new("vision_msgs/msg/ObjectHypothesisWithPose", hypothesis=hypothesis,
                      pose=_new("geometry_msgs/msg/PoseWithCovariance", pose=pose,
                                covariance=np.zeros(36)))
        track = int(annotations.track_ids[i])
        detections.append(_new(
            "vision_msgs/msg/Detection3D", header=header, results=[result],
            bbox=_new("vision_msgs/msg/BoundingBox3D", center=pose,
                      size=_xyz("Vector3", boxes.size[i])), id=str(track) if track >= 0 else ""))
    return _new("vision_msgs/msg/Detection3DArray", header=header, detections=detections)


def serialised(topic: str, stamp_ns: int, message: Any) -> SerializedMessage:
    """A message of the `typestore` as bytes, to go out at a stamp [ns]."""
    name = message.__msgtype__
    return SerializedMessage(topic, name, stamp_ns,
                             bytes(typestore().serialize_cdr(message, name)))


def _new(message_type: str, **values: Any) -> Any:
    return typestore().types[message_type](**values)


def _stamp(stamp_ns: int) -> Any:
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    return _new("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)


def _header(stamp_ns: int, frame_id: str) -> Any:
    return _new("std_msgs/msg/Header", stamp=_stamp(stamp_ns), frame_id=frame_id)


def _xyz(kind: str, values: Iterable[float]) -> Any:
    x, y, z = (float(value) for value in values)
    return _new(f"geometry_msgs/msg/{kind}", x=x, y=y, z=z)


def _quaternion(xyzw: Iterable[float]) -> Any:
    x, y, z, w = (float(value) for value in xyzw)
    return _new("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)


def _transform(parent_from_child: rigid.Matrix, parent: str, child: str, stamp_ns: int) -> Any:
    translation, quaternion = rigid.to_translation_quaternion(parent_from_child)
    return _new("geometry_msgs/msg/TransformStamped", header=_header(stamp_ns, parent),
                child_frame_id=child,
                transform=_new("geometry_msgs/msg/Transform",
                               translation=_xyz("Vector3", translation),
                               rotation=_quaternion(quaternion)))


def _transforms(transforms: list[Any]) -> Any:
    return _new("tf2_msgs/msg/TFMessage", transforms=transforms)
