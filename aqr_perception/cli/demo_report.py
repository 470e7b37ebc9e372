"""What a run of the demo gave: as lines of text, and as a page that needs no other file."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aqr_perception import __version__
from aqr_perception.evaluation.frames import EvaluationFrame
from aqr_perception.evaluation.metrics import ERRORS
from aqr_perception.evaluation.report import Report
from aqr_perception.types import CLASS_NAMES, Annotations, Detections, Mounting, SensorFrame

if TYPE_CHECKING:
    from aqr_perception.ros.recorder import Received

UNTRAINED = ("these weights are not trained: the demo shows that data flow from the sensors to the "
             "detections, not that anything is detected")
STYLE = ("body{font:16px sans-serif;margin:2em auto;max-width:100em;background:#202225;color:#eee}"
         "img{max-width:100%}table{border-collapse:collapse;margin:1em 0}"
         "td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #444}"
         "td:first-child,th:first-child{text-align:left}.bar{background:#5ab;height:.7em}"
         ".note{background:#642;padding:.6em 1em}")


@dataclass(frozen=True)
class Heard:
    """What the listener heard of the detector.

    Attributes:
        received: Its messages.
        stages: Median, 90th and 99th percentile by stage [ms], by the detector's own account; empty
            where it gives none.
    """

    received: Sequence[Received]
    stages: Mapping[str, tuple[float, float, float]]


@dataclass(frozen=True)
class Seen:
    """A frame that was played.

    Attributes:
        stamp_ns: Its time [ns].
        detections: That came back; None where none did.
        latency_ms: From the cloud's arrival at the listener to the detections'; NaN where unknown.
    """

    stamp_ns: int
    detections: Detections | None
    latency_ms: float


@dataclass(frozen=True)
class DemoResult:
    """What a run gave.

    Attributes:
        seen: Every frame that was played, in order.
        stages: See `Heard`.
        report: Of those that came back and have a truth; None where there is none.
        trained: Whether the weights are.
    """

    seen: tuple[Seen, ...]
    stages: Mapping[str, tuple[float, float, float]]
    report: Report | None
    trained: bool

    @property
    def missed(self) -> list[int]:
        """Numbers of the frames that did not come back."""
        return [k for k, one in enumerate(self.seen) if one.detections is None]


def result_of(frames: Sequence[tuple[SensorFrame, Annotations | None]],
              heard: Heard, mounting: Mounting, trained: bool) -> DemoResult:
    """Join what was played with what came back, by stamp.

    Args:
        frames: That were played, with their truth.
        heard: Of the detector.
        mounting: The rig's.
        trained: Whether the weights are.

    Raises:
        ValueError: Nothing that came back is of a frame that was played.
    """
    came: Mapping[int, Received] = {item.detections.stamp_ns: item for item in heard.received}
    seen, matched = [], []
    for frame, truth in frames:
        item = came.get(frame.stamp_ns)
        if item is None:
            seen.append(Seen(frame.stamp_ns, None, math.nan))
            continue
        latency = math.nan if item.latency_ms is None else item.latency_ms
        seen.append(Seen(frame.stamp_ns, item.detections, latency))
        if truth is not None:
            matched.append(EvaluationFrame.from_motion(item.detections, truth, mounting))
    if all(one.detections is None for one in seen):
        raise ValueError(f"{len(heard.received)} messages came back, none with the stamp of a "
                         "frame that was played; is another detector on this DDS domain?")
    return DemoResult(tuple(seen), heard.stages, Report.of(matched) if matched else None, trained)


def lines(result: DemoResult) -> list[str]:
    """The figures, a sentence each."""
    back = [one for one in result.seen if one.detections is not None]
    missed = ", ".join(map(str, result.missed)) or "none"
    found = [UNTRAINED] if not result.trained else []
    found.append(f"{len(back)} of {len(result.seen)} frames came back over DDS (missed: {missed}), "
                 f"{sum(len(one.detections or ()) for one in back)} detections, down to the least "
                 "sure ones, which the metrics rank")
    latencies = [one.latency_ms for one in back if math.isfinite(one.latency_ms)]
    if latencies:
        shares = np.percentile(latencies, [50, 90, 99])
        found.append("from the cloud's arrival to the detections' (ms): " + ", ".join(
            f"{share:.0f} at the {name}" for share, name in zip(
                [*shares, max(latencies)], ("median", "90th percentile", "99th", "most"))))
    if result.stages:
        found.append("of it, by the detector's own account (ms, median): " + ", ".join(
            f"{stage.replace('_', ' ')} {times[0]:.0f}" for stage, times in result.stages.items()
            if math.isfinite(times[0])))
    if result.report is not None:
        overall, near = result.report.overall, result.report.near
        found.append(f"nuScenes metrics over {overall.frames} frames: mAP {overall.mean_ap:.3f}, "
                     f"NDS {overall.nds:.3f}; near objects: mAP {near.mean_ap:.3f}, NDS "
                     f"{near.nds:.3f}")
        there = overall.truths > 0
        if there.any():
            found.append(f"a class without an object counts as 0 in mAP; over the {there.sum()} "
                         f"classes that are there it is {overall.class_ap[there].mean():.3f}")
        found.append(result.report.counts.line())
    return found


def page(result: DemoResult, picture: bytes) -> str:
    """A page with the picture in it.

    Args:
        result: Of the run.
        picture: JPEG.
    """
    parts = ["<!doctype html><html lang='en'><meta charset='utf-8'>"
             f"<title>aqr_perception demo</title><style>{STYLE}</style>",
             f"<h1>aqr_perception {__version__}: demo</h1>"]
    said = lines(result)
    if not result.trained:
        parts.append(f"<p class='note'>{html.escape(said.pop(0).capitalize())}.</p>")
    parts.append("<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in said) + "</ul>")
    parts.append(f"<img alt='six cameras with boxes, and the scene from above' src='data:image/jpeg"
                 f";base64,{base64.b64encode(picture).decode()}'>"
                 "<p>Detections in class colours, truth thin and white.</p>")
    if result.report is not None:
        parts.append(_classes(result.report))
    if result.stages:
        parts.append(_stages(result.stages))
    parts.append(_frames(result))
    return "\n".join(parts) + "\n"


def _classes(report: Report) -> str:
    rows = [(name.replace("_", " "), report.overall.truths[k], report.overall.detections[k],
             *(_number(value) for value in (report.overall.class_ap[k], report.near.class_ap[k],
                                            *report.overall.errors[k])))
            for k, name in enumerate(CLASS_NAMES) if report.overall.truths[k]]
    return "<h2>By class</h2>" + _table(("class", "objects", "detections", "AP", "AP near",
                                         *ERRORS), rows)


def _stages(stages: Mapping[str, tuple[float, float, float]]) -> str:
    rows = [(stage.replace("_", " "), *(_number(value, 1) for value in times))
            for stage, times in stages.items()]
    return "<h2>Where the time goes (ms)</h2>" + _table(
        ("stage", "median", "90th percentile", "99th"), rows)


def _frames(result: DemoResult) -> str:
    most = max((one.latency_ms for one in result.seen if math.isfinite(one.latency_ms)),
               default=1.0)
    rows = [(k, f"{(one.stamp_ns - result.seen[0].stamp_ns) * 1e-9:.2f}",
             "missed" if one.detections is None else len(one.detections),
             _number(one.latency_ms, 0),
             f"<div class='bar' style='width:{_width(one, most):.0f}px'></div>")
            for k, one in enumerate(result.seen)]
    return "<h2>Frame by frame</h2>" + _table(("frame", "s", "detections", "ms", ""), rows)


def _width(one: Seen, most: float) -> float:
    """Of the bar [px]."""
    return 300 * one.latency_ms / most if math.isfinite(one.latency_ms) else 0.0


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    first = "".join(f"<th>{name}</th>" for name in head)
    rest = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{first}</tr>{rest}</table>"


def _number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"
