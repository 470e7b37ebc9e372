"""Facts → ``diagnostic_msgs/DiagnosticStatus``: one each for an input, the output, the parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from aqr_perception.runtime.health import FlowReport
from aqr_perception.runtime.loop_health import LoopHealth
from aqr_perception.runtime.mode import SensorUse
from aqr_perception.runtime.reasons import FAR_S, InputFacts, Reason, input_reason
from aqr_perception.runtime.sample_set import SampleState

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


def status(level: bytes, name: str, message: str, values: Mapping[str, Any]) -> DiagnosticStatus:
    """Put a status together; numbers with four digits, and what is None left out."""
    return DiagnosticStatus(
        level=level, name=name, message=message,
        values=[KeyValue(key=key, value=f"{value:.4g}" if isinstance(value, float) else str(value))
                for key, value in values.items() if value is not None])


def of_input(facts: InputFacts, flow: FlowReport, use: SensorUse | None) -> DiagnosticStatus:
    """Tell how one input does.

    Args:
        facts: What the graph says.
        flow: How its messages come.
        use: What the last frame had of it; None before the first.
    """
    reason = input_reason(facts)
    level, message = OK, f"{flow.rate_hz:.1f} Hz"
    offset_s = facts.clock_offset_s
    if facts.silent_s is None:
        message = "not subscribed"
    if offset_s is not None and abs(offset_s) > FAR_S:
        level = WARN
        message += (f"; its stamps lie {abs(offset_s):.0f} s "
                    f"{'ahead of' if offset_s > 0 else 'behind'} the node's clock (a recording "
                    "wants use_sim_time and /clock)")
    if use is not None and use.remark:
        message += f"; {use.remark}"
    if use is not None and use.missed_s is not None and flow.rate_hz > 0:
        level = WARN
        message += (f", but not in the last frame: the nearest message was stamped "
                    f"{abs(use.missed_s) * 1e3:.0f} ms {'after' if use.missed_s > 0 else 'before'} "
                    "its moment (clocks that differ, or messages that come after sync.deadline)")
    if use is not None and use.problem:
        level, message = WARN, use.problem
    if reason is not None:
        level, message = WARN, reason.words
    return status(level, f"input {facts.name}", message, {
        "topic": facts.topic, "publishers": facts.publishers, "rate_hz": flow.rate_hz,
        "age_s": None if offset_s is None else -offset_s, "silent_s": flow.silent_s,
        "jitter_ms": flow.jitter_ms, "lost": flow.lost, "received": flow.received,
        "refused": flow.refused,
        "in_last_frame": use.state.value if use else None,
        "age_in_frame_ms": use.age_s * 1e3 if use and use.age_s == use.age_s else None,
        "sweeps_joined": use.sweeps if use else None})


def of_output(reasons: Sequence[Reason], stage: str, loop: LoopHealth | None) -> DiagnosticStatus:
    """Tell what comes out, or why nothing does.

    Args:
        reasons: Empty where results come.
        stage: Of the life cycle.
        loop: None while the node is not active.
    """
    values: dict[str, Any] = {"stage": stage}
    if loop is not None:
        values |= {"mode": loop.run.mode, "rate_hz": loop.run.results.rate_hz,
                   "published": loop.run.results.received, "dropped": loop.run.dropped,
                   "passed_over": loop.passed_over}
    if reasons:
        values |= {f"unmet {number}: {reason.condition}": reason.words
                   for number, reason in enumerate(reasons, 1)}
        return status(ERROR, "output", f"no output: {reasons[0].words}", values)
    assert loop is not None
    whole = all(use.state is SampleState.FRESH for use in loop.run.sensors)
    return status(OK if whole else WARN, "output",
                  f"{loop.run.results.rate_hz:.1f} Hz, {loop.run.mode}", values)


def of_synchronisation(mode: str, names: Sequence[str], loop: LoopHealth | None
                       ) -> DiagnosticStatus:
    """Tell how sets come about."""
    if loop is None:
        return status(OK, "synchronisation", "not active", {"mode": mode})
    counts = loop.counts
    values: dict[str, Any] = {
        "mode": mode, "sets": counts.sets, "after_deadline": counts.timed_out,
        "passed_over": loop.passed_over, "restarts": loop.restarts}
    for sensor, name in enumerate(names):
        values |= {f"duplicates.{name}": counts.duplicates[sensor] or None,
                   f"late.{name}": counts.late[sensor] or None}
    for use in loop.run.sensors:
        values[f"state.{use.name}"] = use.state.value
    return status(OK, "synchronisation", f"{counts.sets} sets, {counts.timed_out} of them at the "
                                         "deadline", values)


def of_latency(loop: LoopHealth | None) -> DiagnosticStatus:
    """Tell where the time goes [ms]."""
    if loop is None or not loop.latency:
        return status(OK, "latency", "no frame yet", {})
    values = {f"{stage}.{name}_ms": getattr(found, name) for stage, found in loop.latency.items()
              for name in ("p50", "p90", "p99")}
    whole = loop.latency.get("stamp_to_publish")
    message = "the stamps are not of the node's clock" if whole is None else (
        f"from stamp to result: {whole.p50:.0f} ms median, {whole.p99:.0f} ms at the 99th "
        "percentile")
    return status(OK, "latency", message, values)


def of_model(stage: str, failure: str, model: Mapping[str, str]) -> DiagnosticStatus:
    """Tell about the network."""
    if failure:
        return status(ERROR, "model", failure, model)
    if not model:
        return status(WARN, "model", f"not loaded ({stage})", model)
    untrained = model.get("trained") == "False"
    return status(WARN if untrained else OK, "model",
                  "the weights are not trained: it will find nothing" if untrained
                  else f"on {model.get('device', 'an unknown device')}", model)


def of_aqr(model: Mapping[str, str], loop: LoopHealth | None) -> DiagnosticStatus:
    """Tell what AQR did to the last frame, against its target band."""
    values: dict[str, Any] = {key: model[key] for key in ("aqr_mode", "target_band")
                              if key in model}
    if loop is None or not loop.aqr:
        return status(OK, "AQR", "nothing to report", values)
    changes = [f"{modality} {loop.aqr[f'relative_change.{modality}']:.3f} "
               f"({'outside of' if loop.aqr[f'outside_band.{modality}'] else 'in'} the band)"
               for modality in ("lidar", "camera") if f"relative_change.{modality}" in loop.aqr]
    values |= loop.aqr
    wrong = _put_right(loop.aqr)
    if wrong:
        return status(WARN, "AQR", wrong, values)
    return status(OK, "AQR", "relative change: " + ", ".join(changes), values)


def _put_right(aqr: Mapping[str, float]) -> str:
    """What is wrong with the place of a sensor, in words; empty: nothing."""
    turn, behind, aside = (aqr.get(f"cloud_{name}", 0.0)
                           for name in ("turned_deg", "behind_m", "aside_m"))
    cloud = bool(aqr.get("cloud_to_blame", 0.0))
    if aside:
        return (f"the {'cloud lies' if cloud else 'pictures lie'} {abs(aside):.1f} m to the "
                f"{'right' if (aside > 0) == cloud else 'left'}: put right; look at mounts and "
                "calibration")
    if turn and not behind:
        left = (turn > 0) == cloud
        return (f"the {'cloud is' if cloud else 'pictures are'} turned by {abs(turn):.1f}° to the "
                f"{'left' if left else 'right'}: put right; look at mounts and calibration")
    if behind:
        old = (behind > 0) == cloud
        return (f"the {'cloud shows' if cloud else 'pictures show'} the world as seen from "
                f"{abs(behind):.1f} m {'back' if old else 'ahead'}: put right; look at delays and "
                "clocks")
    return ""


def of_calibration(loop: LoopHealth | None) -> DiagnosticStatus:
    """Tell how well the LiDAR's edges lie on the cameras'; see `runtime.calibration_check`."""
    report = None if loop is None else loop.calibration
    if report is None:
        return status(OK, "calibration", "not measured: nobody looks at ~/debug/calibration", {})
    values: dict[str, Any] = {"took_ms": report.took_ms}
    for name, found in report.alignments.items():
        values |= {f"edge_alignment.{name}": found.ratio if found.known else None,
                   f"better_than_turned.{name}": found.share_worse if found.known else None,
                   f"edges.{name}": found.edges, f"problem.{name}": found.problem or None}
    if problems := [f"{name} {found.problem}" for name, found in report.alignments.items()
                    if found.problem]:
        return status(WARN, "calibration", "; ".join(problems), values)
    known = sum(found.known for found in report.alignments.values())
    return status(OK, "calibration", f"edges line up in {known} cameras, "
                                     f"{len(report.alignments) - known} not known yet", values)
