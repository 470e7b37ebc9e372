"""What AQR did to a frame as plain numbers, for diagnostics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the node says its first word before torch is there
    from aqr_perception.model.aqr.monitor import AqrReport

MODALITIES = ("lidar", "camera")


def values_of_report(report: AqrReport, sensors: Sequence[str]) -> dict[str, float]:
    """Numbers of the first frame of a report, by name; those that are not known are left out.

    Args:
        report: Of one frame or more, on any device: the values are fetched from there.
        sensors: (S,) names.

    Returns:
        ``mean_weight.lidar``, ``relative_change.lidar``, ``outside_band.lidar`` (0 or 1), the same
        for ``camera``, and ``attention_mass.NAME`` and ``mean_gate.NAME`` by sensor. Where sensors
        are put right: ``cloud_turned_deg``, ``cloud_behind_m`` and ``cloud_aside_m`` (see
        `AqrReport.put_right`), ``cloud_to_blame`` (0 or 1) and ``agreement``, where the
        pictures tell anything.
    """
    values: dict[str, float] = {}
    for name, row, columns in (
            ("mean_weight", report.mean_weight, MODALITIES),
            ("relative_change", report.relative_change, MODALITIES),
            ("outside_band", report.outside_band, MODALITIES),
            ("attention_mass", report.mass, sensors),
            ("mean_gate", report.mean_gate, sensors)):
        values |= {f"{name}.{column}": float(value)
                   for column, value in zip(columns, row[0].tolist()) if value == value}
    if report.put_right is not None:
        turn, behind, aside, lidar, level = report.put_right[0].tolist()
        values |= {"cloud_turned_deg": math.degrees(turn), "cloud_behind_m": behind,
                   "cloud_aside_m": aside, "cloud_to_blame": lidar}
        values |= {"agreement": level} if level == level else {}
    return values
