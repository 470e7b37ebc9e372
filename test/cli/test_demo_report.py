"""The figures and the page of the demo, from frames that never went anywhere."""

import base64
import math
import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
from training_frames import make_frame

from aqr_perception.cli.demo_report import Heard, lines, page, result_of
from aqr_perception.types import Detections, Mounting


@dataclass(frozen=True)
class Came:
    """As `ros.recorder.Received`, which needs ROS."""

    detections: Detections
    latency_ms: float | None


def played(count):
    found = []
    for k in range(count):
        frame, truth = make_frame(k)
        found.append((replace(frame, stamp_ns=10**9 + k * 5 * 10**8), truth))
    return found


def exactly(frame, truth, latency=None):
    """What a perfect detector says."""
    count = len(truth)
    return Came(Detections(frame.stamp_ns, frame.frame_id, truth.boxes,
                           np.full(count, .9, np.float32), truth.labels), latency)


def test_frames_that_came_and_frames_that_did_not():
    frames = played(4)
    received = [exactly(*frames[0], 100.0), exactly(*frames[2], 300.0), exactly(*frames[3])]
    result = result_of(frames, Heard(received, {}), Mounting(), trained=True)
    assert result.missed == [1]
    assert [one.latency_ms for one in result.seen if math.isfinite(one.latency_ms)] == [100, 300]
    text = "\n".join(lines(result))
    objects = sum(len(frames[k][1]) for k in (0, 2, 3))
    assert text.startswith(f"3 of 4 frames came back over DDS (missed: 1), {objects} detections")
    assert "200 at the median" in text
    assert "300 at the most" in text
    assert f"{objects} of {objects} objects" in text
    assert "classes that are there it is 1.000" in text
    assert result.report is not None
    assert result.report.overall.class_ap[result.report.overall.truths > 0] == pytest.approx(1)
    assert result.report.overall.mean_errors[3] < 1  # velocities count


def test_random_weights_are_called_so_in_words_on_the_page_too():
    frames = played(1)
    result = result_of(frames, Heard([exactly(*frames[0])], {}), Mounting(), trained=False)
    assert "not trained" in lines(result)[0]
    text = page(result, b"picture")
    assert "These weights are not trained" in text
    assert "not trained" not in page(replace(result, trained=True), b"picture")


def test_the_page_needs_no_other_file():
    frames = played(3)
    result = result_of(frames, Heard([exactly(*frames[0], 50.0)], {}), Mounting(), trained=True)
    text = page(result, b"\xff\xd8picture")
    (source,) = re.findall(r"(?:src|href)='([^']*)'", text)
    cells = re.findall(r"<td>([^<]*)</td>", text)
    assert base64.b64decode(source.removeprefix("data:image/jpeg;base64,")) == b"\xff\xd8picture"
    assert cells.count("missed") == 2
    assert "car" in cells
    assert "traffic cone" not in cells  # there is none


def test_frames_without_truth_have_no_metrics():
    frames = [(frame, None) for frame, _ in played(1)]
    came = exactly(frames[0][0], played(1)[0][1], 10.0)
    result = result_of(frames, Heard([came], {}), Mounting(), trained=True)
    assert result.report is None
    assert len(lines(result)) == 2
    assert "By class" not in page(result, b"")


def test_detections_of_somebody_elses_frames_are_refused():
    frames = played(1)
    other = replace(frames[0][0], stamp_ns=5)
    with pytest.raises(ValueError, match="1 messages came back, none with the stamp"):
        result_of(frames, Heard([exactly(other, frames[0][1])], {}), Mounting(), trained=True)


def test_stages_are_told_where_the_detector_tells_them():
    frames = played(1)
    stages = {"wait": (1.4, 2.0, 3.0), "inference": (88.0, 90.0, 95.5),
              "stamp_to_publish": (math.nan,) * 3}
    result = result_of(frames, Heard([exactly(*frames[0])], stages), Mounting(), trained=True)
    assert "(ms, median): wait 1, inference 88" in "\n".join(lines(result))
    cells = re.findall(r"<td>([^<]*)</td>", page(result, b""))
    at = cells.index("inference")
    assert cells[at:at + 4] == ["inference", "88.0", "90.0", "95.5"]
