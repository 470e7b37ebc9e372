"""What the experiment report of the published AQR says, to stand beside our figures.

Its figures are of nuScenes' validation set, of CMT with ResNet-50 and of another AQR code; signs
and ratios can be compared, levels cannot.
"""

from __future__ import annotations

BASELINE, AQR = "report: baseline", "report: AQR (clamp 2.5, residual weight 0.6)"

VALUES: dict[str, dict[str, float]] = {
    BASELINE: {
        "mAP": 0.6575, "NDS": 0.6908, "mATE": 0.3353, "mASE": 0.2493, "mAOE": 0.3339,
        "mAVE": 0.2715, "mAAE": 0.1899, "AP.car": 0.859, "AP.truck": 0.609, "AP.bus": 0.735,
        "AP.trailer": 0.423, "AP.construction_vehicle": 0.301, "AP.pedestrian": 0.840,
        "AP.motorcycle": 0.729, "AP.bicycle": 0.641, "AP.traffic_cone": 0.727,
        "AP.barrier": 0.711, "seconds": 3363, "seconds_per_step": 0.64, "memory_mib": 21 * 1024,
        "first_loss": 10.05, "last_loss": 9.93, "inf_gradients": 1,
        "largest_gradient": 57.6,
        "part.loss_cls": 0.0856, "part.loss_bbox": 0.5839, "part.dn_loss_cls": 0.3645,
        "part.dn_loss_bbox": 0.5091},
    AQR: {
        "mAP": 0.6397, "NDS": 0.6825, "mATE": 0.3373, "mASE": 0.2500, "mAOE": 0.3259,
        "mAVE": 0.2731, "mAAE": 0.1876, "AP.car": 0.851, "AP.truck": 0.602, "AP.bus": 0.729,
        "AP.trailer": 0.416, "AP.construction_vehicle": 0.289, "AP.pedestrian": 0.822,
        "AP.motorcycle": 0.695, "AP.bicycle": 0.594, "AP.traffic_cone": 0.692,
        "AP.barrier": 0.708, "seconds": 8503, "seconds_per_step": 1.90, "memory_mib": 23 * 1024,
        "first_loss": 13.35, "last_loss": 10.12, "inf_gradients": 0,
        "largest_gradient": 61.5,
        "part.loss_cls": 0.0833, "part.loss_bbox": 0.5916, "part.dn_loss_cls": 0.3711,
        "part.dn_loss_bbox": 0.5209,
        "mean_weight.lidar": 0.734, "mean_weight.camera": 0.821, "relative_change.lidar": 0.106,
        "relative_change.camera": 0.361, "max_change.lidar": 5.76, "max_change.camera": 2.65}}
"""By name as in `figures`. Its relative change is another statistic (see `model.aqr.monitor`)."""

GRADIENT_RANGES = {BASELINE: "42 to 57", AQR: "40 to 61"}
"""Norms of the gradient that it calls typical."""
NAN_GRADIENTS = {BASELINE: "–", AQR: "several"}
"""As far as it counts them."""

LOSS_CURVES: dict[str, tuple[tuple[int, float], ...]] = {
    BASELINE: ((50, 10.05), (600, 9.99), (1200, 10.13), (2000, 10.15), (3000, 9.99),
               (4000, 9.93)),
    AQR: ((50, 13.35), (600, 10.63), (1200, 10.46), (2000, 10.39), (3000, 10.19), (4000, 10.12))}
"""Step and loss."""

SMALL_CLASSES = ("bicycle", "motorcycle", "traffic_cone", "pedestrian")
"""That it found to suffer most."""
LARGE_CLASSES = ("car", "truck", "bus", "barrier")
"""That it found to suffer least."""
