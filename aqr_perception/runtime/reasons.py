"""Why is there no output? The first unmet condition of an ordered list, in words. Pure.

The order is that of the data's way: topic, publisher, QoS, arrival, stamps, one set, a usable
frame, the detector.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

FAR_S = 60.0
"""Stamps further from the node's clock are of another time."""
ARRIVAL_S = 2.0
"""So long after the start, or after the last message, an input counts as silent [s]."""


@dataclass(frozen=True)
class Reason:
    """One unmet condition: its name, and what it means here."""

    condition: str
    words: str


@dataclass(frozen=True)
class InputFacts:
    """What is known of one input.

    Attributes:
        name: ``LiDAR``, or the camera's name.
        topic: After remapping.
        message_type: Expected there, as ``sensor_msgs/msg/Image``.
        publishers: Of this type, on this topic.
        listeners: Other nodes that subscribe to the topic.
        other_type: Type that the topic is published with instead; empty if none.
        elsewhere: Topics on which this type is published.
        incompatible: Topic, of this data or of its camera_info, and what of its publisher's QoS
            does not fit; empty if nothing.
        received: Messages so far.
        silent_s: Since the last message, or since the node listens [s]; None where it does not.
        refusal: Why the newest message was not taken; empty where it was.
        newest_stamp_ns: Of the messages [ns]; None before the first.
        clock_offset_s: Newest stamp less the node's clock [s]; None before the first.
    """

    name: str
    topic: str
    message_type: str = ""
    publishers: int = 0
    listeners: int = 0
    other_type: str = ""
    elsewhere: tuple[str, ...] = ()
    incompatible: str = ""
    received: int = 0
    silent_s: float | None = None
    refusal: str = ""
    newest_stamp_ns: int | None = None
    clock_offset_s: float | None = None


@dataclass(frozen=True)
class OutputFacts:
    """What is known of the node.

    Attributes:
        inputs: (S,) the LiDAR first.
        complete_only: No set without all inputs (``sync.mode`` other than ``lidar_anchored``).
        slop_s: Largest spread of the stamps of such a set [s].
        has_sets: Whether sets of inputs come.
        has_results: Whether any result came since the detector is active.
        drop: Why the last frame gave no result; empty if none was dropped since the last result.
        busy_s: How long the frame at work has been at it [s]; None where there is none.
        stage: ``unconfigured``, ``inactive`` or ``active``.
        failure: Why it could not be configured; empty otherwise.
    """

    inputs: tuple[InputFacts, ...]
    complete_only: bool = False
    slop_s: float = 0.0
    has_sets: bool = False
    has_results: bool = False
    drop: str = ""
    busy_s: float | None = None
    stage: str = "active"
    failure: str = ""


def input_reason(facts: InputFacts) -> Reason | None:
    """The first unmet condition of one input; None where its messages come and are taken."""
    return next((reason for condition in INPUT_CONDITIONS if (reason := condition(facts))), None)


def why_no_output(facts: OutputFacts) -> list[Reason]:
    """All unmet conditions, the first one first.

    One missing input is no reason while the others make sets: it is then told of that input alone.
    """
    found = [condition(facts) for condition in OUTPUT_CONDITIONS]
    reasons = [reason for reason in found if reason]
    which = "next" if facts.has_results else "first"
    return reasons or [Reason(f"{which} result", f"all conditions are met; the {which} result has "
                                                 "not come yet")]


def _there(facts: InputFacts) -> Reason | None:
    if facts.publishers or facts.other_type or facts.received or facts.listeners:
        return None
    hint = ""
    if facts.elsewhere:
        hint = (f"; {facts.message_type} is published on {', '.join(facts.elsewhere)}: remap the "
                "input")
    return Reason("topic absent", f"there is no topic {facts.topic}{hint}")


def _published(facts: InputFacts) -> Reason | None:
    if facts.publishers:
        return None
    if facts.other_type:
        hint = ": set image_transport" if "Image" in facts.message_type else ""
        return Reason("other type", f"{facts.topic} carries {facts.other_type}; expected "
                                    f"{facts.message_type}{hint}")
    since = "any more" if facts.received else ""
    return Reason("nobody publishes", f"nobody publishes on {facts.topic} {since}".rstrip())


def _fitting_qos(facts: InputFacts) -> Reason | None:
    if not facts.incompatible:
        return None
    return Reason("QoS incompatible", facts.incompatible)


def _arriving(facts: InputFacts) -> Reason | None:
    if facts.silent_s is None or facts.silent_s < ARRIVAL_S:
        return None
    if facts.received:
        return Reason("silent", f"nothing has come on {facts.topic} for {facts.silent_s:.0f} s, "
                                "though it has a publisher")
    return Reason("nothing arrives", f"{facts.topic} has a publisher, but nothing arrives: where "
                                     "the publisher is at work, look at the transport with "
                                     "'aqr_perception check-transport'")


def _stamped(facts: InputFacts) -> Reason | None:
    return Reason("stamp", f"{facts.topic}: {facts.refusal}") if facts.refusal else None


INPUT_ORDER = ("topic absent", "nobody publishes", "other type", "QoS incompatible",
               "nothing arrives", "silent", "stamp")
INPUT_CONDITIONS: tuple[Callable[[InputFacts], Reason | None], ...] = (
    _there, _published, _fitting_qos, _arriving, _stamped)


def _inputs(facts: OutputFacts) -> Reason | None:
    unmet = [(item.name, reason) for item in facts.inputs if (reason := input_reason(item))]
    if not unmet or (len(unmet) < len(facts.inputs) and not facts.complete_only):
        return None
    parts = []
    for condition in INPUT_ORDER:
        group = [(name, reason) for name, reason in unmet if reason.condition == condition]
        if group:
            others = ", ".join(name for name, _ in group[1:])
            parts.append(Reason(condition, f"{group[0][0]}: {group[0][1].words}"
                                           f"{' (and likewise ' + others + ')' if others else ''}"))
    return Reason(parts[0].condition, "; ".join(part.words for part in parts))


def _near_each_other(facts: OutputFacts) -> Reason | None:
    stamped = [item for item in facts.inputs if item.newest_stamp_ns is not None]
    if facts.has_sets or len(stamped) < 2:
        return None
    offsets = [item for item in stamped if item.clock_offset_s is not None]
    far = [item for item in offsets if abs(item.clock_offset_s or 0.0) > FAR_S]
    if far and len(far) < len(offsets):
        return Reason("stamps far from the clock", "; ".join(
            f"{item.name}: its stamps are {_apart(item.clock_offset_s or 0.0)} the node's clock "
            f"({item.topic})" for item in far))
    newest = sorted(stamped, key=lambda item: item.newest_stamp_ns or 0)
    skew_ms = ((newest[-1].newest_stamp_ns or 0) - (newest[0].newest_stamp_ns or 0)) / 1e6
    if not facts.complete_only or skew_ms <= facts.slop_s * 1e3:
        return None
    return Reason("skew", f"the newest stamps lie {skew_ms:.0f} ms apart ({newest[0].name} behind "
                          f"{newest[-1].name}), and sets need {facts.slop_s * 1e3:.0f} ms")


def _apart(offset_s: float) -> str:
    return f"{abs(offset_s):.0f} s {'ahead of' if offset_s > 0 else 'behind'}"


def _usable(facts: OutputFacts) -> Reason | None:
    return Reason("frame dropped", facts.drop) if facts.drop else None


def _active(facts: OutputFacts) -> Reason | None:
    if facts.stage == "active":
        return None
    if facts.failure:
        return Reason("not configured", f"the detector could not be configured: {facts.failure}")
    step = "configure and activate" if facts.stage == "unconfigured" else "activate"
    return Reason("not active", f"the detector is {facts.stage}: {step} it")


def _at_work(facts: OutputFacts) -> Reason | None:
    if facts.busy_s is None:
        return None
    return Reason("at work", f"the network has been at work on a frame for {facts.busy_s:.1f} s")


OUTPUT_CONDITIONS: tuple[Callable[[OutputFacts], Reason | None], ...] = (
    _inputs, _near_each_other, _usable, _active, _at_work)
