"""What a detector is shown when it is measured, and what the truth does in place of a gate."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from training_frames import MadeUpDrives, small_config

from aqr_perception.experiment.drives import Drives
from aqr_perception.experiment.measuring import measure_fault
from aqr_perception.experiment.oracle import told_the_truth
from aqr_perception.experiment.watching import WatchedDetector
from aqr_perception.model.aqr.config import AqrConfig, GateConfig
from aqr_perception.model.detector import Detector
from aqr_perception.runtime.fault_runs import Setting
from aqr_perception.training.dataset import StepDataset
from aqr_perception.training.fault_sampler import FaultSampling
from aqr_perception.types import Mounting

CPU = torch.device("cpu")


def network(**gate) -> Detector:
    torch.manual_seed(0)
    aqr = AqrConfig(mode="gate", gate=GateConfig(**gate))
    return Detector(replace(small_config(), aqr=aqr)).eval()


@pytest.mark.parametrize(("time", "looks"), [(True, 2 + 2 * (3 + 2)), (False, 2 * 3)])
def test_who_compares_frames_sees_the_fault_begin(drives, monkeypatch, time, looks):
    """Two frames of one drive, one of the other, in two severities; and what was before them: one
    frame under each, and one before the fault that all of them share."""
    shown = []
    original = WatchedDetector.__call__

    def counted(self, pipeline, frame, labels):
        shown.append((frame.stamp_ns, labels.fault, labels.severity))
        return original(self, pipeline, frame, labels)

    monkeypatch.setattr(WatchedDetector, "__call__", counted)
    watched = WatchedDetector(network(time=time), CPU)
    done = []
    found = measure_fault(watched, Drives.open(drives).held_out,
                          [Setting("camera_black", 1), Setting("camera_black", 3)], 3, 0,
                          lambda: done.append(1))
    watched.close()
    assert {level: one["frames"] for level, one in found.items()} == {"1": 3, "3": 3}
    assert len(done) == 6
    assert len(shown) == looks
    assert [fault for _, fault, _ in shown].count("none") == (2 if time else 0)
    assert {fault for _, fault, _ in shown} <= {"camera_black", "none"}


@pytest.mark.parametrize("level", ["frame", "query", "token"])
@pytest.mark.parametrize("training", [False, True])
def test_the_truth_takes_the_gates_place_and_leaves_no_trace(level, training):
    detector = network().train(training)
    faults = FaultSampling(1.0, matched=0.0, faults=("all_cameras_black",), held_out=())
    item = StepDataset(MadeUpDrives(2), detector.config, Mounting(), 2, 9, 0, None,
                       faults=faults)[0]
    before = {name: value.clone() for name, value in detector.state_dict().items()
              if "num_batches" not in name}
    drawn = torch.get_rng_state()
    with told_the_truth(detector, level, item.batch, item.faults):
        assert all(torch.equal(value, before[name])
                   for name, value in detector.state_dict().items() if name in before)
        assert torch.equal(torch.get_rng_state(), drawn)
        mass = detector(item.batch).aqr.report.mass
    np.testing.assert_allclose(mass.detach(), [[1, 0, 0]] * 2, atol=1e-6)
    assert detector.decoder.router.oracle is None


def test_at_every_level_a_sensor_that_lies_places_no_query():
    """Else the truth about places would do worse than the truth about whole sensors."""
    detector = network()
    faults = FaultSampling(1.0, matched=0.0, faults=("lidar_rotated",), severities=(3,),
                           held_out=(), persisting=0.0)
    item = StepDataset(MadeUpDrives(2), detector.config, Mounting(), 2, 9, 0, None,
                       faults=faults)[0]
    started = {}
    for level in ("frame", "query", "token"):
        with told_the_truth(detector, level, item.batch, item.faults):
            started[level] = detector(item.batch).reference_points
    assert torch.equal(started["query"], started["frame"])
    assert torch.equal(started["token"], started["frame"])
    assert not torch.equal(detector(item.batch).reference_points, started["frame"])


def test_what_is_known_of_queries_is_looked_up_in_the_precision_of_the_run():
    detector, entered = network(), []

    @contextmanager
    def precision():
        entered.append(True)
        yield

    item = StepDataset(MadeUpDrives(2), detector.config, Mounting(), 2, 9, 0, None,
                       faults=FaultSampling(1.0, matched=0.0, faults=("lidar_narrow",)))[0]
    with told_the_truth(detector, "query", item.batch, item.faults, precision):
        assert len(entered) == 2  # who is trusted, then where queries stand
