"""What killing a vehicle's sensors showed, as figures, in words, and against bounds. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aqr_perception.runtime.kill_check import KillResult, VehicleRun, count_sets, judge_kills

RECOVERY_S = 1.0
"""Longest time from a sensor's return to a result with it [s]."""
FULL_RATE_HZ = 5.0
"""Up to this rate every set is to be processed."""
SENDER_LATE = 0.5
"""Part of a period that the sender may be late before it is to blame for gaps."""
NETWORK_STAGES = ("preprocess", "transfer", "inference", "postprocess")
NODE_STAGES = ("wait", "decode", "publish")


@dataclass(frozen=True)
class KillRow:
    """One kill.

    Attributes:
        killed: Names of the sensors; none for the time before the first kill.
        gap_s: Longest time without output [s].
        mask_s: From the first set without them until the mode is right [s]; None: never.
        false_masks: How often the mode named a dead one afterwards.
        short_masks: How often it left out a living one afterwards.
        recovery_s: From the first set with them until the mode is right [s]; None: never.
    """

    killed: tuple[str, ...]
    gap_s: float
    mask_s: float | None
    false_masks: int
    short_masks: int
    recovery_s: float | None


@dataclass(frozen=True)
class VehicleReport:
    """What was measured.

    Attributes:
        rate_hz: Sets a second, as asked for.
        longest_gap_s: Without output, whichever sensor dies [s].
        allowed_gap_s: A period, the deadline and the network's time [s].
        recovery_s: The longest [s]; None where one never came back.
        masks_right: Whether the mode was right for each kill, and never wrong after that.
        sets_sent: Of all sensors that lived.
        sets_processed: Those that a result came of.
        sets_passed_over: Left by the node for a newer one, by its own count.
        sets_dropped: The node could make nothing of, by its own count.
        sets_lost: The rest.
        in_order: Whether results came in the order of their stamps, each once.
        newest_processed: Whether the last set was.
        sets_outdated: Processed though a newer one was there when their turn came.
        node_overhead_ms_p50: Wait for the other sensors, decoding and publishing: the node's time
            beside the network; median [ms].
        network_ms_p50: Preprocessing to boxes; median [ms].
        network_ms_p99: 99th percentile.
        sender_late_ms_max: How late the sender itself was at worst [ms].
        kills: Each.
    """

    rate_hz: float
    longest_gap_s: float
    allowed_gap_s: float
    recovery_s: float | None
    masks_right: bool
    sets_sent: int
    sets_processed: int
    sets_passed_over: int
    sets_dropped: int
    sets_lost: int
    in_order: bool
    newest_processed: bool
    sets_outdated: int
    node_overhead_ms_p50: float
    network_ms_p50: float
    network_ms_p99: float
    sender_late_ms_max: float
    kills: tuple[KillRow, ...]


def report_of(run: VehicleRun, cameras: Sequence[str], rate_hz: float) -> VehicleReport:
    """Turn what was written down into figures.

    Args:
        run: With at least one output.
        cameras: (V,) their names.
        rate_hz: Sets a second, as asked for.
    """
    network = [sum(run.stages[stage][column] for stage in NETWORK_STAGES) for column in range(3)]
    kills = judge_kills(run.sent, run.heard, cameras)
    counts = count_sets(run.sent, run.heard, run.deadline_s + 1 / rate_hz)
    back = [kill.recovery_s for kill in kills]
    return VehicleReport(
        rate_hz=rate_hz,
        longest_gap_s=max(kill.gap_s for kill in kills),
        allowed_gap_s=1 / rate_hz + run.deadline_s + network[2] * 1e-3,
        recovery_s=None if None in back else max(found for found in back if found is not None),
        masks_right=all(kill.mask_s is not None and not kill.false_masks + kill.short_masks
                        for kill in kills),
        sets_sent=counts.sent, sets_processed=counts.processed, sets_passed_over=run.passed_over,
        sets_dropped=run.dropped,
        sets_lost=counts.sent - counts.processed - run.passed_over - run.dropped,
        in_order=counts.in_order, newest_processed=counts.newest, sets_outdated=counts.outdated,
        node_overhead_ms_p50=sum(run.stages[stage][0] for stage in NODE_STAGES),
        network_ms_p50=network[0], network_ms_p99=network[2],
        sender_late_ms_max=max(item.late_ns for item in run.sent) * 1e-6,
        kills=tuple(_row(kill, ("LiDAR", *cameras)) for kill in kills))


def broken(report: VehicleReport) -> list[str]:
    """The bounds that do not hold, each in words."""
    found = []
    for row in report.kills:
        name = _name(row)
        if row.gap_s > report.allowed_gap_s:
            found.append(f"{name}: {row.gap_s:.2f} s without output; at most "
                         f"{report.allowed_gap_s:.2f}")
        if row.mask_s is None:
            found.append(f"{name}: the mode never said so")
        if row.false_masks:
            found.append(f"{name}: the mode named a dead sensor {row.false_masks} times")
        if row.short_masks:
            found.append(f"{name}: the mode left out a living sensor {row.short_masks} times")
        if row.recovery_s is None:
            found.append(f"{name}: did not come back")
        elif row.recovery_s > RECOVERY_S:
            found.append(f"{name}: back after {row.recovery_s:.2f} s; at most {RECOVERY_S:g}")
    if not report.in_order:
        found.append("results came out of order, or twice")
    if not report.newest_processed:
        found.append("the last set was not processed")
    if report.sets_outdated:
        found.append(f"sets processed though a newer one was there: {report.sets_outdated}")
    if report.sets_dropped:
        found.append(f"sets dropped: {report.sets_dropped}")
    if report.sets_lost:
        found.append(f"sets lost: {report.sets_lost}")
    if report.rate_hz <= FULL_RATE_HZ and report.sets_passed_over:
        found.append(f"sets passed over at {report.rate_hz:g} Hz: {report.sets_passed_over}")
    return found


def lines(report: VehicleReport) -> list[str]:
    """The report as a table and figures below it."""
    names = [_name(row) for row in report.kills]
    width = max(map(len, names))
    said = [f"{'killed':{width}}  gap [s]  mode right after  back after"]
    for name, row in zip(names, report.kills):
        mask, back = ("" if not row.killed else "never" if time_s is None else f"{time_s:.2f}"
                      for time_s in (row.mask_s, row.recovery_s))
        said.append(f"{name:{width}}  {row.gap_s:7.2f}  {mask:>16}  {back:>10}")
    said.append(f"allowed gap: {report.allowed_gap_s:.2f} s, a period, sync.deadline and the "
                "network's time")
    said.append(f"sets at {report.rate_hz:g} Hz: {report.sets_sent} sent, {report.sets_processed} "
                f"processed, {report.sets_passed_over} passed over for a newer one, "
                f"{report.sets_dropped} dropped, {report.sets_lost} lost")
    said.append(f"network: {report.network_ms_p50:.0f} ms at the median, "
                f"{report.network_ms_p99:.0f} at the 99th percentile; node beside it (wait, "
                f"decode, publish): {report.node_overhead_ms_p50:.1f} ms at the median")
    if report.sender_late_ms_max > SENDER_LATE * 1e3 / report.rate_hz:
        said.append(f"the sender itself was up to {report.sender_late_ms_max:.0f} ms late: this "
                    "machine is too busy to tell how long the node's own gaps are")
    return said


def _row(kill: KillResult, names: Sequence[str]) -> KillRow:
    return KillRow(tuple(names[sensor] for sensor in sorted(kill.killed)), kill.gap_s,
                   kill.mask_s, kill.false_masks, kill.short_masks, kill.recovery_s)


def _name(row: KillRow) -> str:
    return " + ".join(row.killed) or "none"
