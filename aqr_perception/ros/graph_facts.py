"""What the ROS graph and the flow of messages tell of each input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.qos import qos_policy_name_from_kind
from rclpy.topic_endpoint_info import TopicEndpointInfo

from aqr_perception.ros.parameters import NodeConfig
from aqr_perception.runtime.health import FlowReport
from aqr_perception.runtime.reasons import InputFacts

CLOUD_TYPE = "sensor_msgs/msg/PointCloud2"
IMAGE_TYPES = {"raw": "sensor_msgs/msg/Image", "compressed": "sensor_msgs/msg/CompressedImage"}


@dataclass(frozen=True)
class InputTopics:
    """Names after remapping.

    Attributes:
        data: (S,) of the cloud and the images.
        data_types: (S,) their types.
        infos: (V,) of the cameras' camera_info.
    """

    data: tuple[str, ...]
    data_types: tuple[str, ...]
    infos: tuple[str, ...]


def input_topics(node: Node, config: NodeConfig, defaults: Mapping[str, str]) -> InputTopics:
    """Work out where the inputs come from.

    Args:
        node: Whose remappings count.
        config: Cameras and transport. Compressed images come from ``/compressed`` below the name
            that ``~/input/image{i}`` is remapped to.
        defaults: Where an input that is not remapped comes from instead of ``~/input/...``, by
            name: ``pointcloud``, ``image{i}`` or ``camera_info{i}``.
    """
    cameras = range(len(config.cameras))
    suffix = "/compressed" if config.image_transport == "compressed" else ""
    return InputTopics(
        (_topic(node, "pointcloud", defaults),
         *(_topic(node, f"image{index}", defaults) + suffix for index in cameras)),
        (CLOUD_TYPE, *(IMAGE_TYPES[config.image_transport] for _ in cameras)),
        tuple(_topic(node, f"camera_info{index}", defaults) for index in cameras))


def _topic(node: Node, name: str, defaults: Mapping[str, str]) -> str:
    private = f"~/input/{name}"
    topic = node.resolve_topic_name(private)
    if name in defaults and topic == node.resolve_topic_name(private, only_expand=True):
        return defaults[name]
    return topic


def mismatch_in_words(policy_kind: int, topic: str) -> str:
    """Say what of a publisher's QoS keeps its messages from coming.

    Args:
        policy_kind: ``last_policy_kind`` of the middleware's event.
        topic: Where.
    """
    policy = qos_policy_name_from_kind(policy_kind).lower()
    if policy == "reliability":
        return ("its publisher is best effort, and this node was told to ask for reliable: take "
                f"qos_overrides.{topic}.subscription.reliability out")
    return f"its publisher offers a {policy} that this node cannot take"


def input_facts(node: Node, names: Sequence[str], topics: InputTopics,
                flows: Sequence[FlowReport], listening_s: float | None,
                incompatible: Mapping[int, str]) -> tuple[InputFacts, ...]:
    """Collect what is known of each input.

    Args:
        node: Asks the graph.
        names: (S,) of the sensors.
        topics: Where they come from.
        flows: (S,) how their messages come.
        listening_s: For how long the node has subscribed [s]; None while it does not.
        incompatible: Topic, and what of its publisher's QoS does not fit, by sensor.
    """
    now_ns = node.get_clock().now().nanoseconds
    graph: dict[str, list[str]] = {}
    facts = []
    for sensor, (name, topic, wanted, flow) in enumerate(
            zip(names, topics.data, topics.data_types, flows)):
        types = [endpoint.topic_type for endpoint in node.get_publishers_info_by_topic(topic)]
        publishers = types.count(wanted)
        if not types and not graph:
            graph = dict(node.get_topic_names_and_types())
        elsewhere = () if types else tuple(
            other for other, offered in sorted(graph.items())
            if wanted in offered and _others(node, node.get_publishers_info_by_topic(other)))
        silent_s = listening_s if flow.silent_s is None else flow.silent_s
        facts.append(InputFacts(
            name, topic, wanted, publishers,
            listeners=0 if publishers else _others(
                node, node.get_subscriptions_info_by_topic(topic)),
            other_type="" if publishers else next(iter(types), ""), elsewhere=elsewhere,
            incompatible=incompatible.get(sensor, "") if publishers else "",
            received=flow.received, silent_s=None if listening_s is None else silent_s,
            refusal=flow.refusal, newest_stamp_ns=flow.newest_stamp_ns,
            clock_offset_s=None if flow.newest_stamp_ns is None
            else (flow.newest_stamp_ns - now_ns) * 1e-9))
    return tuple(facts)


def _others(node: Node, endpoints: Sequence[TopicEndpointInfo]) -> int:
    """How many of the endpoints are another node's."""
    mine = node.get_name(), node.get_namespace()
    return sum((endpoint.node_name, endpoint.node_namespace) != mine for endpoint in endpoints)
