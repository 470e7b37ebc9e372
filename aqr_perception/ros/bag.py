"""rosbag2 bags (mcap and sqlite3), written and read through the `rosbags` library; no rclpy."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import Reader, StoragePlugin, Writer

from aqr_perception.ros import topics
from aqr_perception.ros.frame_messages import typestore
from aqr_perception.ros.recorded import SerializedMessage

STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
METADATA = "metadata.yaml"
LARGEST_MESSAGE = 1 << 30
"""Bytes; a point cloud of ten million points is a fifth of it."""


def is_bag(path: str | Path) -> bool:
    """Whether a folder is a rosbag2 bag."""
    return (Path(path) / METADATA).exists()


def write_bag(path: str | Path, types: Mapping[str, str], messages: Iterable[SerializedMessage],
              storage: str = "mcap",
              progress: Callable[[SerializedMessage], None] = lambda message: None) -> int:
    """Write a bag; the time of each record is the message's stamp.

    Args:
        path: A folder that does not exist yet.
        types: Message type by topic.
        messages: What to write.
        storage: ``mcap`` or ``sqlite3``.
        progress: Called with each message once it is written.

    Returns:
        The number of messages.

    Raises:
        ValueError: The folder is there, or the storage is unknown; or what ``messages`` raises, and
            then nothing is left behind.
    """
    path = Path(path)
    if storage not in STORAGES:
        raise ValueError(f"storage is '{storage}'; expected {' or '.join(STORAGES)}")
    if path.exists():
        raise ValueError(f"{path}: is there already; expected the name of a new folder")
    store, count = typestore(), 0
    try:
        # Version 8 is what Humble reads, and all later ones.
        with Writer(path, version=8, storage_plugin=STORAGES[storage]) as writer:
            connections = {
                topic: writer.add_connection(topic, kind, typestore=store,
                                             offered_qos_profiles=[_qos(topic)])
                for topic, kind in sorted(types.items())}
            for message in messages:
                writer.write(connections[message.topic], message.stamp_ns, message.data)
                count += 1
                progress(message)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    return count


class Bag:
    """A bag to read.

    Args:
        path: Its folder.

    Attributes:
        types: Message type by topic.
        start_ns: Time of the first record [ns].
        duration_ns: From the first to the last [ns].

    Raises:
        ValueError: It is no bag, or one that cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise FileNotFoundError(2, "no such folder", str(path))
        if not is_bag(self.path):
            raise ValueError(f"{path}: holds no {METADATA}; expected the folder of a rosbag2 bag")
        with self._open() as reader:
            self.types = {connection.topic: connection.msgtype
                          for connection in reader.connections}
            self.start_ns = int(reader.start_time)
            self.duration_ns = int(reader.duration)

    def require(self, wanted: Collection[str], advice: str = "") -> None:
        """Check that topics are there.

        Args:
            wanted: Topics.
            advice: What to do where one is not.

        Raises:
            ValueError: Some are not; the message lists those that are.
        """
        missing = [topic for topic in wanted if topic not in self.types]
        if missing:
            there = ", ".join(f"{topic} ({kind})" for topic, kind in sorted(self.types.items()))
            raise ValueError(f"{self.path}: has no topic {', '.join(missing)}; it has "
                             f"{there or 'none'}{': ' + advice if advice else ''}")

    def require_types(self, wanted: Mapping[str, str], advice: str = "") -> None:
        """Check that topics are there and carry the messages that they should.

        Args:
            wanted: Message type by topic.
            advice: What to do where one is not.

        Raises:
            ValueError: Some are not, or carry another type.
        """
        self.require(list(wanted), advice)
        for topic, kind in wanted.items():
            if self.types[topic] != kind:
                raise ValueError(f"{self.path}: {topic} carries {self.types[topic]}; expected "
                                 f"{kind}")

    def messages(self, wanted: Collection[str] | None = None) -> Iterator[SerializedMessage]:
        """Read messages by the time they were recorded at, as they are.

        Args:
            wanted: Topics; None for all.

        Raises:
            ValueError: The file is damaged, or not as long as it says.
        """
        with self._open() as reader:
            chosen = [connection for connection in reader.connections
                      if wanted is None or connection.topic in wanted]
            iterator = reader.messages(connections=chosen) if chosen else iter(())
            while True:
                item = self._next(iterator)
                if item is None:
                    return
                connection, stamp, data = item
                if len(data) > LARGEST_MESSAGE:
                    raise ValueError(f"{self.path}: a message on {connection.topic} has "
                                     f"{len(data)} bytes; expected at most {LARGEST_MESSAGE}")
                yield SerializedMessage(connection.topic, connection.msgtype, int(stamp),
                                        bytes(data))

    @contextmanager
    def _open(self) -> Iterator[Reader]:
        """The reader; whatever it trips over in a damaged file is named."""
        try:
            reader = Reader(self.path)
            reader.open()
        except Exception as error:
            raise self._damaged(error) from None
        try:
            yield reader
        finally:
            reader.close()

    def _next(self, iterator: Iterator[tuple[Connection, int, bytes]]
              ) -> tuple[Connection, int, bytes] | None:
        """The next record, errors as in `_open`."""
        try:
            return next(iterator, None)
        except Exception as error:
            raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> ValueError:
        reason = " ".join(str(error).split()) or type(error).__name__
        return ValueError(f"{self.path}: the bag cannot be read ({reason}): it is damaged or cut "
                          "off; 'ros2 bag reindex' mends some, else record it again")


def deserialize(message: SerializedMessage) -> Any:
    """Message object of the `rosbags` library; its attributes are those of rclpy's classes.

    Raises:
        ValueError: The bytes are not such a message.
    """
    try:
        return typestore().deserialize_cdr(message.data, message.message_type)
    except Exception as error:  # the library lets struct, index and key errors through
        raise ValueError(f"a message on {message.topic} is not a {message.message_type}: "
                         f"{' '.join(str(error).split())}") from None


def _qos(topic: str) -> Qos:
    """Reliable and volatile; the static transforms are kept for those who come later."""
    forever = QosTime(2147483647, 4294967295)
    static = topic == topics.TF_STATIC
    return Qos(QosHistory.KEEP_LAST, 1 if static else 10, QosReliability.RELIABLE,
               QosDurability.TRANSIENT_LOCAL if static else QosDurability.VOLATILE,
               forever, forever, QosLiveliness.AUTOMATIC, forever, False)
